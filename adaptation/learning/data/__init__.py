"""Labelled frames of data sets and jobs: layouts, crops, sampling, appearance."""

"""Scores of a network on labelled frames: confusion matrix, IoU by class, tables."""

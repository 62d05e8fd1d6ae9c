"""Measurements: each module prints a table and writes a dated file to benchmarks/results."""

"""What each method of adaptation is worth on frames with labels: `python -m benchmarks.adaptation --data DIR`."""

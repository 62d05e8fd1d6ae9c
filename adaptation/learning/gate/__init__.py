"""The promotion gate: whether a candidate may take the incumbent's place. It refuses by default."""

"""HRDA networks: encoders, heads, scale fusion, sliding windows, and checkpoints of others."""

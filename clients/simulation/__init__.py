"""A simulated fleet that drives through a procedural city."""

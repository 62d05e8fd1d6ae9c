"""Commands of learning, control and console."""

"""How well live priors are estimated, and what adjustment by them does to served labels."""

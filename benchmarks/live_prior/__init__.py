"""Error of live priors, and the effect of adjustment by them on served labels."""

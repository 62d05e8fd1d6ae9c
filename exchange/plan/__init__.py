"""The serving plan and its changes, the learner's lease, and class priors with their estimate."""

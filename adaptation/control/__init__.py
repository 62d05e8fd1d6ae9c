"""Decisions of the learner: rounds, releases, rollouts, priors, labeling. Never loads torch."""

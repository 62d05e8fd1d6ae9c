"""The processes that load torch, started by the learner: one round, the picking of regions, the labels of a release."""

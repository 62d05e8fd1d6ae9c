"""The learner: rounds, triggers, priors and rollout decisions of one storage root, and the calls of its operators."""

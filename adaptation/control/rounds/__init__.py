"""Rounds as the learner runs them: their frames, the worker process, its state and its result."""

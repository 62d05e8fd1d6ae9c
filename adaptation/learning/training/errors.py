"""What can go wrong with a training."""


class TrainingError(Exception):
    """A training that cannot start or go on; the message says what to do."""

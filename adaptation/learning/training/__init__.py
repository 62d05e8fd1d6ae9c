"""Training on labelled source frames, from which every network starts."""

"""gRPC servicers of the learner, and converters between messages and records."""

"""gRPC servicers of the gateway (own protocol and KServe), callers by role, ordered streams and health."""

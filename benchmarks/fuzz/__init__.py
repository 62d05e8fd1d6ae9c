"""Bytes that are no message, sent to every RPC of gateway and learner."""

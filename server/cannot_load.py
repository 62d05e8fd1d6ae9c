"""Why a version is not loaded; apart from `server.errors`, which needs gRPC: this may be what is not installed."""


class CannotLoad(Exception):
    """A version cannot be loaded on this machine as it is: one line that says what to change. What is loaded serves."""

"""What keeps a process from starting."""


class StartupError(Exception):
    """A process cannot start: one line for the operator, saying what to change."""

"""A clock that a test moves."""


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s

    def pass_s(self, seconds: float) -> None:
        self.now_s += seconds


LONG_S = 3600.0
"""How long a lease lasts that a test does not renew, however slow the machine is."""

"""The error of every decoder here."""


class ImageError(ValueError):
    """Bytes that are no whole image of a supported kind.

    Its text is `problem: remedy`. The remedy speaks to whoever sends the image; who reads files gives its own.
    """

    def __init__(self, problem: str, remedy: str = "send a complete file") -> None:
        super().__init__(f"{problem}: {remedy}")
        self.problem = problem
        self.remedy = remedy

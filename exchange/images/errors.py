"""The error of every decoder, and names for files of kinds that are not decoded."""

_KINDS = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"RIFF", "WebP"),
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
)


class ImageError(ValueError):
    """Bytes that are no whole image of a supported kind.

    Its text is `problem: remedy`. The remedy speaks to whoever sends the image; who reads files gives its own.
    """

    def __init__(self, problem: str, remedy: str = "send a complete file") -> None:
        super().__init__(f"{problem}: {remedy}")
        self.problem = problem
        self.remedy = remedy


def kind_of(data: bytes) -> str | None:
    """Return the name of a file's kind, other than PNG, by its first bytes; None where it is not known."""
    return next((kind for magic, kind in _KINDS if data.startswith(magic)), None)

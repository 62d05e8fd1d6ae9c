"""Numbers and times as people read them."""

from datetime import UTC, datetime


def percent(share: float | None, digits: int = 0) -> str:
    return "–" if share is None else f"{100 * share:.{digits}f} %"


def milliseconds(seconds: float | None) -> str:
    return "–" if seconds is None else f"{1000 * seconds:.0f} ms"


def rate(per_s: float) -> str:
    return f"{per_s:.1f}/s"


def gibibytes(size_bytes: int) -> str:
    return f"{size_bytes / 2**30:.0f} GiB"


def lasted(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 2 * 3600 else f"{seconds / 3600:.1f} h"


def clock(at: datetime) -> str:
    """In UTC, as everything in the root; the day only where it is another."""
    at = at.astimezone(UTC)
    return f"{at:%H:%M:%S}" if at.date() == datetime.now(UTC).date() else f"{at:%Y-%m-%d %H:%M}"

"""Progress on a terminal."""

import sys


def tell(what: str, done: int, total: int) -> None:
    """Shows how far something is, on one line; nothing where nobody looks."""
    if sys.stdout.isatty():
        print(f"\r{what} {done}/{total}\033[K", end="\n" if done == total else "", flush=True)

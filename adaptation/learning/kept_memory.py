"""Memory that a training gives back and takes again in every iteration, kept by the process in between."""

import ctypes

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX, _ARENA_MAX = -1, -2, -4, -8
"""What mallopt(3) sets, by glibc's numbers."""
_LARGEST = 2**31 - 1
_PAD_BYTES = 256 << 20


def keep_freed_memory() -> None:
    """From now on large tensors lie in memory that the process holds, not on fresh pages from the kernel.

    Those cost a quarter of a training's time on two cores. The process stays as large as it once was, so this is for
    processes that train and then end. Does nothing where the C library is not glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for setting, value in {_ARENA_MAX: 1, _MMAP_MAX: 0, _TRIM_THRESHOLD: _LARGEST, _TOP_PAD: _PAD_BYTES}.items():
            mallopt(setting, value)

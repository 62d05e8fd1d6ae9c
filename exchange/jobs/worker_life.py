"""A worker process: its priority, and its end with the learner that started it."""

import ctypes
import os
import signal

IDLE, NORMAL = "idle", "normal"
"""Priorities: only what nobody else wants of the processors, or like any process."""
_PR_SET_PDEATHSIG = 1


def yield_to_others() -> None:
    """Of the idle class: it runs where every other process sleeps."""
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def die_with(parent: int) -> None:
    """Whatever ends the parent ends this process too, even one that is stopped."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) or os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)

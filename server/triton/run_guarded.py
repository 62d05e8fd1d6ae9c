"""Runs a command, and kills it with everything that it started as soon as it, or the gateway, has ended.

    python -I -S run_guarded.py GATEWAY_PID COMMAND [ARGUMENT ...]

The command takes the place of this process, which must lead a process group; a child of it stays as the guard. Triton's
stubs are meant to notice by themselves, but one may wait for ever on a lock that the killed server held.
"""

import os
import select
import signal
import sys


def main() -> None:
    gateway_pid, *command = sys.argv[1:]
    server_pid = os.getpid()
    if os.fork() == 0:
        guard(int(gateway_pid), server_pid)
    os.execv(command[0], command)  # noqa: S606


def guard(*pids: int) -> None:
    for descriptor in (0, 1, 2):  # whoever reads the server's output waits for the last who could write
        os.close(descriptor)
    try:
        select.select([os.pidfd_open(pid) for pid in pids], [], [])
    finally:  # also where one of them is gone already
        os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()

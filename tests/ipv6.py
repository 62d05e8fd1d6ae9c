"""Whether this machine can serve on IPv6's loopback address."""

import socket

import pytest


def _can_bind() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not _can_bind(), reason="no socket can be bound to ::1 here")

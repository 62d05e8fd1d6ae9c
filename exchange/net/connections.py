"""Bounds on open connections. One needs no token and holds a file descriptor, and the process needs some itself."""

import resource

_MOST_DESCRIPTORS = 65536
"""No process here needs more, and some programs that it starts look at each."""
_SHARE = 4
"""A port may hold one in four descriptors: a learner has three ports."""
_HANDSHAKE_WITHIN_MS = 10_000
_IDLE_MS = 60_000


def most_connections(wanted: int) -> int:
    """Return how many connections a port may hold at once: `wanted`, or fewer where descriptors are scarce.

    The process's soft limit of descriptors is raised to its hard one first.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    reachable = _MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < reachable:
        resource.setrlimit(resource.RLIMIT_NOFILE, (reachable, hard))
        soft = reachable
    return wanted if soft == resource.RLIM_INFINITY else min(wanted, soft // _SHARE)


def server_options(connections: int) -> list[tuple[str, int]]:
    """Return the options of a gRPC server whose port holds at most so many connections.

    One beyond them is closed at once; one that does not speak HTTP/2 within 10 s, or that has no call for a minute, is
    closed then. Callers connect anew by themselves.
    """
    return [
        ("grpc.so_reuseport", 0),  # else a second process would silently share the port
        ("grpc.max_allowed_incoming_connections", most_connections(connections)),
        ("grpc.server_handshake_timeout_ms", _HANDSHAKE_WITHIN_MS),
        ("grpc.max_connection_idle_ms", _IDLE_MS),
    ]

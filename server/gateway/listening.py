"""The gateway's gRPC server, before its port is open."""

import grpc

from exchange.net.call_errors import CallErrors
from exchange.net.connections import server_options
from exchange.net.guarded_calls import Gatekeeper, GuardedCalls
from server.settings import GatewaySettings

_MESSAGE_MARGIN_BYTES = 1 << 20
"""Beside the pixels."""
_FEWEST_CONNECTIONS = 1024
"""Where few streams are allowed: vehicles may also call frame by frame."""


def new_server(settings: GatewaySettings, gatekeeper: Gatekeeper, errors: CallErrors) -> grpc.aio.Server:
    """A server whose calls are bounded by the gatekeeper, kind by kind: one bound for all could be used up by any."""
    return grpc.aio.server(
        interceptors=[GuardedCalls(gatekeeper), errors],
        options=[
            *server_options(max(_FEWEST_CONNECTIONS, 4 * settings.streams)),
            ("grpc.max_receive_message_length", 3 * settings.max_frame_pixels + _MESSAGE_MARGIN_BYTES),  # RGB
            # Runs of one pixel each, and raw confidence.
            ("grpc.max_send_message_length", 4 * settings.max_frame_pixels + _MESSAGE_MARGIN_BYTES),
            ("grpc.keepalive_time_ms", 30_000),  # a vehicle that lost its network is noticed
            ("grpc.keepalive_timeout_ms", 10_000),
            ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
            ("grpc.keepalive_permit_without_calls", 1),
        ],
    )

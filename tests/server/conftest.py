"""The gateway around the fake segmenter that these tests talk to, and roots for those that follow a plan."""

from tests.gateways import frame_message, known_frame, known_labels, start_gateway
from tests.storage_roots import root, root_url, s3_server

__all__ = [
    "frame_message",
    "known_frame",
    "known_labels",
    "root",
    "root_url",
    "s3_server",
    "start_gateway",
]

"""The gateway around the fake segmenter that these tests talk to."""

from tests.gateways import frame_message, known_frame, known_labels, start_gateway

__all__ = ["frame_message", "known_frame", "known_labels", "start_gateway"]

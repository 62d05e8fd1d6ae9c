"""A gateway around the fake segmenter, inside the test."""

from tests.gateways import frame_message, known_frame, known_labels, start_gateway

__all__ = ["frame_message", "known_frame", "known_labels", "start_gateway"]

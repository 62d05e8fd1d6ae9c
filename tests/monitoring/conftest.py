"""What the tests of monitoring share: gateways inside the test, and a deployment of real processes."""

from tests.gateways import frame_message, known_frame, known_labels, start_gateway

__all__ = ["frame_message", "known_frame", "known_labels", "start_gateway"]

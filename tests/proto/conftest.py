"""The gateway around the fake segmenter that the samples of other languages talk to."""

from tests.gateways import start_gateway

__all__ = ["start_gateway"]

"""Roots, served frames and known frames for the tests of what serving leaves behind."""

from tests.gateways import frame_message, known_frame, known_labels
from tests.storage_roots import root, root_url, s3_server

__all__ = ["frame_message", "known_frame", "known_labels", "root", "root_url", "s3_server"]

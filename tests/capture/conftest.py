"""Roots, served frames and known frames for the tests of what serving leaves behind."""

from tests.gateways import frame_message, known_frame, known_labels
from tests.storage_roots import faulty_root, faulty_s3, root, root_url, s3_server

__all__ = [
    "faulty_root",
    "faulty_s3",
    "frame_message",
    "known_frame",
    "known_labels",
    "root",
    "root_url",
    "s3_server",
]

"""The roots that these tests write to."""

from tests.storage_roots import faulty_root, faulty_s3, root, root_url, s3_server, seaweed_server

__all__ = ["faulty_root", "faulty_s3", "root", "root_url", "s3_server", "seaweed_server"]

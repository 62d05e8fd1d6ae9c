"""The roots that these tests write to."""

from tests.storage_roots import root, root_url, s3_server

__all__ = ["root", "root_url", "s3_server"]

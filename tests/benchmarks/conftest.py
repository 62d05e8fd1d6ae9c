"""The tiny release that these tests serve."""

from tests.triton.conftest import make_release

__all__ = ["make_release"]

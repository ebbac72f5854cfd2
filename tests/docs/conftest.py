"""The tiny model of the command's tests."""

from tests.cli.conftest import tiny

__all__ = ["tiny"]

"""The tiny model of the command's tests, and the command."""

from tests.cli.conftest import command, tiny

__all__ = ["command", "tiny"]

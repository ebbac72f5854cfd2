"""The tree of errors that nextword raises for its users.

Every message says in one line what was wrong, with which value, and what to do about it. The command prints
the message and exits with 2; anything that is not a `NextwordError` is a defect of nextword itself.
"""

from __future__ import annotations


class NextwordError(Exception):
    """Base of all errors with a message for people."""


class ConfigError(NextwordError):
    """A setting (of a model, a run, a command) is unknown, contradictory or out of range."""


class CheckpointError(NextwordError):
    """A model file or folder cannot be read: damaged, incomplete, or of an unknown kind."""


class TokenizerError(NextwordError):
    """Text and token ids cannot be turned into each other: unknown tokenizer kind, id out of range, bad template."""


class DataError(NextwordError):
    """Text or examples cannot be read: no such file, damaged, a record without the field, not UTF-8."""


class RequestError(NextwordError):
    """What one call asks for cannot be done: a parameter out of range, a prompt beyond the context."""


class DownloadError(NextwordError):
    """A model could not be fetched, or what came is not what was expected."""


class MissingExtraError(NextwordError):
    """A feature needs an optional dependency that is not installed."""


class BackendError(NextwordError):
    """The backend asked for cannot run here: not built, or not for this processor."""


class TrainingError(NextwordError):
    """Training cannot go on: losses that are no numbers, nothing to learn from."""

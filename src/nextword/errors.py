"""Errors that nextword raises for its users, all of them subclasses of `NextwordError`.

A message is one line: what is wrong, the value seen, and what to do about it. The command prints the message and exits
with status 2. Any other exception that leaves nextword is a defect of nextword itself.
"""

from __future__ import annotations

_LONGEST, _END = 1000, 300
"""Characters of a message, enough for two paths, and of its end, which says what to do, where it is longer."""


class NextwordError(Exception):
    """Base class of all errors of nextword: a message of one line, of which the middle is left out if it is long."""

    def __init__(self, message: str = "") -> None:
        super().__init__(one_line(message))


def one_line(message: str) -> str:
    """Escape what no line can show, such as control characters; leave out the middle of a long message."""
    if not message.isprintable():
        message = "".join(map(_printable, message))
    return message if len(message) <= _LONGEST else f"{message[: _LONGEST - _END]} ... {message[-_END:]}"


def _printable(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode("ascii")


class ConfigError(NextwordError):
    """A setting of a model, a training run or a command is unknown, contradictory or out of range."""


class CheckpointError(NextwordError):
    """A model file or folder cannot be read or written: damaged, incomplete, missing, or of an unsupported kind."""


class TokenizerError(NextwordError):
    """Text cannot be encoded or token ids decoded: unsupported tokenizer, id out of range, invalid chat template."""


class DataError(NextwordError):
    """Text, examples or prepared tokens cannot be read: file missing or damaged, field missing, not UTF-8."""


class RequestError(NextwordError):
    """A call cannot be carried out: invalid or unknown parameter, prompt longer than the context."""


class OutOfMemoryError(RequestError):
    """A valid call cannot be carried out now: memory for keys and values, or of the system, is lacking."""


class StepInterruptedError(RequestError):
    """The step that computed a request was interrupted, by an exception in another thread or by the user: ask again."""


class DownloadError(NextwordError):
    """A model cannot be downloaded: no network, no such model, or a file with another checksum."""


class MissingExtraError(NextwordError):
    """An optional dependency that a feature needs is not installed; the message names the extra."""


class BackendError(NextwordError):
    """The requested backend cannot run on this machine: not built, or not for this processor."""


class TrainingError(NextwordError):
    """Training cannot continue: loss that is not finite, or no targets to learn from."""


def os_reason(error: OSError) -> str:
    """Return the system's words for an error; libraries raise some that have other words alone, or none."""
    return error.strerror or " ".join(str(error).split()) or type(error).__name__

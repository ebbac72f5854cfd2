"""`translated`: errors of the `tokenizers` library as our own; it raises the base class, and panics of Rust."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from nextword.errors import NextwordError, TokenizerError

_REASON_LENGTH = 300


@contextlib.contextmanager
def translated(what: str) -> Iterator[None]:
    """Raise whatever the library raises inside as a TokenizerError: one line that begins with `what`."""
    try:
        yield
    except NextwordError:
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        reason = " ".join(str(error)[:_REASON_LENGTH].split()) or type(error).__name__
        raise TokenizerError(f"{what}: {reason}") from None

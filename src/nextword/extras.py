"""`needs_extra`: imports of an optional dependency, with an error that says how to install it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from nextword.errors import MissingExtraError


@contextmanager
def needs_extra(extra: str) -> Iterator[None]:
    """Wrap imports that the extra of that name provides. Raises MissingExtraError, saying how to install it."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"{error.name} is not installed: pip install 'nextword[{extra}]'") from None

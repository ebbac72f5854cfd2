"""`needs_extra`, `has_torch`: optional dependencies, and errors that say how to install them."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager

from nextword.errors import MissingExtraError


def has_torch() -> bool:
    """Return True if PyTorch is installed; imports nothing."""
    return importlib.util.find_spec("torch") is not None


@contextmanager
def needs_extra(extra: str) -> Iterator[None]:
    """Wrap imports that the extra of that name provides. Raises MissingExtraError, saying how to install it."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"{error.name} is not installed: pip install 'nextword[{extra}]'") from None

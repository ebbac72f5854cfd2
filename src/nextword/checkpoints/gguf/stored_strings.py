"""`StoredStrings`: a list of strings that lies in a mapped GGUF file, read by the C++ core when it is asked for.

In: a place in the file whose strings were checked. Out: the strings, or the pairs that they are cut into. It knows no
metadata keys.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import TypeVar

from nextword.errors import CheckpointError
from nextword.input_file import FileMapping

_Read = TypeVar("_Read")


class StoredStrings:
    """Strings of a little-endian file, read each time: a vocabulary is needed once, and takes more memory than the
    tokenizer that it becomes.

    Whatever reads them raises CheckpointError if the file has changed since they were checked.
    """

    def __init__(self, core: ModuleType, mapping: FileMapping, *, first: int, count: int) -> None:
        """`first`: the position in the file of the first string's length."""
        self._core, self._mapping, self._first, self._count = core, mapping, first, count

    def __repr__(self) -> str:
        return repr(self.read())

    def read(self) -> list[str]:
        """Return the strings."""
        strings: list[str] = self._checked(self._core.read_strings)[0]
        return strings

    def split(self, tokens: list[str]) -> tuple[list[str], list[str], bool]:
        """Cut each string at its first space; return the left parts, the right ones, and whether no pair is longer
        than all tokens, in bytes of UTF-8.

        Parts that are tokens are the same objects as in `tokens`.
        """
        pairs: tuple[list[str], list[str], bool] = self._checked(self._core.split_strings, tokens)
        return pairs

    def _checked(self, read: Callable[..., _Read], *more: object) -> _Read:
        """Return what a function of the core makes of the strings, if they are those that were checked."""
        try:
            found = read(memoryview(self._mapping), self._first, self._count, *more)
        except ValueError:
            self._mapping.require_unchanged()
            raise CheckpointError(
                f"{self._mapping.path}: a list of strings is not the one that was there: load it again"
            ) from None
        self._mapping.require_unchanged()
        return found

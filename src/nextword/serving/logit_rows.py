"""`LogitRows`: rows of logits computed lately, so that other sampling parameters need no step of the model."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections import OrderedDict
from collections.abc import Collection, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from nextword.inference.backend import Logits

_MOST_BYTES = 64 * 2**20
_AT_ONCE = 4
"""Requests that hold rows at the same time, besides those that are stored."""


class LogitRows:
    """Rows by the adapter and the tokens before them; the least recently used go first. Threads may share it."""

    def __init__(self, vocab_size: int, *, most_bytes: int = _MOST_BYTES) -> None:
        self.most_rows = max(most_bytes // (4 * vocab_size), 1)
        """Rows that there is room for."""
        self.turns = asyncio.Semaphore(_AT_ONCE)
        """To be held, on the event loop, while a request has rows."""
        self._rows: OrderedDict[bytes, Logits] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, token_ids: Sequence[int], lengths: Collection[int], adapter: str | None) -> dict[int, Logits]:
        """Return the rows that are there, by the number of tokens before them."""
        found = {}
        with self._lock:
            for length, key in _keys(token_ids, lengths, adapter):
                if key in self._rows:
                    self._rows.move_to_end(key)
                    found[length] = self._rows[key]
        return found

    def keep(self, token_ids: Sequence[int], rows: dict[int, Logits], adapter: str | None) -> None:
        """Keep rows, by the number of tokens before them."""
        with self._lock:
            for length, key in _keys(token_ids, rows, adapter):
                self._rows[key] = rows[length]
            while len(self._rows) > self.most_rows:
                self._rows.popitem(last=False)


def _keys(token_ids: Sequence[int], lengths: Collection[int], adapter: str | None) -> Iterator[tuple[int, bytes]]:
    """Yield each of the lengths, ascending, with a key of so many first tokens."""
    ids: npt.NDArray[np.int64] = np.asarray(token_ids, dtype=np.int64)
    hashed = hashlib.sha256(repr(adapter).encode())
    begin = 0
    for length in sorted(lengths):
        hashed.update(ids[begin:length].tobytes())
        begin = length
        yield length, hashed.copy().digest()

"""`TokenView`: a selection of documents in token shards, from which windows of any length are cut.

Training and validation data share one set of shards by two views. Documents stay apart: positions begin at 0 in each,
and no token is predicted from another document.
"""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass

import numpy as np

from nextword.data.batch import Batch, TokenArray
from nextword.data.packing import empty_row
from nextword.data.shards import TokenShards
from nextword.data.shuffle import mix
from nextword.errors import ConfigError, DataError

_LEAST_RANDOM_DOCUMENTS = 20
"""Least number of validation documents to draw at random; for fewer the end of the corpus is taken instead."""


@dataclass(frozen=True)
class TokenView:
    """Tokens `starts[i]` to `stops[i]` of the shards for each i, one part after the other."""

    shards: TokenShards
    starts: TokenArray
    stops: TokenArray

    @property
    def num_tokens(self) -> int:
        """Tokens of all parts."""
        return int(self._part_ends[-1]) if len(self.starts) else 0

    @functools.cached_property
    def _part_ends(self) -> TokenArray:
        """Ends of the parts, (parts,) int64, counted in tokens of the view."""
        return np.cumsum(self.stops - self.starts, dtype=np.int64)

    def documents(self) -> list[list[int]]:
        """Read the token ids of each part."""
        parts = zip(self.starts.tolist(), self.stops.tolist(), strict=True)
        return [self.shards.read(start, stop).tolist() for start, stop in parts]

    def window(self, start: int, length: int, *, wraps: bool = True) -> Batch:
        """Read a row of `length` tokens from `start`, arrays (length,); with `wraps` it continues at the beginning.

        The rest of the row is padding if there are too few tokens; no token comes twice.
        """
        row = empty_row(length)
        available = min(length, self.num_tokens if wraps else self.num_tokens - start)
        filled = 0
        places: list[str] = []
        while filled < available:
            room, place = slice(filled, available), (start + filled) % self.num_tokens
            size = self._copy_part(row, room, place, len(places))
            places.append(self._name(place, size))
            filled += size
        return dataclasses.replace(row, places=tuple(places))

    def _name(self, place: int, size: int) -> str:
        """Describe `size` tokens from `place` for messages."""
        part = int(np.searchsorted(self._part_ends, place, side="right"))
        first = int(self.stops[part] - self._part_ends[part]) + place  # in the shards
        document = int(np.searchsorted(self.shards.document_ends, first, side="right"))
        begin = int(self.shards.document_ends[document - 1]) if document else 0
        return f"document {document + 1:,} (tokens {first - begin:,} to {first - begin + size - 1:,})"

    def _copy_part(self, row: Batch, room: slice, place: int, number: int) -> int:
        """Copy the rest of the part at `place`, as far as there is room; return the number of tokens copied."""
        part = int(np.searchsorted(self._part_ends, place, side="right"))
        end, rest = int(self.stops[part]), int(self._part_ends[part]) - place
        size: int = min(room.stop - room.start, rest)
        tokens = self.shards.read(end - rest, min(end - rest + size + 1, end))  # with the one after, if there is one
        here = slice(room.start, room.start + size)
        row.token_ids[here] = tokens[:size]
        row.targets[room.start : room.start + len(tokens) - 1] = tokens[1:]
        row.positions[here] = np.arange(size)
        row.document_ids[here] = number
        return size


def whole_view(shards: TokenShards) -> TokenView:
    """Return a view of all documents."""
    ends = shards.document_ends
    return TokenView(shards, np.concatenate([[0], ends[:-1]]).astype(np.int64), ends)


def split_validation(shards: TokenShards, share: float, *, seed: int) -> tuple[TokenView, TokenView]:
    """Split a corpus into training and validation views.

    About `share` of the documents are drawn for validation by `seed`. If that would be fewer than 20 documents,
    validation is the last tokens of the corpus instead. Raises ConfigError for a share outside [0, 1), DataError if it
    leaves no tokens on one side.
    """
    if not 0 <= share < 1:
        raise ConfigError(f"validation share {share}: must be from 0 to below 1")
    view = whole_view(shards)
    if share == 0:
        return view, TokenView(shards, view.starts[:0], view.stops[:0])
    if len(view.starts) * share >= _LEAST_RANDOM_DOCUMENTS:
        chosen = np.array([mix(seed, document) < share * 2**64 for document in range(len(view.starts))])
        train, validation = (TokenView(shards, view.starts[rows], view.stops[rows]) for rows in (~chosen, chosen))
    else:
        train, validation = _split_at(view, shards.num_tokens - round(share * shards.num_tokens))
    if not train.num_tokens or not validation.num_tokens:
        raise DataError(f"{shards.num_tokens} tokens cannot be split with a validation share of {share}")
    return train, validation


def _split_at(view: TokenView, place: int) -> tuple[TokenView, TokenView]:
    before, after = view.starts < place, view.stops > place
    return (
        TokenView(view.shards, view.starts[before], np.minimum(view.stops[before], place)),
        TokenView(view.shards, np.maximum(view.starts[after], place), view.stops[after]),
    )

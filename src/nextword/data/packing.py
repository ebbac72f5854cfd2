"""Packing of examples into rows of equal length, and of rows into batches. It knows neither files nor text."""

from __future__ import annotations

import bisect
from collections.abc import Sequence

import numpy as np

from nextword.data.batch import IGNORED, PADDING_DOCUMENT, Batch


def empty_row(length: int) -> Batch:
    """Return a row of padding, with arrays of (length,)."""
    return Batch(
        token_ids=np.zeros(length, np.int64),
        targets=np.full(length, IGNORED, np.int64),
        positions=np.zeros(length, np.int64),
        document_ids=np.full(length, PADDING_DOCUMENT, np.int64),
    )


def stack(rows: Sequence[Batch]) -> Batch:
    """Stack rows with arrays of (T,) into a batch of (B, T)."""
    return Batch(
        token_ids=np.stack([row.token_ids for row in rows]),
        targets=np.stack([row.targets for row in rows]),
        positions=np.stack([row.positions for row in rows]),
        document_ids=np.stack([row.document_ids for row in rows]),
        places=tuple(place for row in rows for place in row.places),
    )


def pack_best_fit(lengths: Sequence[int], row_length: int) -> list[list[int]]:
    """Pack examples into rows by best-fit decreasing; return the numbers of the examples in each row.

    The longest example comes first; each goes into the fullest row that it fits into. No length may exceed
    `row_length`.
    """
    rows: list[list[int]] = []
    room: list[tuple[int, int]] = []  # (free tokens, row), the fullest row first
    for number in sorted(range(len(lengths)), key=lambda number: (-lengths[number], number)):
        length = lengths[number]
        place = bisect.bisect_left(room, (length, 0))
        if place == len(room):
            left, row = row_length, len(rows)
            rows.append([])
        else:
            left, row = room.pop(place)
        rows[row].append(number)
        bisect.insort(room, (left - length, row))
    return rows

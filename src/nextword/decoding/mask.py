"""`Mask`: which tokens may come next, a bit for each.

The bits of a byte go from the lowest up, as llguidance and the C++ core have them; those behind the last token are 0.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.uint8]


def packed(allowed: NDArray[np.bool_]) -> Mask:
    """Return the mask of tokens that are allowed, (number of tokens,)."""
    return np.packbits(allowed, bitorder="little")


def unpacked(mask: Mask, num_tokens: int) -> NDArray[np.bool_]:
    """Return which tokens a mask allows, (number of tokens,)."""
    return np.unpackbits(mask, count=num_tokens, bitorder="little").view(np.bool_)


def is_in(mask: Mask, token_id: int) -> bool:
    """Return True if the mask allows a token of the vocabulary."""
    return bool(mask[token_id >> 3] >> (token_id & 7) & 1)


def with_tokens(mask: Mask, token_ids: Collection[int], *, are_allowed: bool) -> Mask:
    """Return a copy in which some tokens of the vocabulary are allowed, or none of them is."""
    changed = mask.copy()
    for token_id in token_ids:
        place, bit = token_id >> 3, 1 << (token_id & 7)
        changed[place] = changed[place] | bit if are_allowed else changed[place] & (0xFF ^ bit)
    return changed

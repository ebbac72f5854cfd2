"""`draw_together`: the next tokens of many sequences, in one call to C++ that shares them out among threads.

In: the samplers of the sequences, and a row of logits for each. Out: tokens for `Sampler.choose`. Each is the one that
its sampler would choose alone: by the same operations, with the random number of its own seed and position.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nextword.decoding.processors import Logits
from nextword.decoding.sampler import Sampler
from nextword.native import native

if TYPE_CHECKING:
    from nextword.native import core


def draw_together(samplers: Sequence[Sampler], rows: Sequence[Logits], threads: core.Model | None) -> list[int | None]:
    """Return the next token of each sequence, from rows of logits (vocab_size,); changes no sampler.

    None for a sampler that has to choose by itself, and for logits that it refuses. `threads`: those of a model that
    runs no step meanwhile; None: there are none.
    """
    tokens: list[int | None] = [None] * len(samplers)
    if native is None or threads is None or len(samplers) < 2:
        return tokens
    draws = [sampler.plain_draw(row) for sampler, row in zip(samplers, rows, strict=True)]
    plain = {index: draw for index, draw in enumerate(draws) if draw is not None}
    chosen = native.choose(threads, [draw.logits for draw in plain.values()], [draw.setting for draw in plain.values()])
    for index, token_id in zip(plain, chosen, strict=True):
        tokens[index] = token_id if token_id >= 0 else None
    return tokens

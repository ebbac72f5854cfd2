"""Virtual tokens before every sequence, on a fake; tests/adapters/test_prompt.py holds them to peft."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from nextword.errors import RequestError
from nextword.inference.backend import PAGE_POSITIONS, Chunk, Logits
from nextword.inference.prompted_backend import PromptedBackend
from tests.fakes import HashBackend

VIRTUAL = [10, 11, 12]


class RefusingBackend(HashBackend):
    """Has no memory for a step."""

    def step(self, chunks: Sequence[Chunk]) -> list[Logits]:
        raise RequestError("no memory")


def prompted(inner: HashBackend) -> PromptedBackend:
    return PromptedBackend(inner, vocab_size=10, num_virtual_tokens=len(VIRTUAL))


def test_logits_are_those_after_the_virtual_tokens() -> None:
    inner = HashBackend(vocab_size=13)
    backend = prompted(inner)
    cache_id = backend.open_cache()
    (logits,) = backend.step([Chunk(cache_id, [1, 2], 1)])
    np.testing.assert_array_equal(logits[0], inner.logits_after([*VIRTUAL, 1, 2])[:10])
    assert (backend.cache_length(cache_id), backend.max_seq_len) == (2, inner.max_seq_len - len(VIRTUAL))


def test_every_sequence_is_counted_with_the_pages_of_its_virtual_tokens() -> None:
    backend = prompted(HashBackend(vocab_size=13, max_positions=10 * PAGE_POSITIONS))
    assert backend.max_positions == 5 * PAGE_POSITIONS


def test_a_sequence_whose_virtual_tokens_cannot_run_is_closed() -> None:
    inner = RefusingBackend(vocab_size=13)
    with pytest.raises(RequestError, match="no memory"):
        prompted(inner).open_cache()
    assert not inner.caches

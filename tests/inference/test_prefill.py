"""Prompts are cut at the same places wherever they are computed, and pages are counted as the cache gives them out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextword.inference.backend import PAGE_POSITIONS
from nextword.inference.cache_budget import forked_positions, whole_pages
from nextword.inference.prefill import PREFILL_CHUNK, prefill_chunks


@given(st.integers(1, 3 * PREFILL_CHUNK), st.data())
def test_chunks_are_the_prompt_cut_at_multiples_with_logits_of_its_end(length: int, data: st.DataObject) -> None:
    prompt = list(range(length))
    start, num_logits = data.draw(st.integers(0, length)), data.draw(st.integers(0, length))
    chunks = list(prefill_chunks(7, prompt, start, num_logits=num_logits))
    assert [token_id for chunk in chunks for token_id in chunk.token_ids] == prompt[start:]
    ends = [chunk.token_ids[-1] + 1 for chunk in chunks]
    assert all(end % PREFILL_CHUNK == 0 for end in ends[:-1])
    assert all(0 < len(chunk.token_ids) <= PREFILL_CHUNK and chunk.cache_id == 7 for chunk in chunks)
    with_logits = [
        position for chunk in chunks for position in chunk.token_ids[len(chunk.token_ids) - chunk.num_logits :]
    ]
    assert with_logits == prompt[max(start, length - num_logits) :]


@pytest.mark.parametrize(
    ("prefix", "growths", "pages"), [(0, [0], 0), (1, [0], 1), (32, [0], 1), (32, [1, 1], 3), (33, [0, 31, 32], 5)]
)
def test_forks_share_full_pages_and_copy_the_last(prefix: int, growths: list[int], pages: int) -> None:
    assert forked_positions(prefix, growths) == pages * PAGE_POSITIONS
    assert forked_positions(prefix, [growths[0]]) == whole_pages(prefix + growths[0])

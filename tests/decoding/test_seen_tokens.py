from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from nextword.decoding.seen_tokens import NGramMemory, SeenTokens, TokenCounts

TOKENS = st.lists(st.integers(0, 40), max_size=120)


@given(TOKENS)
def test_counts_are_those_of_the_text(token_ids: list[int]) -> None:
    counts = TokenCounts()
    for token_id in token_ids:
        counts.add(token_id)
    assert dict(zip(counts.token_ids.tolist(), counts.counts.tolist(), strict=True)) == Counter(token_ids)


@given(st.lists(st.integers(0, 3), max_size=60), st.integers(1, 4))
def test_repeating_are_the_tokens_that_end_a_known_ngram(token_ids: list[int], size: int) -> None:
    memory = NGramMemory(size)
    for token_id in token_ids:
        memory.add(token_id)
    known = {tuple(token_ids[i : i + size]) for i in range(len(token_ids) - size + 1)}
    latest = tuple(token_ids[len(token_ids) - size + 1 :])
    assert memory.repeating() == [token_id for token_id in range(4) if (*latest, token_id) in known]


def test_all_takes_in_the_prompt_and_output_does_not() -> None:
    seen = SeenTokens([5, 5, 6], count_all=True, count_output=True, ngram_size=0)
    seen.append(6)
    assert seen.all is not None
    assert seen.output is not None
    assert seen.all.token_ids.tolist() == [5, 6]
    assert (seen.output.token_ids.tolist(), seen.output.counts.tolist(), seen.num_output) == ([6], [1.0], 1)


def test_what_is_not_asked_for_is_not_kept() -> None:
    seen = SeenTokens([1, 2], count_all=False, count_output=False, ngram_size=0)
    seen.append(3)
    assert (seen.all, seen.output, seen.ngrams, seen.num_output) == (None, None, None, 1)

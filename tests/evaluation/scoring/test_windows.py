"""Which tokens each convention scores: windows worked out by hand. A token's id is its position."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextword.evaluation.scoring.windows import Window, halved_chunks, rolling_windows, sliding_windows

PREFIX = -100


def window(start: int, stop: int, num_scored: int) -> Window:
    return Window(start, list(range(start, stop)), num_scored)


def test_overlapping_windows_score_every_token_but_the_first_once() -> None:
    windows = list(sliding_windows(range(10), context=4, stride=2))

    assert windows == [window(0, 4, 3), window(2, 6, 2), window(4, 8, 2), window(6, 10, 2)]


def test_windows_without_overlap_do_not_score_their_first_tokens() -> None:
    assert list(sliding_windows(range(9), context=4, stride=4)) == [window(0, 4, 3), window(4, 8, 3)]


def test_a_text_shorter_than_the_context_is_one_window() -> None:
    assert list(sliding_windows(range(3), context=8, stride=8)) == [window(0, 3, 2)]


@given(st.integers(0, 60), st.integers(2, 12), st.data())
def test_sliding_windows_are_those_of_the_documented_loop(num_tokens: int, context: int, data: st.DataObject) -> None:
    stride = data.draw(st.integers(1, context))
    expected, scored_until = [], 0
    for start in range(0, num_tokens, stride):
        stop = min(start + context, num_tokens)
        targets = range(max(scored_until, start + 1), stop)  # the shift of the labels loses a window's first token
        if targets:
            expected.append((start, stop, targets))
        scored_until = stop
        if stop == num_tokens:
            break
    found = [
        (one.start, one.start + len(one.token_ids), one.scored)
        for one in sliding_windows(range(num_tokens), context=context, stride=stride)
    ]
    assert found == [(start, stop, list(targets)) for start, stop, targets in expected]


def test_halved_chunks_score_what_follows_the_middle_and_drop_the_rest() -> None:
    assert list(halved_chunks(range(19), context=8, prefix=())) == [window(0, 8, 3), window(8, 16, 3)]


def test_bos_takes_the_place_of_each_chunks_first_token() -> None:
    windows = list(halved_chunks(range(8), context=4, prefix=(77,)))
    assert [one.token_ids for one in windows] == [[77, 1, 2, 3], [77, 5, 6, 7]]
    assert [one.scored for one in windows] == [[3], [7]]


def test_a_chunk_of_512_scores_255_tokens_as_llama_cpp_does() -> None:
    (only,) = halved_chunks(range(512), context=512, prefix=())
    assert only.scored == list(range(257, 512))


def test_rolling_windows_score_all_and_the_last_one_has_all_the_context_that_fits() -> None:
    windows = list(rolling_windows(range(34), context=10, prefix_token_id=PREFIX))
    assert windows == [
        Window(-1, [PREFIX, *range(10)], 10),
        window(9, 20, 10),
        window(19, 30, 10),
        window(23, 34, 4),
    ]


@pytest.mark.peer
@pytest.mark.parametrize(("num_tokens", "context"), [(0, 4), (1, 4), (4, 4), (5, 4), (34, 10), (40, 10), (23, 1)])
def test_rolling_windows_are_those_of_lm_eval(num_tokens: int, context: int) -> None:
    lm_eval = pytest.importorskip("lm_eval.utils")
    theirs = lm_eval.get_rolling_token_windows(
        token_list=list(range(num_tokens)), prefix_token=PREFIX, max_seq_len=context, context_len=1
    )
    ours = rolling_windows(range(num_tokens), context=context, prefix_token_id=PREFIX)
    expected = [(seen, scored) for seen, scored in theirs]
    assert [(list(one.token_ids[:-1]), list(one.scored)) for one in ours] == expected

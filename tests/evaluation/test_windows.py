"""Which tokens the sliding convention scores: windows worked out by hand."""

from __future__ import annotations

import pytest

from nextword.errors import RequestError
from nextword.evaluation.windows import Window, sliding_windows


def test_overlapping_windows_score_every_token_but_the_first_once() -> None:
    windows = list(sliding_windows(10, context=4, stride=2))

    assert windows == [Window(0, 4, 3), Window(2, 6, 2), Window(4, 8, 2), Window(6, 10, 2)]


def test_windows_without_overlap_do_not_score_their_first_tokens() -> None:
    assert list(sliding_windows(9, context=4, stride=4)) == [Window(0, 4, 3), Window(4, 8, 3)]


def test_a_text_shorter_than_the_context_is_one_window() -> None:
    assert list(sliding_windows(3, context=8, stride=8)) == [Window(0, 3, 2)]


@pytest.mark.parametrize("stride", [0, 5])
def test_a_stride_that_leaves_tokens_out_is_refused(stride: int) -> None:
    with pytest.raises(RequestError, match=f"stride = {stride}"):
        list(sliding_windows(9, context=4, stride=stride))

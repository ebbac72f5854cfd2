"""Text that may be shown while it grows: all of it in the end, and never a part of a stop string."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextword.inference.stop_strings import StopStrings
from nextword.inference.text_stream import TextStream
from tests.text.test_tokenizer import TOKENIZER
from tests.text.vocabularies import as_tokenizer, byte_level_backend, piece_backend

PIECES = ["a", "b", "c", " the", " sea", "é", "漢"]
STOPS = st.lists(st.text("abc thes漢é", min_size=1, max_size=4), max_size=3).map(tuple)


def cut_by_hand(words: list[str], stop: tuple[str, ...]) -> str:
    """The text up to the first stop string, as soon as a word completes one."""
    text = ""
    for word in words:
        text += word
        found = [text.find(string) for string in stop if string in text]
        if found:
            return text[: min(found)]
    return text


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=12), STOPS)
def test_no_part_of_a_stop_string_leaks(words: list[str], stop: tuple[str, ...]) -> None:
    expected = cut_by_hand(words, stop)
    stream = TextStream(TOKENIZER.stream_decoder(), StopStrings(stop, TOKENIZER))
    shown = ""
    for word in words:
        for token_id in TOKENIZER.encode(word):
            shown += stream.push(token_id)
            assert expected.startswith(shown)
            assert not any(string in shown for string in stop)
    shown += stream.flush()
    assert shown == stream.text == expected
    assert stream.stopped == (expected != "".join(words))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, TOKENIZER.vocab_size - 1), max_size=20), STOPS)
def test_any_tokens_add_up_to_the_text_before_a_stop_string(token_ids: list[int], stop: tuple[str, ...]) -> None:
    stream = TextStream(TOKENIZER.stream_decoder(), StopStrings(stop, TOKENIZER))
    shown = "".join([stream.push(token_id) for token_id in token_ids]) + stream.flush()
    whole = TOKENIZER.decode(token_ids)
    assert shown == stream.text
    assert whole.startswith(shown)
    assert not any(string in shown for string in stop)
    assert stream.stopped or shown == whole


def test_a_false_alarm_is_shown_as_soon_as_it_is_over() -> None:
    stream = TextStream(TOKENIZER.stream_decoder(), StopStrings(["abc"], TOKENIZER))
    ids = [TOKENIZER.encode(letter)[0] for letter in "abab"]
    assert [stream.push(token_id) for token_id in ids] == ["", "", "ab", ""]
    assert stream.flush() == "ab"


def test_a_stop_string_is_found_in_bytes_of_a_character_and_among_wrong_bytes() -> None:
    tokenizer = as_tokenizer(piece_backend())
    stream = TextStream(tokenizer.stream_decoder(), StopStrings(["漢字"], tokenizer))
    token_ids = [3 + byte for byte in b"\xffa\xff" + "漢字b".encode()]
    assert [stream.push(token_id) for token_id in token_ids[:3]] == ["\ufffd", "a", "\ufffd"]
    assert [stream.push(token_id) for token_id in token_ids[3:]] == [""] * 7
    assert (stream.text, stream.stopped, stream.flush()) == ("\ufffda\ufffd", True, "")


def test_a_padded_row_adds_nothing_and_hides_no_stop_string() -> None:
    stream = TextStream(TOKENIZER.stream_decoder(), StopStrings(["ab"], TOKENIZER))
    first, second = (TOKENIZER.encode(letter)[0] for letter in "ab")
    assert [stream.push(token_id) for token_id in (first, TOKENIZER.vocab_size + 5, second)] == ["", "", ""]
    assert (stream.text, stream.stopped) == ("", True)


CONTROLS = as_tokenizer(byte_level_backend())
BEGIN, END = (CONTROLS.encode(token, parse_special=True)[0] for token in ("<|begin|>", "<|end|>"))
A, B = (CONTROLS.encode(letter)[0] for letter in "ab")


@pytest.mark.parametrize(
    ("stop", "token_ids", "text", "stops"),
    [
        (["<|end|>"], [A, END, B], "a", True),
        (["<|end|>"], CONTROLS.encode("a<|end|>b"), "a", True),  # written by ordinary tokens
        (["<|end|>"], [A, BEGIN, B], "ab", False),
        (["a<|end|>b"], [B, A, END, B], "b", True),
        (["a<|end|>b"], [B, A, END, A], "baa", False),
        (["<|end|><|begin|>"], [A, END, END, BEGIN], "a", True),
        ([">", "end", "|"], [A, END, B], "ab", False),  # a part of a control token's name is no text
        (["ab"], [A, END, B], "", True),
        (["ab", "<|begin|>"], [A, END, B], "", True),
    ],
)
def test_a_stop_string_may_name_control_tokens(stop: list[str], token_ids: list[int], text: str, stops: bool) -> None:
    stream = TextStream(CONTROLS.stream_decoder(), StopStrings(stop, CONTROLS))
    shown = "".join([stream.push(token_id) for token_id in token_ids]) + stream.flush()
    assert (shown, stream.text, stream.stopped) == (text, text, stops)

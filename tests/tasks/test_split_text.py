"""Splitting loses nothing, fits, and cuts at the best border there is."""

from __future__ import annotations

from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextword.tasks.split_text import SENTENCE_END, num_tokens, split_text
from nextword.text.tokenizer import Tokenizer
from tests.text.test_tokenizer import TOKENIZER

MOST_TOKENS_OF_A_CHARACTER = 4
"""Of the test's byte-level vocabulary."""
prose = st.lists(
    st.sampled_from(["river", "sea.", "Ran?", "\n\n", "\n", " ", "  ", "漢字。", "Dr.", "3.5", "👩‍👧"]), max_size=60
)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200) | prose.map("".join), st.integers(MOST_TOKENS_OF_A_CHARACTER, 60))
def test_pieces_add_up_to_the_text_and_fit(text: str, max_tokens: int) -> None:
    pieces = split_text(TOKENIZER, text, max_tokens=max_tokens)
    assert "".join(pieces) == text
    assert all(num_tokens(TOKENIZER, piece) <= max_tokens for piece in pieces)
    assert all(pieces) or not text


def test_a_text_that_fits_stays_whole() -> None:
    text = "One sentence. Another.\n\nA paragraph."
    assert split_text(TOKENIZER, text, max_tokens=num_tokens(TOKENIZER, text)) == [text]


def test_paragraphs_are_kept_together_while_they_fit() -> None:
    paragraphs = [f"{letter} {letter}. {letter.upper()} {letter}.\n\n" for letter in "abcd"]
    size = num_tokens(TOKENIZER, paragraphs[0])
    assert split_text(TOKENIZER, "".join(paragraphs), max_tokens=2 * size) == [
        "".join(paragraphs[:2]),
        "".join(paragraphs[2:]),
    ]


def test_a_long_paragraph_is_cut_after_sentences_and_its_neighbours_stay_whole() -> None:
    sentences = ["The river ran.", " The sea ran!", ' "The river ran."', " Ran the sea?"]
    size = max(num_tokens(TOKENIZER, sentence) for sentence in sentences)
    text = "A.\n\n" + "".join(sentences) + "\n\nB."
    pieces = split_text(TOKENIZER, text, max_tokens=size)
    assert pieces == ["A.\n\n", *sentences[:3], sentences[3] + "\n\n", "B."]


def test_a_long_sentence_is_cut_after_words() -> None:
    text = "the river ran to the sea and the sea"
    pieces = split_text(TOKENIZER, text, max_tokens=4)
    assert len(pieces) > 1
    assert [word for piece in pieces for word in piece.split()] == text.split()


def test_chinese_is_cut_after_its_full_stops() -> None:
    sentences = ["河水流向大海。", "大海很深！", "真的吗？"]
    size = max(num_tokens(TOKENIZER, sentence) for sentence in sentences)
    assert split_text(TOKENIZER, "".join(sentences), max_tokens=size) == sentences


def test_one_giant_word_is_cut_between_characters() -> None:
    pieces = split_text(TOKENIZER, "漢" * 1000, max_tokens=30)
    assert "".join(pieces) == "漢" * 1000
    assert len(pieces) <= 1000 * 3 / 30 * 2


def test_a_character_longer_than_the_limit_is_a_piece_of_its_own() -> None:
    assert split_text(TOKENIZER, "漢字", max_tokens=1) == ["漢", "字"]


def test_a_whole_with_more_tokens_than_its_parts_is_cut_all_the_same() -> None:
    class Quadratic:
        def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
            return [0] * len(text) ** 2

    pieces = split_text(cast(Tokenizer, Quadratic()), "aa bb", max_tokens=13)
    assert "".join(pieces) == "aa bb"
    assert max(map(len, pieces)) <= 3


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("It ran. It fell.", ["It ran.", " It fell."]),
        ("Did it run?! It did.", ["Did it run?!", " It did."]),
        ('She said "Run." He ran.', ['She said "Run."', " He ran."]),
        ("It rose in 2014. Then it fell.", ["It rose in 2014.", " Then it fell."]),
        ("It cost 3.5 million. Twice.", ["It cost 3.5 million.", " Twice."]),
        ("Mr. Brandt and J. Oduya met Dr. Who.", ["Mr. Brandt and J. Oduya met Dr. Who."]),
        ("It has bends, e.g. two. Good.", ["It has bends, e.g. two.", " Good."]),
        ("1. The river\n2. The sea\n12. The town", ["1. The river\n2. The sea\n12. The town"]),
        ("河水。大海！", ["河水。", "大海！"]),
        ("no end at all", ["no end at all"]),
    ],
)
def test_where_sentences_end(text: str, sentences: list[str]) -> None:
    ends = [match.end() for match in SENTENCE_END.finditer(text)]
    found = [text[start:end] for start, end in zip([0, *ends], [*ends, None], strict=True)]
    assert [sentence for sentence in found if sentence] == sentences

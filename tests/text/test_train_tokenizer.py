"""Trained tokenizers: lossless, the same each time, and read by transformers as by us."""

from __future__ import annotations

from pathlib import Path

import pytest
import transformers
from hypothesis import given
from hypothesis import strategies as st

from nextword.errors import ConfigError, DataError
from nextword.text.tokenizer import Tokenizer
from nextword.text.tokenizer_folder import load_tokenizer_folder
from nextword.text.train_tokenizer import CHAT_MARKS, END_OF_TEXT, TokenizerKind, measure_tokenizer, train_tokenizer

TEXTS = ["the cat sat on the mat, the cat in the hat\n" * 20, "2024 the 42 naïve cats\n" * 20]
MESSAGES = [{"role": "user", "content": "the cat?"}, {"role": "assistant", "content": "on the mat"}]


@pytest.fixture(scope="module")
def bpe() -> Tokenizer:
    return train_tokenizer(TEXTS, vocab_size=280)


@pytest.fixture(scope="module")
def characters() -> Tokenizer:
    return train_tokenizer(TEXTS, vocab_size=300, kind="characters")


@given(text=st.text())
def test_byte_level_bpe_keeps_any_text(bpe: Tokenizer, text: str) -> None:
    assert bpe.decode(bpe.encode(text)) == text


def test_frequent_words_become_single_tokens(bpe: Tokenizer) -> None:
    assert [bpe.token_text(token_id) for token_id in bpe.encode("the cat")] == ["the", " cat"]


def test_digits_are_tokens_of_their_own(bpe: Tokenizer) -> None:
    assert [bpe.token_text(token_id) for token_id in bpe.encode("2024")] == ["2", "0", "2", "4"]


def test_the_vocabulary_is_as_large_as_asked_for_at_most(bpe: Tokenizer, characters: Tokenizer) -> None:
    assert bpe.vocab_size == 280
    assert characters.vocab_size == len(set("".join(TEXTS))) + 5


def test_a_character_tokenizer_has_a_token_for_each_character(characters: Tokenizer) -> None:
    text = "naïve\n42"
    assert [characters.token_text(token_id) for token_id in characters.encode(text)] == list(text)
    assert characters.decode(characters.encode(text)) == text


def test_characters_beyond_the_vocabulary_are_unknown() -> None:
    tokenizer = train_tokenizer(["aaabbc"], vocab_size=7, kind="characters")
    assert [tokenizer.token_text(token_id) for token_id in tokenizer.encode("abc")] == ["a", "b", "<|unknown|>"]
    assert measure_tokenizer(tokenizer, "abcc").num_unknown == 2


def test_training_twice_gives_the_same_tokenizer(tmp_path: Path, bpe: Tokenizer) -> None:
    for name, tokenizer in (("a", bpe), ("b", train_tokenizer(iter(TEXTS), vocab_size=280))):
        (tmp_path / name).mkdir()
        tokenizer.save(tmp_path / name)
    assert (tmp_path / "a" / "tokenizer.json").read_bytes() == (tmp_path / "b" / "tokenizer.json").read_bytes()


@pytest.mark.parametrize("kind", ["bpe", "characters"])
def test_transformers_and_nextword_read_what_was_saved(tmp_path: Path, kind: TokenizerKind) -> None:
    tokenizer = train_tokenizer(TEXTS, vocab_size=300, kind=kind)
    tokenizer.save(tmp_path)
    ours, theirs = load_tokenizer_folder(tmp_path), transformers.AutoTokenizer.from_pretrained(tmp_path)
    text = "the naïve cat,\n\n 42 hats"
    assert tokenizer.encode(text) == ours.encode(text) == theirs(text)["input_ids"]
    assert ours.decode(ours.encode(text)) == theirs.decode(theirs(text)["input_ids"]) == text
    assert ours.eos_token_ids == tokenizer.eos_token_ids == (theirs.eos_token_id,)
    assert ours.encode_chat(MESSAGES) == theirs.apply_chat_template(MESSAGES, add_generation_prompt=True)["input_ids"]


def test_a_chat_is_marked_with_control_tokens_and_ends_each_message(bpe: Tokenizer) -> None:
    shown = [bpe.token_text(token_id) for token_id in bpe.encode_chat(MESSAGES, add_generation_prompt=False)]
    assert [token for token in shown if token in (END_OF_TEXT, *CHAT_MARKS)] == [
        "<|user|>",
        END_OF_TEXT,
        "<|assistant|>",
        END_OF_TEXT,
    ]


def test_what_cannot_be_trained_is_refused() -> None:
    with pytest.raises(ConfigError, match="259 tokens is too small: bpe needs at least 260"):
        train_tokenizer(TEXTS, vocab_size=259)
    with pytest.raises(ConfigError, match="is too large: at most 2147483647"):
        train_tokenizer(TEXTS, vocab_size=2**31)
    for kind in ("bpe", "characters"):
        with pytest.raises(DataError, match="no text to train"):
            train_tokenizer([""], vocab_size=300, kind=kind)


def test_the_report_counts_bytes_and_tokens(characters: Tokenizer) -> None:
    report = measure_tokenizer(characters, "naïve")
    assert (report.num_bytes, report.num_tokens, report.num_unknown) == (6, 5, 0)
    assert report.bytes_per_token == pytest.approx(1.2)

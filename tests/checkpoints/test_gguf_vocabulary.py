"""Byte-level vocabularies of GGUF files: words cut by name, texts that come back, special tokens found whole."""

from __future__ import annotations

import struct
import tracemalloc

import pytest
import tokenizers
from tokenizers import pre_tokenizers

from nextword.checkpoints.gguf.vocabulary import GGUFVocabulary, build_byte_level
from nextword.errors import TokenizerError
from nextword.native import native
from nextword.text.piece_tokenizer import TokenKind
from nextword.text.pre_tokenizers import build_pre_tokenizer, find_rules

SPACE = "\N{LATIN CAPITAL LETTER G WITH DOT ABOVE}"
"""Character that stands for a space in the byte alphabet."""
TEXT = "It's 1234 cats,  na\N{LATIN SMALL LETTER I WITH DIAERESIS}ve \N{CAT FACE}\n\n end "


def backend_of(pre_tokenizer: str = "gpt-2") -> tokenizers.Tokenizer:
    """All bytes, two merges, a control token and a user-defined one."""
    tokens = [*sorted(pre_tokenizers.ByteLevel.alphabet()), "he", f"{SPACE}he", "<|end|>", "<tag>"]
    kinds = [TokenKind.NORMAL] * (len(tokens) - 2) + [TokenKind.CONTROL, TokenKind.USER_DEFINED]
    vocabulary = GGUFVocabulary(tokens=tokens, kinds=kinds)
    return build_byte_level(vocabulary, ["h e", f"{SPACE} he"], pre_tokenizer=pre_tokenizer)


def words(pre_tokenizer: str, text: str) -> list[str]:
    """The words of a text, with spaces as spaces."""
    rules = build_pre_tokenizer(find_rules(pre_tokenizer))
    return [word.replace(SPACE, " ") for word, _ in rules.pre_tokenize_str(text)]


@pytest.mark.parametrize(
    ("pre_tokenizer", "expected"),
    [
        ("default", ["It", "'", "s", " ", "123", "4", " cats", ",", " A", "'", "S"]),
        ("gpt-2", ["It", "'s", " 1234", " cats", ",", " A", "'", "S"]),
        ("smollm", ["It", "'s", " ", "1", "2", "3", "4", " cats", ",", " A", "'", "S"]),
        ("llama-bpe", ["It", "'s", " ", "123", "4", " cats", ",", " A", "'S"]),
        ("qwen2", ["It", "'s", " ", "1", "2", "3", "4", " cats", ",", " A", "'S"]),
    ],
)
def test_a_name_says_how_words_are_cut(pre_tokenizer: str, expected: list[str]) -> None:
    assert words(pre_tokenizer, "It's 1234 cats, A'S") == expected


@pytest.mark.parametrize("pre_tokenizer", ["default", "gpt-2", "smollm", "llama-bpe", "qwen2"])
def test_texts_come_back(pre_tokenizer: str) -> None:
    backend = backend_of(pre_tokenizer)
    assert backend.decode(backend.encode(TEXT).ids) == TEXT


def test_merges_are_applied_in_order() -> None:
    assert backend_of().encode("he he").tokens == ["he", f"{SPACE}he"]


def test_control_tokens_are_special_and_user_defined_ones_are_not() -> None:
    backend = backend_of()
    encoding = backend.encode("he<|end|><tag>he")
    assert encoding.tokens == ["he", "<|end|>", "<tag>", "he"]
    assert backend.decode(encoding.ids, skip_special_tokens=True) == "he<tag>he"
    assert backend.get_vocab_size() == 260


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(TokenizerError, match="'nobody-knows'"):
        backend_of("nobody-knows")


@pytest.mark.parametrize("tokens", [["a", "b"], ["a", "ab"], ["b", "ab"]])
def test_merges_of_other_tokens_are_refused(tokens: list[str]) -> None:
    vocabulary = GGUFVocabulary(tokens=tokens, kinds=[TokenKind.NORMAL] * 2)
    with pytest.raises(TokenizerError, match="merges"):
        build_byte_level(vocabulary, ["a b"], pre_tokenizer="gpt-2")


@pytest.mark.skipif(native is None, reason="the C++ core splits merges")
def test_the_pairs_of_merges_take_little_more_than_their_places_in_two_lists() -> None:
    assert native is not None
    letters = [chr(0x4E00 + number) for number in range(200)]
    merges = [f"{left} {right}" for left in letters for right in letters]
    data = b"".join(struct.pack("<Q", len(merge.encode())) + merge.encode() for merge in merges)
    native.split_strings(memoryview(data), 0, len(merges), letters)  # which makes the letters' UTF-8, that stays
    tracemalloc.start()
    try:
        lefts, rights, are_short = native.split_strings(memoryview(data), 0, len(merges), letters)
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert list(zip(lefts, rights, strict=True)) == [tuple(merge.split(" ")) for merge in merges]
    assert not are_short
    assert size < 20 * len(merges)  # two addresses; a tuple alone has 56 bytes

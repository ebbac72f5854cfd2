"""`encode_pieces`: the tokens of a long text are those of the whole, wherever its pieces end."""

from __future__ import annotations

import random

import pytest
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from nextword.text.encode_pieces import encode_pieces
from nextword.text.tokenizer import Tokenizer

WORDS = [
    "the",
    "mill",
    "river",
    "ran,",
    "(old)",
    "stones;",
    "",
    "on\nto",
    "sea\n\n",
    "'twas",
    "1871",
    "héron",
    "水車",
    "don't",
]


def text_of(num_characters: int, seed: int = 1) -> str:
    draw = random.Random(seed)
    text = ""
    while len(text) < num_characters:
        text += draw.choice(WORDS) + draw.choice([" ", " ", " ", "  ", "\n", "\n\n"])
    return text


def byte_level() -> tokenizers.Tokenizer:
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    return backend


def metaspace() -> tokenizers.Tokenizer:
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    backend.decoder = decoders.Metaspace(prepend_scheme="first")
    return backend


def sentencepiece() -> tokenizers.Tokenizer:
    backend = tokenizers.Tokenizer(models.BPE())
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    return backend


@pytest.fixture(params=[byte_level, metaspace, sentencepiece])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    backend = request.param()
    trainer = trainers.BpeTrainer(
        vocab_size=400, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    backend.train_from_iterator(text_of(20_000, seed=2).splitlines(keepends=True), trainer)
    return Tokenizer(backend, bos_token_id=None, eos_token_ids=(), chat_template=None, special_variables={})


def test_tokens_are_those_of_the_whole_text(tokenizer: Tokenizer) -> None:
    text = text_of(300_000)
    pieces = [text[start : start + 70_001] for start in range(0, len(text), 70_001)]
    found = list(encode_pieces(tokenizer, pieces))
    assert len(found) > 4
    assert [token_id for part in found for token_id in part] == tokenizer.encode(text)


def test_bytes_of_tokens_are_those_of_the_text(tokenizer: Tokenizer) -> None:
    text = text_of(2_000)
    token_ids = tokenizer.encode(text)
    found = [tokenizer.token_bytes(token_id, begins_text=at == 0) for at, token_id in enumerate(token_ids)]
    assert b"".join(found) == text.encode()


def test_an_empty_text_has_no_tokens(tokenizer: Tokenizer) -> None:
    assert list(encode_pieces(tokenizer, [])) == [[]]

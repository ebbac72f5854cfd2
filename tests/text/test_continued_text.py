"""A completion is decoded as the rest of a text: with the prompt before it, it is the text of all tokens."""

from __future__ import annotations

from typing import Any

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models, pre_tokenizers

from nextword.text.tokenizer import Tokenizer
from tests.text.vocabularies import SPACE, as_tokenizer, byte_level_backend, piece_backend

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
UNIGRAM_PIECES = ["<unk>", "<s>", SPACE, f"{SPACE}the", "the", f"{SPACE}river", "s", "é", ".", SPACE * 2, f"a{SPACE}b"]


def metaspace_backend(model: Any, prepend_scheme: str) -> tokenizers.Tokenizer:
    backend = tokenizers.Tokenizer(model)
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=prepend_scheme)
    backend.decoder = decoders.Metaspace(prepend_scheme=prepend_scheme)
    backend.add_special_tokens(["<unk>", "<s>"])
    return backend


def unigram() -> models.Unigram:
    return models.Unigram([(piece, -float(rank)) for rank, piece in enumerate(UNIGRAM_PIECES)], 0, False)


def word_level_backend() -> tokenizers.Tokenizer:
    backend = tokenizers.Tokenizer(models.WordLevel({"<unk>": 0, "the": 1, "river": 2, "é": 3}, unk_token="<unk>"))
    backend.add_special_tokens(["<unk>"])
    return backend


def word_piece_backend(*, cleanup: bool) -> tokenizers.Tokenizer:
    pieces = ["[UNK]", "[CLS]", "the", "##ing", "river", "##s", ".", ",", "'", "do", "not", "n't", "##.", "##'", "!"]
    vocabulary = {piece: rank for rank, piece in enumerate(pieces)}
    backend = tokenizers.Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    backend.decoder = decoders.WordPiece(cleanup=cleanup)
    backend.add_special_tokens(["[UNK]", "[CLS]"])
    return backend


BACKENDS = {
    "byte-level": byte_level_backend(),
    "normalizer style": piece_backend(),
    "no space taken": piece_backend(strips_space=False),
    "unigram, metaspace always": metaspace_backend(unigram(), "always"),
    "unigram, metaspace first": metaspace_backend(unigram(), "first"),
    "unigram, metaspace never": metaspace_backend(unigram(), "never"),
    "words": word_level_backend(),
    "word pieces": word_piece_backend(cleanup=False),
    "word pieces, cleaned up": word_piece_backend(cleanup=True),
}
TOKENIZERS = {name: as_tokenizer(backend) for name, backend in BACKENDS.items()}


def token_ids_of(name: str) -> st.SearchStrategy[list[int]]:
    size = TOKENIZERS[name].vocab_size
    return st.lists(st.integers(0, size + 2) | st.integers(max(0, size - 12), size), max_size=12)


def pieces_of(tokenizer: Tokenizer, token_ids: list[int], *, after: list[int]) -> str:
    stream = tokenizer.stream_decoder(after=after)
    return "".join([*map(stream.push, token_ids), stream.flush()])


def text_to_continue(tokenizer: Tokenizer, token_ids: list[int]) -> str:
    return "".join(map(tokenizer.stream_decoder().push, token_ids))


@settings(max_examples=500, deadline=None)
@given(st.data(), st.sampled_from(sorted(TOKENIZERS)))
def test_prompt_and_completion_are_the_text_of_all_tokens(data: st.DataObject, name: str) -> None:
    tokenizer, backend = TOKENIZERS[name], BACKENDS[name]
    # The library spells some tokens otherwise at the very beginning: so a plain word begins the text.
    first = [token_id for token_id in [backend.token_to_id("the")] if token_id is not None]
    prompt, completion = [*first, *data.draw(token_ids_of(name))], data.draw(token_ids_of(name))
    text = text_to_continue(tokenizer, prompt) + pieces_of(tokenizer, completion, after=prompt)
    assert text == tokenizer.decode(prompt + completion)
    peer = backend.decode(prompt + completion, skip_special_tokens=True)
    assert text == peer or REPLACEMENT in peer  # which gives up a whole run of bytes for one that is wrong


@pytest.mark.parametrize("name", ["normalizer style", "unigram, metaspace always", "unigram, metaspace first"])
def test_a_word_after_a_prompt_keeps_its_space(name: str) -> None:
    tokenizer = TOKENIZERS[name]
    the = BACKENDS[name].token_to_id(f"{SPACE}the")
    assert the is not None
    assert pieces_of(tokenizer, [the, the], after=tokenizer.encode("the")) == " the the"
    assert pieces_of(tokenizer, [the, the], after=[]) == "the the"


def test_bytes_of_a_character_may_lie_on_both_sides() -> None:
    tokenizer = TOKENIZERS["normalizer style"]
    first, *others = (3 + byte for byte in "漢".encode())
    assert text_to_continue(tokenizer, [first]) == ""
    assert pieces_of(tokenizer, others, after=[first]) == "漢"

"""llama.cpp's own tokenizer tests: the texts and tokens that its repository ships for a dozen vocabularies."""

from __future__ import annotations

import functools
import unicodedata

import pytest

import nextword as nw
from nextword.text.tokenizer import Tokenizer
from tests.peers.llama_cpp_sources import vocabularies

pytestmark = [pytest.mark.peer, pytest.mark.slow]

TESTED = (
    *("command-r", "deepseek-coder", "deepseek-llm", "falcon", "gpt-2", "llama-bpe", "llama-spm", "mpt", "phi-3"),
    *("qwen2", "qwen35", "refact", "starcoder"),
)
UNTESTED = ("aquila", "baichuan", "gpt-neox")
"""Vocabularies that come without texts: they load, and decode what they encode."""
OTHER_KINDS = {"bert-bge": "bert", "nomic-bert-moe": "t5", "gemma-4": "gemma4"}
SEPARATOR = "\n__ggml_vocab_test__\n"


@functools.lru_cache(maxsize=2)
def load(name: str) -> Tokenizer:
    return nw.load_tokenizer(vocabularies() / f"ggml-vocab-{name}.gguf")


def cases(name: str) -> list[tuple[str, list[int]]]:
    """The texts of a vocabulary with their tokens, without the tokens around a text."""
    path = vocabularies() / f"ggml-vocab-{name}.gguf"
    *texts, _ = path.with_name(f"{path.name}.inp").read_bytes().decode().split(SEPARATOR)
    lines = path.with_name(f"{path.name}.out").read_text().splitlines()
    return list(zip(texts, [[int(word) for word in line.split()] for line in lines], strict=True))


@functools.lru_cache(maxsize=2)
def normalizes(tokenizer: Tokenizer) -> bool:
    """True if the published tokenizer brings texts into NFC first, which llama.cpp does not."""
    return bool(tokenizer.definition()["normalizer"] == {"type": "NFC"})


def in_its_form(tokenizer: Tokenizer, text: str) -> str:
    """The text as the tokenizer reads it."""
    return unicodedata.normalize("NFC", text) if normalizes(tokenizer) else text


@pytest.mark.parametrize("name", TESTED)
def test_texts_have_the_tokens_that_llama_cpp_expects(name: str) -> None:
    tokenizer = load(name)
    for text, token_ids in cases(name):
        if text == in_its_form(tokenizer, text):
            assert tokenizer.encode(text, add_special_tokens=False) == token_ids, repr(text)


@pytest.mark.filterwarnings("ignore:.*tokenizer.ggml.pre is missing:UserWarning")
@pytest.mark.parametrize("name", [*TESTED, *UNTESTED])
def test_texts_are_given_back(name: str) -> None:
    tokenizer = load(name)
    for text, _ in cases("llama-bpe"):
        decoded = tokenizer.decode(tokenizer.encode(text, add_special_tokens=False), skip_special_tokens=False)
        assert decoded == in_its_form(tokenizer, text), repr(text)


@pytest.mark.parametrize(("name", "kind"), OTHER_KINDS.items())
def test_a_vocabulary_of_another_kind_is_refused_by_name(name: str, kind: str) -> None:
    with pytest.raises(nw.CheckpointError, match=rf"tokenizer\.ggml\.model is '{kind}'"):
        load(name)

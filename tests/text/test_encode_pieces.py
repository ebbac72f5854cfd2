"""Long texts are encoded in parts: the tokens and their places are those of the whole, wherever its parts end."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable
from typing import Any

import pytest
import tokenizers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from nextword.errors import TokenizerError
from nextword.text import borders, text_encoder
from nextword.text.encode_pieces import encode_pieces
from nextword.text.encoding_steps import EncodingSteps, Place
from nextword.text.pre_tokenizers import RULES_BY_NAME, build_pre_tokenizer
from nextword.text.text_encoder import TextEncoder
from tests.text.vocabularies import SPACE, as_tokenizer

PLAIN = ("the", "mill", "river", "ran,", "(old)", "stones;", "on\nto", "sea\n\n", "'twas", "1871", "héron", "水車")
WORDS = (
    *PLAIN,
    *(
        "don't",
        "I'M",
        "ABC",
        "aBC",
        "Abc",
        "12",
        "123",
        "4567",
        "½",
        "²",
        "!",
        "?!",
        "...",
        "_",
        "__init__",
        "//",
        "。",
    ),
    *(
        "、",
        "カタカナ",
        "ー",
        "שלום",
        "مرحبا",
        "한국어",
        "👩‍👩‍👧",
        "é",
        "e\u0301",
        "\u3000",
        "\u00a0",
        "\u2028",
        "\t",
        "\r\n",
    ),
    *("<|end|>", "<two words>"),
)
SPACES = (" ", " ", " ", "  ", "\n", "\n\n", "")

word = st.sampled_from(WORDS)
repeated = st.builds(
    lambda words, count: "".join(words) * count,
    st.lists(word, min_size=1, max_size=3),
    st.sampled_from([20, 60, 150, 300]),
)
texts = st.lists(st.one_of(word, word, word, st.sampled_from(SPACES), repeated), min_size=1, max_size=60).map("".join)


def text_of(num_characters: int, seed: int = 1) -> str:
    draw = random.Random(seed)
    text = ""
    while len(text) < num_characters:
        text += draw.choice(PLAIN) + draw.choice(SPACES[:-1])
    return text


@functools.cache
def corpus() -> list[str]:
    draw = random.Random(3)
    mixed = "".join(draw.choice(WORDS) + draw.choice(SPACES) for _ in range(4_000))
    return [text_of(20_000, seed=2), *(mixed[start : start + 300] for start in range(0, len(mixed), 300))]


def trained(
    model: Any,
    trainer: Any,
    *,
    pre_tokenizer: Any = None,
    normalizer: Any = None,
    decoder: Any = None,
    normalized: bool = True,
) -> tokenizers.Tokenizer:
    backend = tokenizers.Tokenizer(model)
    if normalizer is not None:
        backend.normalizer = normalizer
    if pre_tokenizer is not None:
        backend.pre_tokenizer = pre_tokenizer
    backend.train_from_iterator(corpus(), trainer)
    backend.decoder = decoders.ByteLevel() if decoder is None else decoder
    backend.add_special_tokens(["<|end|>"])
    backend.add_tokens([tokenizers.AddedToken("<two words>", normalized=normalized)])
    return backend


def bpe(**steps: Any) -> tokenizers.Tokenizer:
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=600, initial_alphabet=alphabet, show_progress=False)
    return trained(models.BPE(), trainer, **steps)


def byte_level(name: str) -> tokenizers.Tokenizer:
    return bpe(pre_tokenizer=build_pre_tokenizer(RULES_BY_NAME[name]))


def metaspace(prepend_scheme: Any, *, split: bool = True) -> tokenizers.Tokenizer:
    steps = pre_tokenizers.Metaspace(prepend_scheme=prepend_scheme, split=split)
    return bpe(pre_tokenizer=steps, decoder=decoders.Metaspace(prepend_scheme=prepend_scheme, split=split))


def sentencepiece() -> tokenizers.Tokenizer:
    spaces = normalizers.Sequence([normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)])
    decoder = decoders.Sequence([decoders.Replace(SPACE, " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    return bpe(normalizer=spaces, decoder=decoder, normalized=False)


def unigram(**steps: Any) -> tokenizers.Tokenizer:
    trainer = trainers.UnigramTrainer(vocab_size=400, unk_token="<unk>", special_tokens=["<unk>"], show_progress=False)
    return trained(models.Unigram(), trainer, **steps)


def word_pieces() -> tokenizers.Tokenizer:
    trainer = trainers.WordPieceTrainer(vocab_size=500, special_tokens=["[UNK]"], show_progress=False)
    normalizer, pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    model = models.WordPiece(unk_token="[UNK]")
    return trained(model, trainer, normalizer=normalizer, pre_tokenizer=pre_tokenizer)


BYTE_LEVEL = {rules: name for name, rules in reversed(RULES_BY_NAME.items())}.values()
"""The first name of each of the rules that GGUF knows."""
KINDS: dict[str, Callable[[], tokenizers.Tokenizer]] = {
    **{name: functools.partial(byte_level, name) for name in BYTE_LEVEL},
    "byte-level with a space": lambda: bpe(pre_tokenizer=pre_tokenizers.ByteLevel(add_prefix_space=True)),
    "metaspace first": lambda: metaspace("first"),
    "metaspace always": lambda: metaspace("always"),
    "metaspace whole": lambda: metaspace("always", split=False),
    "sentencepiece": sentencepiece,
    "gemma": lambda: bpe(normalizer=normalizers.Replace(" ", SPACE)),
    "unigram": lambda: unigram(pre_tokenizer=pre_tokenizers.Metaspace(), normalizer=normalizers.NFKC()),
    "unigram whole": lambda: unigram(pre_tokenizer=pre_tokenizers.Metaspace(split=False)),
    "word pieces": word_pieces,
}


@functools.cache
def backend_of(kind: str) -> tokenizers.Tokenizer:
    return KINDS[kind]()


@pytest.fixture
def short_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of 512 characters, so that short texts have many."""
    monkeypatch.setattr(borders, "PART_LENGTH", 512)
    monkeypatch.setattr(text_encoder, "PART_LENGTH", 512)


@pytest.mark.usefixtures("short_parts")
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=texts, parse_special=st.booleans())
def test_tokens_and_places_are_those_of_the_whole_text(kind: str, text: str, parse_special: bool) -> None:
    backend = backend_of(kind)
    backend.encode_special_tokens = not parse_special
    whole = backend.encode(text, add_special_tokens=False)
    encoder = TextEncoder(backend)
    found = encoder.tokens(text, parse_special=parse_special)
    formed = any(encoder.is_special(*token, text) for token in zip(whole.ids, whole.offsets, strict=True))
    if formed and not parse_special:  # the model makes control tokens of text, which stays text here
        assert not any(encoder.is_special(*token, text) for token in found)
        return
    assert [token_id for token_id, _ in found] == whole.ids
    assert [place for _, place in found] == whole.offsets


@pytest.mark.parametrize("kind", ["qwen2", "metaspace first", "sentencepiece"])
def test_pieces_of_any_length_have_the_tokens_of_the_whole(kind: str) -> None:
    tokenizer = as_tokenizer(backend_of(kind))
    text = text_of(300_000)
    pieces = [text[start : start + 70_001] for start in range(0, len(text), 70_001)]
    found = list(encode_pieces(tokenizer, pieces))
    assert len(found) > 4
    backend_of(kind).encode_special_tokens = True
    whole = backend_of(kind).encode(text, add_special_tokens=False).ids
    assert [token_id for part in found for token_id in part] == whole == tokenizer.encode(text)
    assert tokenizer.encode_batch([text, "the"]) == [whole, tokenizer.encode("the")]


def test_an_empty_text_has_no_tokens() -> None:
    assert list(encode_pieces(as_tokenizer(backend_of("qwen2")), [])) == [[]]


@pytest.mark.parametrize("kind", ["qwen2", "metaspace first", "sentencepiece"])
def test_bytes_of_tokens_are_those_of_the_text(kind: str) -> None:
    tokenizer = as_tokenizer(backend_of(kind))
    text = text_of(2_000)
    token_ids = tokenizer.encode(text)
    found = [tokenizer.token_bytes(token_id, begins_text=at == 0) for at, token_id in enumerate(token_ids)]
    assert b"".join(found) == text.encode()


@pytest.mark.parametrize("kind", ["qwen2", "llama3", "gpt-4o", "tekken", "deepseek-v3"])
def test_spaces_without_end_are_refused_in_one_line(kind: str) -> None:
    with pytest.raises(TokenizerError, match=r"more than 4,194,304 characters, from number 0 on, without a border"):
        as_tokenizer(backend_of(kind)).encode("the " + " " * 5_000_000 + "x")


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (r"(?=(\d{3})+(?!\d))", "1" * 200_000),
        (r"\s+$", " " * 200_000 + "x"),
        (r"\s+$", ("a" + " " * 40_000) * 3 + "x"),
    ],
)
def test_no_known_pattern_takes_quadratic_time(pattern: str, text: str) -> None:
    backend = tokenizers.Tokenizer(models.BPE({"1": 0, "a": 1, " ": 2, "x": 3}, []))
    backend.pre_tokenizer = pre_tokenizers.Split(tokenizers.Regex(pattern), behavior="isolated")
    assert len(TextEncoder(backend).token_ids(text)) == len(text)  # minutes with the pattern as it is published


@pytest.mark.parametrize("pattern", [r"(?=(\d{3})+(?!\d))", r"\s+$"])
@settings(max_examples=400, deadline=None)
@given(text=st.text("0123456789² ٣x\n\t\r", max_size=20) | st.text("1", max_size=40) | st.text(" \nx", max_size=12))
def test_a_faster_pattern_cuts_as_the_published_one(pattern: str, text: str) -> None:
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Split(tokenizers.Regex(pattern), behavior="isolated")
    published = backend.pre_tokenizer.pre_tokenize_str(text)
    with EncodingSteps(backend).applied(Place.BEGINNING):
        assert backend.pre_tokenizer.pre_tokenize_str(text) == published


@pytest.mark.parametrize("kind", ["metaspace first", "metaspace always", "sentencepiece", "byte-level with a space"])
def test_a_continuation_gets_no_space(kind: str) -> None:
    tokenizer = as_tokenizer(backend_of(kind))
    if kind != "sentencepiece":  # which has tokens across spaces
        whole = tokenizer.encode("the river ran")
        assert tokenizer.encode("the river") + tokenizer.encode_continuation(" ran") == whole
    continued = tokenizer.decode([*tokenizer.encode("the riv"), *tokenizer.encode_continuation("er mill")])
    assert continued.strip() == "the river mill"

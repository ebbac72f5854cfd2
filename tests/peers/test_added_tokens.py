"""Added tokens with all combinations of their flags, in all kinds of vocabularies: tokenizers is the judge."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers

from nextword.errors import TokenizerError
from nextword.text.tokenizer import Tokenizer
from nextword.text.tokenizer_folder import load_tokenizer_folder
from tests.text.test_continued_text import metaspace_backend, unigram, word_level_backend, word_piece_backend
from tests.text.vocabularies import as_tokenizer, byte_level_backend, piece_backend

pytestmark = pytest.mark.peer

MASK = "<mask>"
TEXTS = [
    *("the <mask> é", "the<mask>é", "<mask>", "  <mask>  ", "<mask><mask> <mask>", "a<mask>b <mask>.", "ends <mask>"),
    *("_<mask>_ \n<mask>\t", "the <MASK> x", "x ＜mask＞ y", "<mas k> <mask", "the  <mask>  the", "é<mask>漢", ""),
    *("<s>the <mask></s>", "the <two words><mask>漢字", "<|begin|><mask><|end|> the"),
]
FLAGS = ("lstrip", "rstrip", "single_word", "normalized", "special")


def with_steps(backend: tokenizers.Tokenizer, **steps: Any) -> tokenizers.Tokenizer:
    for name, step in steps.items():
        setattr(backend, name, step)
    return backend


def lower_case() -> tokenizers.Tokenizer:
    steps = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    return with_steps(byte_level_backend(), normalizer=steps)


def unigram_with_bytes() -> tokenizers.Tokenizer:
    pieces = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "▁the", "the", "s", "é"]
    backend = tokenizers.Tokenizer(models.Unigram([(piece, -1.0 - at) for at, piece in enumerate(pieces)], 0, True))
    return with_steps(backend, normalizer=normalizers.Replace(" ", "▁"), decoder=decoders.Sequence(BYTES[:3]))


def bytes_by_normalizer() -> tokenizers.Tokenizer:
    words = pre_tokenizers.Split(tokenizers.Regex(r"'s| ?\w+|\s+"), "isolated")
    return with_steps(byte_level_backend(), normalizer=normalizers.ByteLevel(), pre_tokenizer=words)


BYTES = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
BACKENDS: dict[str, Callable[[], tokenizers.Tokenizer]] = {
    "byte-level": byte_level_backend,
    "byte-level, a space before": lambda: with_steps(
        byte_level_backend(), pre_tokenizer=pre_tokenizers.ByteLevel(add_prefix_space=True)
    ),
    "byte-level, lower case": lower_case,
    "byte-level, by a normalizer": bytes_by_normalizer,
    "unigram with bytes": unigram_with_bytes,
    "pieces": piece_backend,
    "pieces, no space taken": lambda: piece_backend(strips_space=False),
    "unigram, metaspace always": lambda: metaspace_backend(unigram(), "always"),
    "unigram, metaspace first": lambda: metaspace_backend(unigram(), "first"),
    "unigram, metaspace never": lambda: metaspace_backend(unigram(), "never"),
    "word pieces": lambda: with_steps(word_piece_backend(cleanup=False), pre_tokenizer=pre_tokenizers.Whitespace()),
    "words": lambda: with_steps(
        word_level_backend(), pre_tokenizer=pre_tokenizers.WhitespaceSplit(), decoder=decoders.Fuse()
    ),
}


def pairs(kind: str) -> Iterator[tuple[dict[str, bool], tokenizers.Tokenizer, Tokenizer]]:
    """Yield the library's tokenizer and ours for all flags of one added token."""
    for values in itertools.product([False, True], repeat=len(FLAGS)):
        flags = dict(zip(FLAGS, values, strict=True))
        theirs, own = BACKENDS[kind](), BACKENDS[kind]()
        for backend in (theirs, own):
            token = AddedToken(MASK, **flags)
            (backend.add_special_tokens if flags["special"] else backend.add_tokens)([token])
        yield flags, theirs, as_tokenizer(own)


@pytest.mark.parametrize("kind", BACKENDS)
def test_added_tokens_are_found_and_decoded_as_in_tokenizers(kind: str) -> None:
    num_found = 0
    for flags, theirs, ours in pairs(kind):
        # The library spells a normalized token with the space of a Prepend step, and then takes it for no special one.
        is_respelled = kind.startswith("pieces") and flags["normalized"] and flags["special"]
        for text in TEXTS:
            token_ids = theirs.encode(text, add_special_tokens=False).ids
            assert ours.encode(text, add_special_tokens=False, parse_special=True) == token_ids, (flags, text)
            num_found += theirs.token_to_id(MASK) in token_ids
            if is_respelled:
                continue
            for skips in (True, False):
                expected = theirs.decode(token_ids, skip_special_tokens=skips)
                assert ours.decode(token_ids, skip_special_tokens=skips) == expected, (flags, text)
            stream = ours.stream_decoder()
            pieces = "".join(map(stream.push, token_ids)) + stream.flush()
            assert pieces == theirs.decode(token_ids), (flags, text)
    assert num_found > 200


@pytest.mark.parametrize("kind", [kind for kind in BACKENDS if not kind.startswith("unigram")])
def test_special_tokens_are_text_where_the_library_takes_them_for_text(kind: str) -> None:
    """A unigram model forms even special tokens of text; here they stay text."""
    for flags, theirs, ours in pairs(kind):
        theirs.encode_special_tokens = True
        for text in TEXTS:
            expected = theirs.encode(text, add_special_tokens=False).ids
            assert ours.encode(text, add_special_tokens=False) == expected, (flags, text)
            assert ours.encode_batch([text], add_special_tokens=False) == [expected], (flags, text)


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        (["danc", "nci", "ing"], "I like dancing"),
        (["nci", "danc", "ing", "ike"], "I like dancing"),
        (["<a>", "<a><b>", "<b><c>"], "<a><b><c> <b><c><a>"),
        (["the", " the", "e "], "in the sea the e "),
        (["a", "aa", "aaa"], "aaaaa aa a"),
    ],
)
@pytest.mark.parametrize("kind", BACKENDS)
@pytest.mark.parametrize("is_special", [True, False])
def test_overlapping_tokens_are_cut_as_in_tokenizers(kind: str, is_special: bool, tokens: list[str], text: str) -> None:
    theirs, own = BACKENDS[kind](), BACKENDS[kind]()
    for backend in (theirs, own):
        added = [AddedToken(token, normalized=False, special=is_special) for token in tokens]
        (backend.add_special_tokens if is_special else backend.add_tokens)(added)
    token_ids = theirs.encode(text, add_special_tokens=False).ids
    ours = as_tokenizer(own)
    assert ours.encode(text, add_special_tokens=False, parse_special=True) == token_ids
    assert ours.decode(token_ids, skip_special_tokens=False) == theirs.decode(token_ids, skip_special_tokens=False)


DECODED: list[tuple[Any, str]] = [
    (decoders.ByteLevel(), "My Ġname Ġis ĠJohn"),
    (decoders.WordPiece(), "My na ##me is Jo ##hn"),
    (decoders.WordPiece(), "I 'm Jo ##hn"),
    (decoders.WordPiece(prefix="__", cleanup=False), "My na __me is Jo __hn"),
    (decoders.WordPiece(prefix="__", cleanup=False), "I 'm Jo __hn"),
    (decoders.Fuse(), "My na me"),
    (None, "My na me"),
    (decoders.Metaspace(), "▁My ▁name ▁is ▁John"),
    (decoders.Metaspace(replacement="-", prepend_scheme="never"), "-My -name -is -John"),
    (decoders.Sequence(BYTES), "▁Hey ▁friend ! <0xE5> <0x8F> <0xAB> a"),
    (decoders.Sequence(BYTES), "<0xE5> <0x8F> <0xAB>"),
    (decoders.Sequence(BYTES), "▁▁ <0x61> ▁ <0x0A>"),
]
REFUSED = [decoders.BPEDecoder(), decoders.CTC(), decoders.Strip("_", 1, 0), decoders.ByteFallback()]


def of_words(words: list[str], decoder: Any) -> tokenizers.Tokenizer:
    vocabulary = {word: token_id for token_id, word in enumerate(dict.fromkeys(words))}
    backend = tokenizers.Tokenizer(models.WordLevel(vocabulary, unk_token=words[0]))
    return backend if decoder is None else with_steps(backend, decoder=decoder)


@pytest.mark.parametrize(("decoder", "words"), DECODED)
def test_tokens_are_put_together_as_in_tokenizers(decoder: Any, words: str) -> None:
    backend = of_words(words.split(" "), decoder)
    token_ids = [backend.get_vocab()[word] for word in words.split(" ")]
    assert as_tokenizer(backend).decode(token_ids) == backend.decode(token_ids)


@pytest.mark.parametrize("decoder", REFUSED)
def test_decoders_that_no_language_model_here_has_are_refused_by_name(decoder: Any) -> None:
    with pytest.raises(TokenizerError, match=rf"decoder \({type(decoder).__name__}\) is unknown"):
        as_tokenizer(of_words(["a"], decoder))


def test_spaces_before_punctuation_are_kept_as_in_transformers(tmp_path: Path) -> None:
    """Published files of BPE vocabularies ask for a clean-up that would change what the model wrote."""
    transformers = pytest.importorskip("transformers")
    byte_level_backend().save(str(tmp_path / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": True}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    token_ids = theirs.encode("the . the , do n't !")
    assert load_tokenizer_folder(tmp_path).decode(token_ids) == theirs.decode(token_ids) == "the . the , do n't !"

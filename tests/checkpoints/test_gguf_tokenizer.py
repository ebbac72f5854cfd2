"""Tokenizers in GGUF files: what llama.cpp does where a file says nothing or nonsense; what a file cannot say."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, models, normalizers, pre_tokenizers, processors

from nextword.checkpoints.gguf import vocabulary
from nextword.checkpoints.gguf.metadata import GGUFMetadata
from nextword.checkpoints.gguf.piece_scores import are_same_merges, scores_of_merges
from nextword.checkpoints.gguf.tokenizer import build_gguf_tokenizer
from nextword.checkpoints.gguf.tokenizer_metadata import model_name, tokenizer_metadata
from nextword.checkpoints.gguf.vocabulary import merges_from_scores
from nextword.errors import CheckpointError, TokenizerError
from nextword.text.tokenizer import Tokenizer
from tests.text.vocabularies import SPACE, byte_level_backend, piece_backend

BYTE_LEVEL: dict[str, Any] = {
    "general.architecture": "llama",
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "gpt-2",
    "tokenizer.ggml.tokens": [*sorted(pre_tokenizers.ByteLevel.alphabet()), "he", "<|begin|>", "<|end|>"],
    "tokenizer.ggml.token_type": [*[1] * 257, 3, 3],
    "tokenizer.ggml.merges": ["h e"],
}
PIECES: dict[str, Any] = {
    "general.architecture": "llama",
    "tokenizer.ggml.model": "llama",
    "tokenizer.ggml.tokens": ["<unk>", "<s>", "</s>", SPACE, "a", "b", "ab", f"{SPACE}ab", "<|user|>", "<|end|>"],
    "tokenizer.ggml.scores": [0.0, 0.0, 0.0, -5.0, -5.0, -5.0, -1.0, -2.0, 0.0, 0.0],
    "tokenizer.ggml.token_type": [2, 3, 3, 1, 1, 1, 1, 1, 3, 3],
}
NONE = 2**32 - 1


def read(content: dict[str, Any], **changes: Any) -> Tokenizer:
    """The tokenizer of metadata; names of changes are those under tokenizer.ggml."""
    changed = {f"tokenizer.ggml.{name}": value for name, value in changes.items()}
    merged = {key: value for key, value in {**content, **changed}.items() if value is not None}
    return build_gguf_tokenizer(GGUFMetadata(merged, Path("x.gguf")))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("role", ["bos", "padding", "unknown", "eot", "seperator"])
def test_the_largest_id_means_that_there_is_no_such_token(role: str) -> None:
    tokenizer = read(BYTE_LEVEL, **{f"{role}_token_id": NONE})
    assert tokenizer.bos_token_id is None
    assert tokenizer.encode("he") == [256]


def test_an_id_beyond_the_vocabulary_is_ignored_with_a_warning() -> None:
    with pytest.warns(UserWarning, match=r"padding_token_id is 259, of 259 tokens; no such token is known"):
        tokenizer = read(BYTE_LEVEL, padding_token_id=259)
    assert "pad_token" not in tokenizer.special_variables


def test_pieces_have_the_ids_of_sentencepiece_where_the_file_does_not_say() -> None:
    tokenizer = read(PIECES)
    assert (tokenizer.bos_token_id, tokenizer.eos_token_ids[0]) == (1, 2)
    assert tokenizer.special_variables["unk_token"] == "<unk>"
    with pytest.warns(UserWarning, match="bos_token_id is 4294967295, of 10 tokens; 1 is used"):
        assert read(PIECES, bos_token_id=NONE).encode("ab") == [1, 7]


def test_a_missing_pre_tokenizer_is_said_once_and_cut_as_llama_cpp_does() -> None:
    with pytest.warns(UserWarning, match=r"tokenizer\.ggml\.pre is missing") as caught:
        missing = read(BYTE_LEVEL, pre=None)
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        named = read(BYTE_LEVEL, pre="default")
    merges = ["1 2", "12 3", "' s"]
    for tokenizer in (missing, named):
        assert tokenizer.encode("he") == [256]
    tokens = [*BYTE_LEVEL["tokenizer.ggml.tokens"][:256], "12", "123", "'s"]
    cut = read(BYTE_LEVEL, pre="default", tokens=tokens, token_type=[1] * len(tokens), merges=merges)
    assert [cut.token_text(token) for token in cut.encode("it's 1231")] == ["i", "t", "'", "s", " ", "123", "1"]


def test_an_unknown_pre_tokenizer_is_refused() -> None:
    with pytest.raises(CheckpointError, match=r"x\.gguf: pre-tokenizer 'nosuch' is unknown"):
        read(BYTE_LEVEL, pre="nosuch")


def test_a_flag_without_its_token_is_said() -> None:
    with pytest.warns(UserWarning, match="add_bos_token is true, but there is no such token; none is added"):
        assert read(BYTE_LEVEL, add_bos_token=True).encode("he") == [256]


def test_a_chat_begins_with_bos_once_whether_the_template_writes_it_or_not() -> None:
    user = [{"role": "user", "content": "ab"}]
    for template in ("{{ messages[0].content }}", "{{ bos_token }}{{ messages[0].content }}"):
        tokenizer = read({**PIECES, "tokenizer.chat_template": template})
        assert tokenizer.encode_chat(user) == [1, 7]


def test_special_tokens_of_phi3_absorb_white_space_by_the_name_of_the_model() -> None:
    text = "<|user|>\n ab<|end|> </s> ab"
    named = read({**PIECES, "general.name": "Phi-3-mini-4k-instruct"})
    assert named.encode(text, parse_special=True) == [1, 8, 7, 9, 2, 7]
    assert read(PIECES).encode(text, parse_special=True) != named.encode(text, parse_special=True)


def test_lists_may_be_longer_than_the_tokens_and_scores_may_be_missing() -> None:
    longer = read(PIECES, scores=[*PIECES["tokenizer.ggml.scores"], 9.0], token_type=[2, 3, 3, *[1] * 5, 3, 3, 1])
    assert longer.encode("ab") == read(PIECES).encode("ab")
    assert read(PIECES, scores=None).encode("b", add_special_tokens=False) == [3, 5]


def test_templates_for_other_uses_are_read_by_name() -> None:
    templates = {"tokenizer.chat_template": "plain", "tokenizer.chat_template.tool_use": "tools"}
    tokenizer = read({**PIECES, **templates})
    assert (tokenizer.chat_template, tokenizer.named_templates) == ("plain", {"tool_use": "tools"})


def test_keys_of_the_tokenizer_are_judged() -> None:
    with pytest.warns(UserWarning, match=r"unknown metadata 'tokenizer\.ggml\.new_thing' is ignored"):
        read(BYTE_LEVEL, new_thing=1)
    with pytest.raises(CheckpointError, match="add_sep_token is True; expected False"):
        read(BYTE_LEVEL, add_sep_token=True)


def test_a_name_of_rules_implies_the_normalizer_of_the_published_tokenizers() -> None:
    composed, parts = "caf\N{LATIN SMALL LETTER E WITH ACUTE}", "cafe\N{COMBINING ACUTE ACCENT}"
    qwen, gpt2 = read(BYTE_LEVEL, pre="qwen2"), read(BYTE_LEVEL)
    assert qwen.encode(parts) == qwen.encode(composed)
    assert gpt2.encode(parts) != gpt2.encode(composed)


def as_given(backend: tokenizers.Tokenizer, **more: Any) -> Tokenizer:
    defaults: dict[str, Any] = {
        "bos_token_id": None,
        "eos_token_ids": (),
        "chat_template": None,
        "special_variables": {},
    }
    return Tokenizer(backend, **{**defaults, **more})


def written(tokenizer: Tokenizer, *, architecture: str = "llama", name: str = "x") -> Tokenizer:
    """The tokenizer that comes back."""
    defaults = {"general.architecture": architecture, "general.name": model_name(tokenizer, name)}
    metadata = tokenizer_metadata(tokenizer, defaults, num_rows=300)
    return build_gguf_tokenizer(GGUFMetadata({**defaults, **metadata}, Path("x.gguf")))


TEXTS = ("the the heat of  the \N{CJK UNIFIED IDEOGRAPH-6F22} x", " the", "", "<s> the </s>the", "t\n\nhe")


def test_a_vocabulary_of_pieces_comes_back() -> None:
    backend = piece_backend()
    backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    own = as_given(backend, bos_token_id=1, eos_token_ids=(2,))
    back = written(own)
    for text in TEXTS:
        assert back.encode(text) == own.encode(text)
        assert back.encode(text, parse_special=True) == own.encode(text, parse_special=True)
        assert back.decode(back.encode(text)) == own.decode(own.encode(text))


@pytest.mark.parametrize("scheme", ["first", "always"])
def test_a_space_that_not_every_text_gets_is_said(scheme: Any) -> None:
    backend = piece_backend()
    backend.normalizer = None
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=False)
    own = as_given(backend)
    with pytest.warns(UserWarning, match="GGUF before every text and after each special token"):
        back = written(own)
    assert back.encode("the heat", add_special_tokens=False) == own.encode("the heat")
    assert back.encode(" the heat", add_special_tokens=False) != own.encode(" the heat")


def without(backend: tokenizers.Tokenizer, **changes: Any) -> tokenizers.Tokenizer:
    """The backend with other settings of its model."""
    definition = json.loads(backend.to_str())
    definition["model"] |= changes
    return tokenizers.Tokenizer.from_str(json.dumps(definition))


def prefixed() -> tokenizers.Tokenizer:
    backend = byte_level_backend()
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    return backend


def normalized(normalizer: Any) -> tokenizers.Tokenizer:
    backend = byte_level_backend()
    backend.normalizer = normalizer
    return backend


def surrounded(single: str) -> tokenizers.Tokenizer:
    backend = byte_level_backend()
    tokens = [(token, backend.token_to_id(token)) for token in ("<|begin|>", "<|end|>")]
    backend.post_processor = processors.TemplateProcessing(single=single, special_tokens=tokens)
    return backend


LOST: dict[str, tuple[tokenizers.Tokenizer, str]] = {
    "nfkc": (normalized(normalizers.NFKC()), r"normalizer: \[\{'type': 'NFKC'\}\] would be read as \[\]"),
    "lowercase": (normalized(normalizers.Lowercase()), "normalizer: .*Lowercase"),
    "space before": (prefixed(), "GGUF has no name for the tokenizer's pre-tokenizer"),
    "lstrip": (byte_level_backend(AddedToken("<m>", lstrip=True)), "special tokens: .*'<m>': .*'lstrip'"),
    "rstrip": (byte_level_backend(AddedToken("<m>", rstrip=True)), "special tokens: "),
    "single word": (byte_level_backend(AddedToken("<m>", single_word=True)), "special tokens: .*single_word"),
    "two before": (surrounded("<|begin|> <|end|> $A"), "tokens before a text: "),
    "another after": (surrounded("$A <|begin|>"), "tokens after a text: "),
    "other unknown": (without(piece_backend(), vocab={"<unk>": 0, "t": 1, "h": 2, "th": 3}, merges=["t h"]), "unknown"),
    "split at commas": (piece_backend(), "normalizer and pre-tokenizer"),
}
LOST["split at commas"][0].pre_tokenizer = pre_tokenizers.Split(Regex(","), "isolated")


@pytest.mark.parametrize("name", LOST)
def test_what_a_file_cannot_say_is_refused_by_its_rule(name: str) -> None:
    backend, message = LOST[name]
    begin = backend.token_to_id("<|begin|>")
    with pytest.raises(CheckpointError, match=message):
        written(as_given(backend, bos_token_id=begin, eos_token_ids=()))


def test_nfc_is_said_by_a_name_of_rules_that_has_it() -> None:
    backend = byte_level_backend()
    qwen2 = read(BYTE_LEVEL, pre="qwen2").definition()["pre_tokenizer"]
    backend = tokenizers.Tokenizer.from_str(json.dumps({**json.loads(backend.to_str()), "pre_tokenizer": qwen2}))
    backend.normalizer = normalizers.NFC()
    with pytest.warns(UserWarning, match="llama.cpp does not bring texts into NFC"):
        assert written(as_given(backend)).definition()["normalizer"] == {"type": "NFC"}
    backend.normalizer = None
    assert written(as_given(backend)).definition()["normalizer"] is None


def test_stripping_of_all_special_tokens_is_said_by_the_name_of_phi3() -> None:
    backend = piece_backend(specials=(AddedToken("<|user|>", rstrip=True, normalized=False),))
    backend.add_special_tokens([AddedToken("</s>", rstrip=True, normalized=False)])
    own = as_given(backend)
    assert "rstrip" in str(own.definition()["added_tokens"])
    back = written(own, architecture="phi3")
    text = "<|user|>\n the</s> the"
    assert back.encode(text, parse_special=True) == own.encode(text, parse_special=True)
    assert model_name(as_given(piece_backend()), "my-phi3") == "model"


def test_a_variable_of_the_template_that_no_key_names_is_refused() -> None:
    variables = {"image_token": "<|begin|>"}
    own = as_given(byte_level_backend(), special_variables=variables, chat_template="{{ image_token }}")
    with pytest.raises(CheckpointError, match="image_token of the chat template"):
        written(own)


@pytest.mark.parametrize(
    ("merges", "expected"),
    [
        ([("a", "b"), ("ab", "c")], True),  # a|bc could only be joined if bc were formed, after ab was
        ([("b", "c"), ("a", "b"), ("ab", "c")], False),  # bc is formed first, and then a and bc would be joined
        ([("a", "b"), ("ab", "c"), ("b", "c"), ("a", "bc")], False),  # abc of a and bc has the rank of ab and c
        ([], True),
    ],
)
def test_merges_are_those_of_scores_if_no_other_pair_can_meet(merges: list[tuple[str, str]], expected: bool) -> None:
    tokens = ["a", "b", "c", *dict.fromkeys(left + right for left, right in merges)]
    scores = dict(zip(tokens, scores_of_merges(tokens, merges), strict=True))
    assert are_same_merges(merges, list(merges_from_scores(scores))) == expected


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_the_same_merges_give_the_same_tokens(data: st.DataObject) -> None:
    """Whatever is called the same joins every text in the same way."""
    tokens, merges = ["a", "b", "c"], []
    for _ in range(data.draw(st.integers(1, 7))):
        pair = data.draw(st.sampled_from(tokens)), data.draw(st.sampled_from(tokens))
        if pair not in merges and len("".join(pair)) < 6:
            merges.append(pair)
            tokens += [] if "".join(pair) in tokens else ["".join(pair)]
    by_score = list(merges_from_scores(dict(zip(tokens, scores_of_merges(tokens, merges), strict=True))))
    if are_same_merges(merges, by_score):
        ids = {token: token_id for token_id, token in enumerate(tokens)}
        own, other = (tokenizers.Tokenizer(models.BPE(ids, pairs)) for pairs in (merges, by_score))
        for text in data.draw(st.lists(st.text("abc", max_size=14), min_size=5, max_size=5)):
            assert own.encode(text).ids == other.encode(text).ids


@settings(max_examples=200, deadline=None)
@given(
    tokens=st.lists(st.text("ab\u2581\u00e9\U0001f600", min_size=1, max_size=6), unique=True, max_size=40),
    data=st.data(),
)
def test_the_core_finds_the_merges_that_python_finds(tokens: list[str], data: st.DataObject) -> None:
    scores = {token: data.draw(st.sampled_from([0.0, -0.0, -1.5, -2, float("-inf"), 3])) for token in tokens}
    merges = list(merges_from_scores(scores))
    with pytest.MonkeyPatch.context() as without_core:
        without_core.setattr(vocabulary, "native", None)
        assert list(merges_from_scores(scores)) == merges


def test_a_score_that_is_not_a_number_is_refused() -> None:
    with pytest.raises(TokenizerError, match="not a number"):
        merges_from_scores({"a": 0.0, "b": float("nan")})

"""Folders with a `tokenizer.model` alone, read as transformers' AutoTokenizer reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

sentencepiece = pytest.importorskip("sentencepiece")
transformers = pytest.importorskip("transformers")

from nextword.errors import CheckpointError  # noqa: E402
from nextword.models.families import FAMILIES  # noqa: E402
from nextword.text.special_tokens import ROLES, sentencepiece_class  # noqa: E402
from nextword.text.tokenizer_folder import load_tokenizer_folder  # noqa: E402

pytestmark = pytest.mark.peer

LINES = [
    "the quick brown fox jumps over the lazy dog, and the other dogs sleep",
    "a river ran past the old mill; the café was closed on 24 May 2019",
    "<call> lookup the weather in Zürich </call> it rains   and rains",
    "def f(x): return x**2 + 1  # no comment",
]
TEXTS = [
    "the mill",
    " the  mill ",
    "  \n\n two lines\t\n",
    "",
    " ",
    "▁the▁▁mill",
    "<s>the café</s> a <unk>x",
    "<call>the dog</call>the <call><call> end",
    "ﬁne ½ ｆｕｌｌ e\u0301 漢字 🏳️‍🌈",
    "<0x41> <|new|> the",
    "aaaaaaaaa rains rainsrains",
]
KINDS: dict[str, dict[str, Any]] = {
    "BPE": {"model_type": "bpe", "vocab_size": 340, "byte_fallback": True, "normalization_rule_name": "identity"},
    "BPE, spaces kept": {
        "model_type": "bpe",
        "vocab_size": 340,
        "byte_fallback": True,
        "remove_extra_whitespaces": False,
        "allow_whitespace_only_pieces": True,
        "pad_id": 3,
    },
    "BPE, user-defined": {
        "model_type": "bpe",
        "vocab_size": 350,
        "byte_fallback": True,
        "user_defined_symbols": "<call>,</call>,rains",
        "control_symbols": "<ctl>",
    },
    "BPE without bytes": {"model_type": "bpe", "vocab_size": 90, "user_defined_symbols": "<call>"},
    "BPE without prefix": {"model_type": "bpe", "vocab_size": 340, "byte_fallback": True, "add_dummy_prefix": False},
    "BPE of Gemma": {
        "model_type": "bpe",
        "vocab_size": 350,
        "byte_fallback": True,
        "add_dummy_prefix": False,
        "remove_extra_whitespaces": False,
        "normalization_rule_name": "identity",
        "user_defined_symbols": "<call>,\u2581\u2581,the dog",
        "control_symbols": "<mask>",
        "pad_id": 0,
        "eos_id": 1,
        "bos_id": 2,
        "unk_id": 3,
        "eos_piece": "<eos>",
        "bos_piece": "<bos>",
    },
    "unigram": {"model_type": "unigram", "vocab_size": 80},
    "unigram with bytes": {"model_type": "unigram", "vocab_size": 340, "byte_fallback": True},
    "unigram, user-defined": {
        "model_type": "unigram",
        "vocab_size": 90,
        "user_defined_symbols": "<call>,</call>",
        "bos_id": -1,
        "unk_id": 2,
        "eos_id": 1,
        "pad_id": 0,
    },
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Files of SentencePiece by kind, trained here."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "lines.txt").write_text("\n".join(LINES * 5))
    for kind, options in KINDS.items():
        sentencepiece.SentencePieceTrainer.train(
            input=str(folder / "lines.txt"),
            model_prefix=str(folder / kind),
            minloglevel=2,
            hard_vocab_limit=False,
            **options,
        )
    return {kind: (folder / f"{kind}.model").read_bytes() for kind in KINDS}


def write(folder: Path, model: bytes, model_type: str, settings: dict[str, Any]) -> Path:
    (folder / "tokenizer.model").write_bytes(model)
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def require_same(folder: Path) -> None:
    ours, theirs = load_tokenizer_folder(folder), transformers.AutoTokenizer.from_pretrained(folder)
    for text in TEXTS:
        token_ids = theirs.encode(text, add_special_tokens=False)
        assert ours.encode(text, add_special_tokens=False, parse_special=True) == token_ids, text
        assert ours.decode(token_ids) == theirs.decode(token_ids, skip_special_tokens=True), text
        assert ours.decode(token_ids, skip_special_tokens=False) == theirs.decode(token_ids), text
    assert ours.encode("the mill") == theirs.encode("the mill")
    named, vocabulary = theirs.special_tokens_map, theirs.get_vocab()
    own = {role: text for role, text in ours.special_variables.items() if role in ROLES}
    assert own == {role: text for role, text in named.items() if vocabulary[text] < ours.vocab_size}


SETTINGS: list[dict[str, Any]] = [
    {},
    {"add_bos_token": True, "add_eos_token": True},
    {"legacy": False},
    {"bos_token": "</s>", "pad_token": "<|new|>", "eos_token": None},
    {
        "added_tokens_decoder": {
            "1": {"content": "<s>", "special": True, "normalized": True},
            "30": {"content": "<|new|>", "special": True},
        }
    },
]


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore:the tokenizer's files disagree")
def test_a_model_is_read_by_its_own_settings(
    kind: str, settings: dict[str, Any], models: dict[str, bytes], tmp_path: Path
) -> None:
    require_same(write(tmp_path, models[kind], "mistral", settings))


LLAMA_KINDS = ("BPE", "BPE, spaces kept", "BPE, user-defined", "BPE without prefix")


@pytest.mark.parametrize("settings", [{}, {"add_bos_token": True}, {"legacy": True}, {"add_prefix_space": False}])
@pytest.mark.parametrize(
    ("kind", "class_name"), [*((kind, "LlamaTokenizer") for kind in LLAMA_KINDS), ("BPE of Gemma", "GemmaTokenizer")]
)
def test_a_class_prescribes_how_a_model_is_read(
    kind: str, class_name: str, settings: dict[str, Any], models: dict[str, bytes], tmp_path: Path
) -> None:
    require_same(write(tmp_path, models[kind], "llama", {"tokenizer_class": class_name, **settings}))


def test_pieces_are_those_of_sentencepiece(models: dict[str, bytes], tmp_path: Path) -> None:
    for kind, model in models.items():
        peer = sentencepiece.SentencePieceProcessor(model_proto=model)
        ours = load_tokenizer_folder(write(tmp_path, model, "mistral", {}))
        for text in TEXTS[:6] + TEXTS[-1:]:
            assert ours.encode(text) == peer.encode(text), (kind, text)


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_in_parts_has_the_tokens_of_the_whole(kind: str, models: dict[str, bytes], tmp_path: Path) -> None:
    """Longer texts than one part, and a continuation, which gets no space."""
    ours = load_tokenizer_folder(write(tmp_path, models[kind], "mistral", {}))
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    text = " ".join(LINES * 400)
    assert ours.encode(text) == theirs.encode(text)
    assert ours.encode("the dog") + ours.encode_continuation(" and the fox") == theirs.encode("the dog and the fox")


@pytest.mark.parametrize("kind", KINDS)
def test_control_tokens_written_in_a_text_stay_text(kind: str, models: dict[str, bytes], tmp_path: Path) -> None:
    """Unigram, and BPE with whole pieces, form any token of their vocabulary."""
    ours = load_tokenizer_folder(write(tmp_path, models[kind], "mistral", {}))
    control = {ours.special_token_id(token) for token in ours.special_variables.values()} - {
        ours.special_token_id("<unk>")
    }
    for text in ("<s>", "a <s> b</s>", "<call></s>", "</s>" * 5000):
        assert not control & {*ours.encode(text, add_special_tokens=False), *ours.encode_continuation(text)}
        assert ours.encode_batch([text], add_special_tokens=False) == [ours.encode(text, add_special_tokens=False)]


BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "WORD": ({"trainer_spec.model_type": 3}, "model_type is WORD; UNIGRAM and BPE are read"),
    "suffix": ({"trainer_spec.treat_whitespace_as_suffix": True}, "treat_whitespace_as_suffix is true"),
    "spaces": ({"normalizer_spec.escape_whitespaces": False}, "escape_whitespaces is false"),
    "unknown": ({"trainer_spec.unk_id": 7}, "unk_id is 7"),
    "denormalizer": ({"denormalizer_spec.precompiled_charsmap": b"x"}, "denormalizer_spec"),
    "charsmap": ({"normalizer_spec.precompiled_charsmap": b"\xff\xff\xff\x7fx"}, "precompiled_charsmap"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_cannot_be_read_is_refused_by_name(case: str, models: dict[str, bytes], tmp_path: Path) -> None:
    from sentencepiece import sentencepiece_model_pb2

    proto = sentencepiece_model_pb2.ModelProto.FromString(models["BPE"])
    fields, message = BROKEN[case]
    for name, value in fields.items():
        spec, field = name.split(".")
        setattr(getattr(proto, spec), field, value)
    with pytest.raises(CheckpointError, match=rf"tokenizer\.model: .*{message}"):
        load_tokenizer_folder(write(tmp_path, proto.SerializeToString(), "mistral", {}))


@pytest.mark.parametrize("class_name", ["T5Tokenizer", "CodeLlamaTokenizer"])
def test_other_classes_are_refused(class_name: str, models: dict[str, bytes], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=f"tokenizer.model: is read for LlamaTokenizer.*not for {class_name}"):
        load_tokenizer_folder(write(tmp_path, models["unigram"], "llama", {"tokenizer_class": class_name}))


def test_a_class_of_bpe_refuses_unigram(models: dict[str, bytes], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="model_type is UNIGRAM, but LlamaTokenizer is BPE"):
        load_tokenizer_folder(write(tmp_path, models["unigram"], "llama", {"tokenizer_class": "LlamaTokenizer"}))


def test_damaged_files_are_refused_in_one_line(models: dict[str, bytes], tmp_path: Path) -> None:
    """Cut off anywhere, or with any byte changed: another tokenizer or one line, never another error."""
    import random

    whole, random_numbers = models["BPE without bytes"], random.Random(5)
    damaged = [whole[: random_numbers.randrange(len(whole))] for _ in range(60)]
    for _ in range(200):
        place = random_numbers.randrange(2000)
        damaged.append(whole[:place] + bytes([random_numbers.randrange(256)]) + whole[place + 1 :])
    for content in (*damaged, b"", b"IQ== 0\nIg== 1\n", b"\n\xff\xff\xff\xff\xff\xff\xff\xff\x7f"):
        write(tmp_path, content, "mistral", {})
        problem = None
        try:
            load_tokenizer_folder(tmp_path)
        except CheckpointError as error:
            problem = str(error)
        assert "\n" not in (problem or "")


@pytest.mark.parametrize("name", [None, "LlamaTokenizer", "GemmaTokenizer", "PreTrainedTokenizerFast"])
@pytest.mark.parametrize("model_type", sorted(family.model_type for family in FAMILIES.values()))
def test_the_class_is_that_of_transformers(model_type: str, name: str | None, tmp_path: Path) -> None:
    from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES

    registered = TOKENIZER_MAPPING_NAMES.get(model_type)
    expected = "TokenizersBackend" if registered in (None, "TokenizersBackend") else registered
    if name in ("LlamaTokenizer", "GemmaTokenizer") and registered != "TokenizersBackend":
        expected = name
    elif name is not None and registered != "TokenizersBackend":
        expected = "TokenizersBackend"
    settings = {} if name is None else {"tokenizer_class": name}
    assert sentencepiece_class(write(tmp_path, b"", model_type, settings), settings) == expected

"""Tokenizer folders in which one file or another says something, read as transformers' AutoTokenizer reads them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from nextword.text.post_processor import put_around
from nextword.text.tokenizer import Tokenizer
from nextword.text.tokenizer_folder import load_tokenizer_folder

pytestmark = pytest.mark.peer

CORPUS = ["the quick brown fox jumps over the lazy dog", "a river ran past the old mill, and the café was closed"] * 20
SPECIALS = ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"]
TEXTS = [
    "the mill",
    " a <|tool|> b<|im_start|>c",
    "<s>the café</s> <|new|>x",
    "",
    "<|tool|><|img|> the <|im_end|> \n x",
]


def byte_level() -> tokenizers.Tokenizer:
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=330, special_tokens=SPECIALS, initial_alphabet=alphabet)
    backend.train_from_iterator(CORPUS, trainer)
    return backend


def sentencepiece(*, metaspace: bool) -> tokenizers.Tokenizer:
    base = tokenizers.Tokenizer(models.BPE())
    base.pre_tokenizer = pre_tokenizers.Metaspace()
    base.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=120))
    learned = json.loads(base.to_str())["model"]
    tokens = [*SPECIALS, *(f"<0x{byte:02X}>" for byte in range(256)), *learned["vocab"]]
    merges = [tuple(merge) for merge in learned["merges"]]
    vocabulary = {token: token_id for token_id, token in enumerate(tokens)}
    backend = tokenizers.Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    if metaspace:
        backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    else:
        backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    backend.decoder = decoders.Sequence(steps)
    backend.add_special_tokens(SPECIALS)
    return backend


def unigram() -> tokenizers.Tokenizer:
    backend = tokenizers.Tokenizer(models.Unigram())
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    backend.train_from_iterator(
        CORPUS, trainers.UnigramTrainer(vocab_size=90, special_tokens=SPECIALS, unk_token="<unk>")
    )
    return backend


def word_piece() -> tokenizers.Tokenizer:
    backend = tokenizers.Tokenizer(models.WordPiece(unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    backend.train_from_iterator(CORPUS, trainers.WordPieceTrainer(vocab_size=120, special_tokens=SPECIALS))
    return backend


KINDS: dict[str, Callable[[], tokenizers.Tokenizer]] = {
    "byte-level": byte_level,
    "normalizer": lambda: sentencepiece(metaspace=False),
    "metaspace": lambda: sentencepiece(metaspace=True),
    "unigram": unigram,
    "wordpiece": word_piece,
}


def token(text: str, *, special: bool = True, **flags: bool) -> dict[str, Any]:
    return {
        "content": text,
        "lstrip": False,
        "rstrip": False,
        "normalized": False,
        "single_word": False,
        "special": special,
        **flags,
    }


@dataclass
class Files:
    """Content of the files of a folder; `N` stands for the size of the vocabulary, and N+1 for the id after it."""

    config: dict[str, Any] = field(default_factory=dict)
    special_map: dict[str, Any] | None = None
    added: dict[str, Any] | None = None
    edit: Callable[[tokenizers.Tokenizer], object] = lambda backend: None
    drop: tuple[str, ...] = ()
    """Added tokens left out of tokenizer.json."""
    ordinary: tuple[str, ...] = ()
    """Added tokens that are not special in tokenizer.json."""


def around(prefix: list[str], suffix: list[str], *, sequence: bool = False) -> Callable[[tokenizers.Tokenizer], object]:
    def edit(backend: tokenizers.Tokenizer) -> None:
        ids = [(name, backend.token_to_id(name)) for name in dict.fromkeys((*prefix, *suffix))]
        pair = [*prefix, "$A", *suffix, *prefix, "$B", *suffix]
        template = processors.TemplateProcessing(single=[*prefix, "$A", *suffix], pair=pair, special_tokens=ids)
        bytes_first = processors.ByteLevel(trim_offsets=False)
        backend.post_processor = processors.Sequence([bytes_first, template]) if sequence else template

    return edit


def bert(backend: tokenizers.Tokenizer) -> None:
    backend.post_processor = processors.BertProcessing(("</s>", 2), ("<s>", 1))


CASES = {
    "nothing": Files(),
    "roles": Files({"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}),
    "roles as objects": Files({"bos_token": {"__type": "AddedToken", **token("<s>")}, "eos_token": "</s>"}),
    "added_tokens_decoder": Files({"added_tokens_decoder": {"N": token("<|tool|>")}}),
    "two in added_tokens_decoder": Files(
        {"added_tokens_decoder": {"N+1": token("<|new|>"), "N": token("<|tool|>", special=False)}}
    ),
    "added_tokens_decoder with flags": Files(
        {"added_tokens_decoder": {"N": token("<|tool|>", lstrip=True), "3": token("<|im_start|>", rstrip=True)}}
    ),
    "added_tokens_decoder: eos not special": Files(
        {"eos_token": "<|tool|>", "added_tokens_decoder": {"N": token("<|tool|>", special=False)}}
    ),
    "added_tokens_decoder takes precedence": Files(
        {"eos_token": "</s>", "added_tokens_decoder": {"N": token("<|tool|>")}},
        special_map={"eos_token": "<|im_end|>"},
        added={"<|new|>": "N+1"},
    ),
    "added_tokens.json": Files(added={"<|tool|>": "N"}),
    "added_tokens.json, named": Files({"eos_token": "<|tool|>"}, added={"<|tool|>": "N", "<|new|>": "N+1"}),
    "added_tokens.json, further": Files({"additional_special_tokens": ["<|tool|>"]}, added={"<|tool|>": "N"}),
    "special_tokens_map": Files(special_map={"bos_token": "<s>", "eos_token": token("<|tool|>")}),
    "special_tokens_map over config": Files({"eos_token": "</s>"}, special_map={"eos_token": "<|im_end|>"}),
    "special_tokens_map, further": Files(special_map={"additional_special_tokens": ["<|tool|>", "<|im_end|>"]}),
    "special_tokens_map and config, further": Files(
        {"additional_special_tokens": ["<|tool|>"]}, special_map={"additional_special_tokens": ["<|new|>"]}
    ),
    "additional_special_tokens": Files({"additional_special_tokens": ["<|tool|>", "<|new|>"]}),
    "extra_special_tokens, a list": Files(
        {"extra_special_tokens": ["<|tool|>"], "additional_special_tokens": ["<|n|>"]}
    ),
    "extra_special_tokens by name": Files({"extra_special_tokens": {"image_token": "<|img|>", "tool": "<|tool|>"}}),
    "a name of its own": Files({"image_token": "<|img|>", "eos_token": "</s>"}),
    "model_specific_special_tokens": Files({"model_specific_special_tokens": {"image_token": "<|img|>"}}),
    "pad_token is new": Files({"pad_token": "<|tool|>", "eos_token": "</s>"}),
    "two roles, one new token": Files({"pad_token": "<|tool|>", "eos_token": "<|tool|>", "mask_token": "<|new|>"}),
    "ordinary in tokenizer.json, further": Files(
        {"additional_special_tokens": ["<|im_start|>"]}, ordinary=("<|im_start|>",)
    ),
    "ordinary in tokenizer.json, eos": Files({"eos_token": "<|im_start|>"}, ordinary=("<|im_start|>",)),
    "ordinary in tokenizer.json, eos, other decoder": Files(
        {"eos_token": "<|im_start|>", "added_tokens_decoder": {"N": token("<|tool|>")}}, ordinary=("<|im_start|>",)
    ),
    "ordinary in tokenizer.json, special in decoder": Files(
        {"added_tokens_decoder": {"3": token("<|im_start|>")}}, ordinary=("<|im_start|>",)
    ),
    "special in tokenizer.json, ordinary in decoder": Files(
        {"added_tokens_decoder": {"3": token("<|im_start|>", special=False)}}
    ),
    "no added token, further": Files({"additional_special_tokens": ["<|im_start|>"]}, drop=("<|im_start|>",)),
    "no added token, eos": Files({"eos_token": "<|im_start|>"}, drop=("<|im_start|>",)),
    "BOS by the template": Files({"bos_token": "<s>"}, edit=around(["<s>"], [])),
    "BOS without a name": Files(edit=around(["<s>"], [])),
    "EOS after": Files({"bos_token": "<s>", "eos_token": "</s>"}, edit=around(["<s>"], ["</s>"])),
    "EOS after only": Files(edit=around([], ["</s>"], sequence=True)),
    "two before": Files({"eos_token": "</s>"}, edit=around(["<|im_start|>", "<s>"], [])),
    "two before, one named": Files({"bos_token": "<s>"}, edit=around(["<|im_start|>", "<s>"], ["</s>"], sequence=True)),
    "BertProcessing": Files({"bos_token": "<s>"}, edit=bert),
    "add_bos_token is ignored": Files({"bos_token": "<s>", "add_bos_token": True}),
    "add_bos_token false is ignored": Files({"bos_token": "<s>", "add_bos_token": False}, edit=around(["<s>"], [])),
    "add_eos_token is ignored": Files({"eos_token": "</s>", "add_eos_token": True}),
    "normalized": Files({"added_tokens_decoder": {"N": token("<|tool|>", special=False, normalized=True)}}),
    "single words": Files(
        {"added_tokens_decoder": {"N": token("tool", single_word=True), "N+1": token("im_sta", single_word=True)}}
    ),
}


def numbered(value: Any, size: int) -> Any:
    """Put numbers for N and N+1."""
    numbers = {"N": size, "N+1": size + 1}
    if isinstance(value, dict):
        return {str(numbers.get(key, key)): numbered(item, size) for key, item in value.items()}
    return numbers.get(value, value) if isinstance(value, str) else value


def write(folder: Path, kind: str, files: Files) -> None:
    backend = KINDS[kind]()
    files.edit(backend)
    size = backend.get_vocab_size()
    definition = json.loads(backend.to_str())
    definition["added_tokens"] = [
        {**added, "special": added["content"] not in files.ordinary}
        for added in definition["added_tokens"]
        if added["content"] not in files.drop
    ]
    (folder / "tokenizer.json").write_text(json.dumps(definition))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", **files.config}
    contents = {
        "tokenizer_config.json": config,
        "special_tokens_map.json": files.special_map,
        "added_tokens.json": files.added,
    }
    for name, content in contents.items():
        if content is not None:
            (folder / name).write_text(json.dumps(numbered(content, size)))


SLOW_SETTINGS: list[dict[str, Any]] = [
    {"tokenizer_class": "GPT2Tokenizer"},
    {"tokenizer_class": "GPT2Tokenizer", "bos_token": "<s>", "eos_token": "</s>", "add_bos_token": True},
    {"tokenizer_class": "GPT2TokenizerFast", "bos_token": "<s>", "eos_token": "</s>", "add_eos_token": True},
    {"tokenizer_class": "Qwen2Tokenizer", "eos_token": "<|im_end|>", "additional_special_tokens": ["<|im_start|>"]},
    {"tokenizer_class": "Qwen2Tokenizer", "added_tokens_decoder": {"N": token("<|tool|>")}},
]


@pytest.mark.parametrize("settings", SLOW_SETTINGS)
def test_folders_without_tokenizer_json_are_read_as_transformers_reads_them(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    backend = byte_level()
    definition = json.loads(backend.to_str())["model"]
    merges = "".join(f"{left} {right}\n" for left, right in definition["merges"])
    vocabulary = definition["vocab"] | {"<|endoftext|>": len(definition["vocab"])}
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary))
    (tmp_path / "merges.txt").write_text(f"#version: 0.2\n{merges}")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(numbered(settings, len(vocabulary))))
    compare(tmp_path, [*TEXTS, "It's 1234 e\u0301 \u00e9 A'S"])


@pytest.mark.parametrize(("kind", "case"), list(itertools.product(KINDS, CASES)))
def test_folders_are_read_as_transformers_reads_them(kind: str, case: str, tmp_path: Path) -> None:
    write(tmp_path, kind, CASES[case])
    compare(tmp_path, TEXTS)


@pytest.mark.parametrize("kind", ["byte-level", "metaspace"])
def test_the_class_of_llama_names_special_tokens_of_sentencepiece_only(kind: str, tmp_path: Path) -> None:
    write(tmp_path, kind, Files({"tokenizer_class": "LlamaTokenizerFast"}))
    compare(tmp_path, TEXTS)


CLASSES = ["CodeGenTokenizer", "CohereTokenizerFast", "GPT2Tokenizer", "GPTNeoXTokenizerFast", "Qwen2TokenizerFast"]
NAMED = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<unk>"}


@pytest.mark.parametrize("in_file", [False, True])
@pytest.mark.parametrize("setting", [{}, {"add_prefix_space": True}, {"add_prefix_space": False}])
@pytest.mark.parametrize("class_name", [*CLASSES, "LlamaTokenizerFast", "PreTrainedTokenizerFast"])
def test_some_classes_put_a_space_before_texts_by_their_setting_alone(
    class_name: str, setting: dict[str, bool], in_file: bool, tmp_path: Path
) -> None:
    def edit(backend: tokenizers.Tokenizer) -> None:
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=in_file)

    write(tmp_path, "byte-level", Files({"tokenizer_class": class_name, **NAMED, **setting}, edit=edit))
    from transformers import AutoTokenizer

    peer = AutoTokenizer.from_pretrained(str(tmp_path))
    assert load_tokenizer_folder(tmp_path).encode("the") == peer("the")["input_ids"]


@pytest.mark.parametrize("flags", [{}, {"add_bos_token": True, "add_eos_token": True}])
@pytest.mark.parametrize("class_name", ["GPT2Tokenizer", "GPTNeoXTokenizerFast", "Qwen2TokenizerFast"])
def test_the_class_of_gpt_neox_puts_nothing_around_texts(
    class_name: str, flags: dict[str, bool], tmp_path: Path
) -> None:
    config = {"tokenizer_class": class_name, **NAMED, **flags}
    write(tmp_path, "byte-level", Files(config, edit=around(["<s>"], ["</s>"])))
    compare(tmp_path, ["the mill", ""])


def compare(folder: Path, texts: list[str]) -> None:
    from transformers import AutoTokenizer

    peer = AutoTokenizer.from_pretrained(str(folder))
    ours = load_tokenizer_folder(folder)
    for text in texts:
        inner = peer(text, add_special_tokens=False)["input_ids"]
        assert ours.encode(text, add_special_tokens=False, parse_special=True) == inner
        around_all = [*ours.prefix_token_ids, *inner, *ours.suffix_token_ids]
        assert around_all == peer(text)["input_ids"]
        if (
            ours.definition()["model"]["type"] == "Unigram"
        ):  # which forms control tokens from plain text there, not here
            ordinary = {token["id"] for token in ours.definition()["added_tokens"] if not token["special"]}
            controls = set(peer.all_special_ids) - {peer.unk_token_id, ours.definition()["model"]["unk_id"]} - ordinary
            assert not controls & set(ours.encode(text, add_special_tokens=False))
        else:
            assert ours.encode(text) == peer(text, split_special_tokens=True)["input_ids"]
        for skipping in (True, False):
            decoded = peer.decode(around_all, skip_special_tokens=skipping)
            assert ours.decode(around_all, skip_special_tokens=skipping) == decoded
    assert ours.special_variables == peer.special_tokens_map
    assert (ours.bos_token_id, ours.vocab_size) == (peer.bos_token_id, len(peer))


@pytest.mark.parametrize(
    "template",
    [
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}\n",
        "\n\n{% for m in messages %}\n  {{ m.content }}\n{%- endfor %}",
        "{{ bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}",
        "{% if messages[0].role == 'system' %}{{ bos_token }}{% endif %}{{ messages[0].content }}",
        "{% if messages[0].role == 'user' %}{{ bos_token }}{% endif %}{{ messages[0].content }}",
        "{% if messages|length > 1 %}{{ raise_exception('one') }}{% endif %}{{ messages[0]['content'] }}\n\n",
    ],
)
def test_a_folder_of_chats_that_begin_with_bos_says_so(tmp_path: Path, template: str) -> None:
    """A GGUF file's chats begin with BOS whatever its template writes; a folder's by its template alone."""
    from transformers import AutoTokenizer

    backend = byte_level()
    put_around(backend, prefix=[1], suffix=[])
    own = Tokenizer(
        backend,
        bos_token_id=1,
        eos_token_ids=(2,),
        chat_template=template,
        special_variables={"bos_token": "<s>", "eos_token": "</s>"},
        begins_chats=True,
    )
    own.save(tmp_path)
    saved, theirs = load_tokenizer_folder(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    for role in ("user", "system"):
        messages = [{"role": role, "content": " the café"}]
        ids = own.encode_chat(messages)
        assert ids[0] == 1
        assert saved.encode_chat(messages) == ids
        rendered = theirs.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        assert theirs(rendered, add_special_tokens=False)["input_ids"] == ids

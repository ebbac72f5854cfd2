"""Tables of docs/checkpoints.md about tokenizer files: the fields that are looked up while folders are read."""

from __future__ import annotations

import json
import tempfile
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import tokenizers
from tokenizers import decoders, models, pre_tokenizers

from nextword.json_file import read_json_object
from nextword.text import chat_template_files, end_tokens, special_tokens, tokenizer_folder
from nextword.text.special_tokens import ROLES
from nextword.text.tokenizer_json import read_tokenizer_json
from tests.docs.recording import RecordingDict
from tests.docs.table import names, table

_VOCABULARY = {"a": 0, "b": 1, "</s>": 2, "ab": 3}
_TOKEN = {"content": "</s>", "special": True}
_NAMED = "any other `…_token`"
_READERS = (chat_template_files, end_tokens, special_tokens, tokenizer_folder)


def tokenizer_files() -> str:
    """Fields by file."""
    found = _asked("tokenizer.json", {"tokenizer_class": "GPT2Tokenizer"})
    others = {
        "vocab.json": _asked("vocab.json", {"tokenizer_class": "GPT2Tokenizer"}),
        "tokenizer.model": _asked("tokenizer.model", {"tokenizer_class": "LlamaTokenizer"}),
    }
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        found[name] |= {*ROLES, _NAMED}
    rows = [("`tokenizer.json`", f"all but {names(_taken_out())}, which belong to training")]
    rows += [(f"`{name}`", _shown(found[name])) for name in sorted(found)]
    rows += [
        (f"`{name}` of a folder with `{vocabulary}` and no `tokenizer.json`", f"also {_shown(more)}")
        for vocabulary, asked in others.items()
        for name in sorted(asked)
        if (more := asked[name] - found[name])
    ]
    return table(("file", "read"), rows)


def _shown(fields: set[str]) -> str:
    return ", ".join([*(f"`{name}`" for name in sorted(fields - {_NAMED})), *sorted(fields & {_NAMED})])


def _asked(vocabulary: str, settings: Mapping[str, object]) -> dict[str, set[str]]:
    """Fields looked up in each file, over folders of both forms of settings."""
    asked: dict[str, set[str]] = defaultdict(set)
    with _recorded(asked):
        for more in ({}, {"added_tokens_decoder": {"2": _TOKEN}, "bos_token": _TOKEN}):
            with tempfile.TemporaryDirectory() as name:
                _write(Path(name), vocabulary, {**settings, **more})
                tokenizer_folder.load_tokenizer_folder(Path(name))
    del asked["added_tokens.json"]  # whose keys are tokens
    return asked


@contextmanager
def _recorded(asked: dict[str, set[str]]) -> Iterator[None]:
    """Let the readers of JSON files note what is looked up, by the name of the file."""

    def read(path: Path) -> dict[str, Any]:
        return RecordingDict(read_json_object(path), asked[path.name])

    with ExitStack() as stack, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for module in _READERS:
            stack.enter_context(mock.patch.object(module, "read_json_object", read))
        yield


def _write(folder: Path, vocabulary: str, settings: Mapping[str, object]) -> None:
    """Write a folder with the vocabulary in this file."""
    if vocabulary == "tokenizer.json":
        _tokenizer().save(str(folder / vocabulary))
    elif vocabulary == "tokenizer.model":
        (folder / vocabulary).write_bytes(_sentencepiece())
    else:
        (folder / vocabulary).write_text(json.dumps(_VOCABULARY), encoding="utf-8")
        (folder / "merges.txt").write_text("a b\n", encoding="utf-8")
    contents: dict[str, object] = {
        "tokenizer_config.json": settings,
        "special_tokens_map.json": {"eos_token": "</s>"},
        "added_tokens.json": {"</s>": 2},
        "config.json": {},
        "generation_config.json": {},
        "chat_template.json": {},
    }
    for name, content in contents.items():
        (folder / name).write_text(json.dumps(content), encoding="utf-8")


def _tokenizer() -> tokenizers.Tokenizer:
    backend = tokenizers.Tokenizer(models.BPE(vocab=_VOCABULARY, merges=[("a", "b")], dropout=0.1))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.enable_truncation(8)
    backend.enable_padding()
    return backend


def _sentencepiece() -> bytes:
    """A vocabulary of SentencePiece's kind BPE, as its protocol buffer: pieces with text, score 0 and type."""
    types = {"<unk>": 2, "<s>": 3, "</s>": 3, **{f"<0x{byte:02X}>": 6 for byte in range(256)}, "\u2581": 1, "a": 1}
    pieces = [
        b"\x0a" + bytes([len(text)]) + text + b"\x15\x00\x00\x00\x00\x18" + bytes([kind])
        for text, kind in ((text.encode(), kind) for text, kind in types.items())
    ]
    trainer = b"\x12\x02\x18\x02"  # model_type is BPE
    return b"".join(b"\x0a" + bytes([len(piece)]) + piece for piece in pieces) + trainer


def _taken_out() -> list[str]:
    """Fields of tokenizer.json that a tokenizer does not have after it was read."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "tokenizer.json"
        _tokenizer().save(str(path))
        before, after = json.loads(path.read_text(encoding="utf-8")), json.loads(read_tokenizer_json(path).to_str())
    parts = [("", before, after), ("model.", before["model"], after["model"])]
    return [
        prefix + field
        for prefix, old, new in parts
        for field, value in old.items()
        if field != "model" and new[field] != value
    ]

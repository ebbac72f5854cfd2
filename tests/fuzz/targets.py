"""Steps for each kind of input, in the child process: write it, open it, use what opens."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import shutil
import struct
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import nextword as nw
from nextword.cli import run
from nextword.data.chats import read_chats
from nextword.data.documents import read_documents
from nextword.data.labelled import read_labelled
from nextword.data.summarised import read_summarised
from tests.checkpoints.tiny_folder import TINY_LLAMA, header_and_values, tiny_weights, write_folder
from tests.data.byte_tokenizer import byte_tokenizer
from tests.fuzz import gguf_file
from tests.fuzz.edits import Damage, Edit, damaged, edited, to_json
from tests.text.vocabularies import byte_level_backend, piece_backend

TEXT = "the x é\0 <s>漢 12"
MESSAGES = [
    {"role": "user", "content": "the x"},
    {"role": "assistant", "content": "é"},
    {"role": "user", "content": ""},
]
VOCAB_SIZE = 300
PEFT: dict[str, Any] = {
    "peft_type": "LORA",
    "task_type": "CAUSAL_LM",
    "base_model_name_or_path": "base",
    "r": 4,
    "lora_alpha": 8,
    "lora_dropout": 0.0,
    "target_modules": ["q_proj"],
    "bias": "none",
    "fan_in_fan_out": False,
    "use_rslora": False,
    "use_dora": False,
    "rank_pattern": {"layers.0.self_attn.q_proj": 4},
    "alpha_pattern": {"q_proj": 8},
    "modules_to_save": None,
    "trainable_token_indices": None,
    "layers_to_transform": None,
    "init_lora_weights": True,
}


@dataclass(frozen=True)
class Mutation:
    """Changes to a file: which of several, edits of its document, damage of its bytes."""

    which: int = 0
    edits: list[Edit] = field(default_factory=list)
    damages: list[Damage] = field(default_factory=list)


def allow(call: Callable[[], object]) -> object:
    """Call; an error of ours is a result, and its message is looked at as those of warnings are."""
    try:
        return call()
    except nw.NextwordError as error:
        warnings.warn(str(error), stacklevel=2)
        return None


def use(model: nw.LanguageModel) -> None:
    """Do with a model what people do."""
    allow(lambda: model.generate(TEXT, max_tokens=3, seed=1, logprobs=1))
    allow(lambda: model.generate("the", max_tokens=2, temperature=0.0, repetition_penalty=1.5).text)
    allow(lambda: model.score("the x", parse_special=True))
    allow(lambda: model.chat(MESSAGES, max_tokens=2, seed=1))
    use_tokenizer(model.tokenizer)


def use_tokenizer(tokenizer: nw.Tokenizer) -> None:
    """Encode, decode, and look at tokens."""
    for text in (TEXT, "", " ", "a" * 3000):
        token_ids = allow(lambda text=text: tokenizer.encode(text, parse_special=True))  # type: ignore[misc]
        allow(lambda token_ids=token_ids: tokenizer.decode(token_ids or [0, 1, 299]))  # type: ignore[misc]
    allow(lambda: [tokenizer.token_text(token_id) for token_id in (0, 1, 2, VOCAB_SIZE)])
    allow(lambda: tokenizer.encode_chat(MESSAGES))


def gguf(folder: Path, mutation: Mutation) -> None:
    """A model in one GGUF file, or in two parts (`which` odd)."""
    parts = [gguf_file.tiny_gguf()]
    if mutation.which % 2:
        parts = gguf_file.split_in_two(parts[0])
    changed = mutation.which // 2 % len(parts)
    for number, document in enumerate(parts):
        name = f"model-{number + 1:05}-of-00002.gguf" if len(parts) > 1 else "model.gguf"
        content = gguf_file.to_bytes(edited(document, mutation.edits) if number == changed else document)
        (folder / name).write_bytes(damaged(content, mutation.damages) if number == changed else content)
    use(nw.load(min(folder.glob("*.gguf")), backend="native"))


def safetensors(folder: Path, mutation: Mutation) -> None:
    """Weights of a folder, with a header that lies."""
    base = _copy_base(folder)
    header, values = header_and_values(_weights())
    text = to_json(edited(header, mutation.edits))
    content = damaged(struct.pack("<Q", len(text)) + text + values, mutation.damages)
    (base / "model.safetensors").write_bytes(content)
    use(nw.load(base, backend="native"))


SETTINGS = ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "added_tokens.json"]


def settings(folder: Path, mutation: Mutation) -> None:
    """One of the JSON files of a folder."""
    base = _copy_base(folder, pieces=mutation.which >= len(SETTINGS))
    path = base / SETTINGS[mutation.which % len(SETTINGS)]
    path.write_bytes(damaged(to_json(edited(json.loads(path.read_bytes()), mutation.edits)), mutation.damages))
    use(nw.load(base, backend="native"))


def index(folder: Path, mutation: Mutation) -> None:
    """The index of weights in shards."""
    base = _copy_base(folder)
    (base / "model.safetensors").rename(base / "one.safetensors")
    names = dict.fromkeys(_weights(), "one.safetensors")
    document = {"metadata": {"total_size": 1}, "weight_map": names}
    (base / "model.safetensors.index.json").write_bytes(
        damaged(to_json(edited(document, mutation.edits)), mutation.damages)
    )
    use(nw.load(base, backend="native"))


def adapter(folder: Path, mutation: Mutation) -> None:
    """An adapter: its settings, its tensors, or a GGUF file (`which` 0, 1, 2)."""
    base = _copy_base(folder)
    path = folder / "adapter"
    path.mkdir()
    stem = "base_model.model.model.layers.0.self_attn.q_proj.lora_"
    tensors = {f"{stem}{part}.weight": np.ones(shape, np.float32) for part, shape in (("A", (4, 8)), ("B", (8, 4)))}
    header, values = header_and_values(tensors)
    which = mutation.which % 3
    if which == 2:
        path = path / "adapter.gguf"
        document = edited(gguf_file.tiny_adapter(), mutation.edits)
        path.write_bytes(damaged(gguf_file.to_bytes(document), mutation.damages))
    else:
        config, text = (
            to_json(edited(part, mutation.edits)) if which == number else to_json(part)
            for number, part in enumerate((PEFT, header))
        )
        content = struct.pack("<Q", len(text)) + text + values
        (path / "adapter_config.json").write_bytes(damaged(config, mutation.damages) if which == 0 else config)
        (path / "adapter_model.safetensors").write_bytes(damaged(content, mutation.damages) if which else content)
    allow(lambda: use(nw.load(base, backend="native", adapter=str(path))))
    allow(lambda: use(nw.load(base, backend="native", adapters={"a": str(path)})))


def checkpoint(folder: Path, mutation: Mutation) -> None:
    """The latest checkpoint of a training run: its state, its tensors, or another JSON file of the run."""
    shutil.copytree(_stopped_run(), folder / "run")
    corpus = _stopped_run().parent / "corpus.txt"
    paths = sorted(path for path in (folder / "run").rglob("*") if path.is_file())
    path = paths[mutation.which % len(paths)]
    content = path.read_bytes()
    if path.suffix == ".json":
        content = to_json(edited(json.loads(content), mutation.edits))
    path.write_bytes(damaged(content, mutation.damages))
    nw.pretrain(corpus, output=folder / "run", **_RUN, steps=3).train()


def records(folder: Path, mutation: Mutation) -> None:
    """Records of training and evaluation, read as each of the kinds."""
    kind = ("jsonl", "json", "txt", "tsv", "csv")[mutation.which % 5]
    lines = [to_json(edited(record, mutation.edits)) for record in _RECORDS]
    content = b"[" + b",".join(lines) + b"]" if kind == "json" else b"\n".join(lines)
    path = folder / f"data.{kind}"
    path.write_bytes(damaged(content, mutation.damages))
    for read in (
        lambda: list(read_documents([path], field="text")),
        lambda: list(read_chats([path])),
        lambda: list(read_labelled(path, text_field="text", label_field="label")),
        lambda: list(read_summarised(path, text_field="text", summary_field="summary")),
        lambda: nw.training_example(_base(), path, number=1 + mutation.which % 3),
        lambda: nw.prepare([path], tokenizer=_base(), output=folder / "prepared"),
        lambda: _model().perplexity(path.read_text("utf-8", "replace")),
    ):
        allow(read)


def template(folder: Path, value: tuple[str, dict[str, Any]]) -> None:
    """A chat template with variables."""
    text, variables = value
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = text
    allow(lambda: tokenizer.render_chat(MESSAGES, template_variables=variables))
    allow(lambda: tokenizer.encode_chat(MESSAGES))
    allow(lambda: tokenizer.encode_answers(MESSAGES))


def command(folder: Path, words: list[str]) -> None:
    """A command line, beside a model and files that it may name."""
    (folder / "model").symlink_to(_base())
    (folder / "text.txt").write_text("the x the\nthe\n")
    (folder / "data.jsonl").write_bytes(b"\n".join(map(to_json, _RECORDS)))
    (folder / "bad.jsonl").write_bytes(b'{"a\xff": [1,2\n\n{"a": 1}')
    out, errors = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    stdin, sys.stdin = sys.stdin, io.TextIOWrapper(io.BytesIO(b"the x\n"), "utf-8")
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
            code = run(words)
    finally:
        sys.stdin = stdin
    said = errors.buffer.getvalue().decode()
    assert code in (0, 2), f"exit code {code}"
    assert "Traceback" not in said, said
    if code == 2:
        complaints = [line for line in said.splitlines() if not line.startswith("nextword: note")]
        assert complaints, "exit code 2, and nothing said"
        warnings.warn(complaints[-1].strip(), stacklevel=1)


def call(folder: Path, value: tuple[str, dict[str, Any]]) -> None:
    """A method of a model (or of its tokenizer, engine, or a distribution) with these keywords."""
    name, keywords = value
    owner: Any = {"lm": _model(), "tokenizer": _model().tokenizer, "engine": _model().engine, "nw": nw}
    owner["distribution"] = nw.Distribution.from_logits([2.0, 1.0, 0.0])
    where, _, method = name.partition(".")
    result = getattr(owner[where], method)(**keywords)
    if hasattr(result, "__next__"):
        list(result)


_RUN: dict[str, Any] = {
    "hidden_size": 16, "num_layers": 1, "num_heads": 2, "context": 16, "batch_size": 2, "vocab_size": 260,
    "precision": "float32", "threads": 1, "validate_every": 0, "save_every": 1,
}  # fmt: skip

_RECORDS: list[dict[str, Any]] = [
    {"messages": MESSAGES[:2], "text": "the x", "label": "a", "summary": "x"},
    {
        "messages": [
            {"role": "system", "content": [{"type": "text", "text": "the"}]},
            {"role": "user", "content": "x"},
            {"role": "assistant", "content": "y", "weight": 1, "reasoning_content": "z"},
        ],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
        "text": "é",
        "label": "b",
        "summary": "the",
    },
    {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}], "text": "", "label": "a"},
    {"instruction": "do", "input": "", "output": "done", "text": "漢"},
]


def _weights() -> dict[str, Any]:
    embedding = np.random.default_rng(3).standard_normal((VOCAB_SIZE, TINY_LLAMA["hidden_size"])).astype(np.float32)
    return {**tiny_weights(), "model.embed_tokens.weight": embedding}


@functools.cache
def _base(*, pieces: bool = False) -> Path:
    """A folder with all files that a model may have."""
    folder = Path(tempfile.mkdtemp(prefix="fuzz-base-"))
    ends = {"bos_token_id": 257, "eos_token_id": 258}
    write_folder(folder, config={"vocab_size": VOCAB_SIZE, **ends}, weights=_weights())
    backend = piece_backend() if pieces else byte_level_backend()
    names = {"bos_token": "<s>", "eos_token": "</s>"} if pieces else {"bos_token": "<|begin|>", "eos_token": "<|end|>"}
    backend.save(str(folder / "tokenizer.json"))
    added = {str(token_id): {"content": token.content, "special": token.special} for token_id, token in
             backend.get_added_tokens_decoder().items()}  # fmt: skip
    template = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}{{ eos_token }}{% endfor %}"
    more = {"add_bos_token": True, "chat_template": template, "model_max_length": 32, "extra_special_tokens": {}}
    files = {
        "tokenizer_config.json": {**names, **more, "added_tokens_decoder": added},
        "generation_config.json": {**ends, "do_sample": True, "temperature": 0.7, "top_k": 50, "top_p": 0.9},
        "added_tokens.json": {"<two words>": backend.token_to_id("<two words>") or 299},
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    return folder


def _copy_base(folder: Path, *, pieces: bool = False) -> Path:
    return Path(shutil.copytree(_base(pieces=pieces), folder / "base"))


@functools.cache
def _model() -> nw.LanguageModel:
    return nw.load(_base(), backend="native")


@functools.cache
def _stopped_run() -> Path:
    """A run of two steps with its checkpoint, beside its corpus."""
    folder = Path(tempfile.mkdtemp(prefix="fuzz-run-"))
    (folder / "corpus.txt").write_text("the river ran to the sea, and the sea was wide.\n" * 40)
    nw.pretrain(folder / "corpus.txt", output=folder / "run", **_RUN, steps=2).train()
    return folder / "run"

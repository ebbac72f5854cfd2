"""GGUF files that we write: llama.cpp opens those of every family, and continues a text as we do."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import tokenizers

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
if importlib.util.find_spec("xllamacpp") is None:
    pytest.skip("llama.cpp comes in the package xllamacpp", allow_module_level=True)

import nextword as nw  # noqa: E402
from nextword.checkpoints.gguf import writer  # noqa: E402
from nextword.checkpoints.gguf.config_metadata import gguf_tensors  # noqa: E402
from nextword.models.stored_tensor import StoredTensor, join_rows  # noqa: E402
from tests.peers.test_families import random_model  # noqa: E402
from tests.text.vocabularies import byte_level_backend, piece_backend  # noqa: E402

pytestmark = [pytest.mark.peer, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
PROMPT = "the the heat of  the é 漢 x"
NUM_TOKENS = 12
CLEAR = 0.05
"""Logits nearer than this may change places: llama.cpp keeps keys, values and a table of GELU in half precision."""

SIZES = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "attn_implementation": "eager",
}
NEOX = {name: value for name, value in SIZES.items() if name != "num_key_value_heads"}
GPT2 = {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 512, "attn_implementation": "eager"}
GEMMA = {**SIZES, "head_dim": 32, "query_pre_attn_scalar": 32, "sliding_window": 9, "num_hidden_layers": 7}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
YARN = {"rope_type": "yarn", "rope_theta": 1000.0, "factor": 4.0, "original_max_position_embeddings": 128}
LINEAR = {"rope_type": "linear", "rope_theta": 1000.0, "factor": 3.0}
LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 100.0,
    "short_factor": [1.0, 1.1, 1.3, 1.4, 1.5, 1.6, 1.7, 2.0],
    "long_factor": [1.5, 3.0, 6.0, 6.5, 7.0, 7.5, 8.0, 9.0],
}
BYTE_LEVEL: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("gpt2", GPT2),
    "gpt_neox": ("gpt_neox", NEOX),
    "gpt_neox-in-turn-tied": ("gpt_neox", {**NEOX, "use_parallel_residual": False, "tie_word_embeddings": True}),
    "llama": ("llama", SIZES),
    "llama-tied": ("llama", {**SIZES, "tie_word_embeddings": True}),
    "llama3": ("llama", {**SIZES, "rope_parameters": LLAMA3}),
    "llama-linear": ("llama", {**SIZES, "rope_parameters": LINEAR}),
    "llama-yarn": ("llama", {**SIZES, "rope_parameters": YARN}),
    "mistral": ("mistral", {**SIZES, "sliding_window": None}),
    "qwen2": ("qwen2", SIZES),
    "qwen3": ("qwen3", {**SIZES, "head_dim": 32}),
    "olmo2": ("olmo2", SIZES),
    "smollm3": ("smollm3", {**SIZES, "num_hidden_layers": 5}),
    "phi3": ("phi3", {**SIZES, "sliding_window": None, "num_hidden_layers": 2}),
}
PIECES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", SIZES),
    "mistral": ("mistral", {**SIZES, "sliding_window": None}),
    "gemma2": ("gemma2", {**GEMMA, "num_hidden_layers": 4}),
    "gemma3": ("gemma3_text", GEMMA),
    "phi3": ("phi3", {**SIZES, "sliding_window": None}),
    "phi3-longrope": (
        "phi3",
        {
            **SIZES,
            "max_position_embeddings": 1024,
            "original_max_position_embeddings": 512,
            "sliding_window": None,
            "rope_parameters": LONGROPE,
        },
    ),
}


def gemma_backend() -> tokenizers.Tokenizer:
    """The vocabulary of pieces as Gemma has it: tokens in the order of merges, no space before a text."""
    definition = json.loads(piece_backend(strips_space=False).to_str())
    merged = ["".join(pair) for pair in definition["model"]["merges"]]
    others = [token for token in definition["model"]["vocab"] if token not in merged]
    definition["model"]["vocab"] = {token: token_id for token_id, token in enumerate([*others, *merged])}
    definition["normalizer"] = definition["normalizer"]["normalizers"][1]
    definition["pre_tokenizer"] = {
        "type": "Split",
        "pattern": {"String": " "},
        "behavior": "MergedWithPrevious",
        "invert": False,
    }
    return tokenizers.Tokenizer.from_str(json.dumps(definition))


def write_folder(
    folder: Path, model: tuple[str, dict[str, Any]], backend: tokenizers.Tokenizer, **settings: str
) -> None:
    """A tiny random model of transformers with a tokenizer, as a folder."""
    kind, config = model
    common = {"vocab_size": backend.get_vocab_size(), "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": None}
    random_model(kind, {**config, **common}).save_pretrained(folder)
    backend.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", **settings})
    )


def require_same_text(folder: Path, path: Path) -> None:
    """Export a folder, and hold what llama.cpp makes of the file to what we make of the folder."""
    nw.export(folder, output=path)
    command = [sys.executable, "-m", "tests.peers.run_llama_cpp", str(path), PROMPT, str(NUM_TOKENS)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", cwd=ROOT)
    assert done.returncode == 0, done.stderr[-2000:]
    prompt, continuation, margins = json.loads(done.stdout.splitlines()[-1])
    for model in (nw.load(folder, weights="f32"), nw.load(path, weights="f32")):
        assert model.tokenizer.encode(PROMPT) == prompt
        tokens = list(prompt)
        for _ in range(NUM_TOKENS):
            tokens.append(model.engine.next_distribution(tokens).table(1).rows[0].token_id)
        clear = next((place for place, margin in enumerate(margins) if margin < CLEAR), NUM_TOKENS)
        assert tokens[len(prompt) :][:clear] == continuation[:clear]
        assert clear > 3, margins


@pytest.mark.parametrize("name", BYTE_LEVEL)
def test_llama_cpp_continues_as_we_do_with_byte_level_tokens(name: str, tmp_path: Path) -> None:
    write_folder(tmp_path / "model", BYTE_LEVEL[name], byte_level_backend(), eos_token="<|end|>")
    require_same_text(tmp_path / "model", tmp_path / "x.gguf")


@pytest.mark.parametrize("name", PIECES)
def test_llama_cpp_continues_as_we_do_with_pieces(name: str, tmp_path: Path) -> None:
    backend = gemma_backend() if name.startswith("gemma") else piece_backend()
    write_folder(tmp_path / "model", PIECES[name], backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    require_same_text(tmp_path / "model", tmp_path / "x.gguf")


def other_form(tensors: Mapping[str, StoredTensor]) -> dict[str, StoredTensor]:
    """Queries, keys and values in one tensor where they are three, or the reverse, as llama.cpp reads both."""
    changed = dict(tensors)
    for name in tensors:
        stem, _, kind = name.rpartition(".")
        if stem.endswith(".attn_q"):
            names = [f"{stem.removesuffix('q')}{letter}.{kind}" for letter in "qkv"]
            changed[f"{stem}kv.{kind}"] = join_rows(f"{stem}kv.{kind}", [changed.pop(one) for one in names])
        elif stem.endswith(".attn_qkv"):
            whole, rows = changed.pop(name), 64
            ends = {"q": slice(rows), "k": slice(rows, -rows // 2), "v": slice(-rows // 2, None)}
            changed |= {
                part: whole.take_rows(ends[letter]).renamed(part)
                for letter in "qkv"
                for part in [f"{stem.removesuffix('qkv')}{letter}.{kind}"]
            }
    return changed


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("glm", {"head_dim": 16, "attention_bias": True, "intermediate_size": 112}),
        ("llama", {"tie_word_embeddings": True}),
        ("qwen2", {}),
        ("phi3", {"sliding_window": None, "num_hidden_layers": 2}),
    ],
)
def test_queries_keys_and_values_are_read_as_one_tensor_or_as_three(
    kind: str, settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "gguf_tensors", lambda config, tensors: other_form(gguf_tensors(config, tensors)))
    write_folder(tmp_path / "model", (kind, {**SIZES, **settings}), byte_level_backend(), eos_token="<|end|>")
    require_same_text(tmp_path / "model", tmp_path / "x.gguf")

"""Rules by which byte-level vocabularies cut texts into words, by their names in GGUF: the tokens of llama.cpp."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

if importlib.util.find_spec("xllamacpp") is None:
    pytest.skip("llama.cpp comes in the package xllamacpp", allow_module_level=True)

from nextword.checkpoints.open_directory import open_tokenizer
from nextword.text.pre_tokenizers import RULES_BY_NAME

pytestmark = [pytest.mark.peer, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
NAMES = list({rules: name for name, rules in reversed(RULES_BY_NAME.items()) if name != "gpt2"}.values())
"""One name of each group of rules."""
TEXTS = (
    "It's 1234 cats, A'S don't WE'LL they'RE 'tis  x   y\n\n z \t\t q",
    "1234567 3.14159 1,000,000 \u00bd x\u00b2 \u2177",
    "\u6f22\u5b57\u304b\u306a and \ud55c\uad6d\uc5b4 \u30ab\u30bf\u30ab\u30ca, \u00e9t\u00e9 na\u00efve \u03a9mega",
    "def f(x):\n    return {'a': [x**2 for _ in range(10)]}  # note",
    '$$ ++ <= >= ^^ ~~ || `` "quoted" (brackets) [x] {y}',
    " a leading space and trailing   ",
    "http://a.b/c?d=e&f=1 CamelCaseWords snake_case ALLCAPS",
    "\U0001f469\u200d\U0001f466 family, \u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627",
    "\r\n\r\n a\r\nx\u00a0y\u2003z\u200b",
)
RUN_LLAMA_CPP = """
import json, sys
from tests.peers.run_llama_cpp import Model
model = Model(sys.argv[1])
print("TOKENS", json.dumps([model.tokenize(text).tolist() for text in json.loads(sys.argv[2])]))
"""


@pytest.fixture(scope="module")
def vocabulary() -> dict[str, Any]:
    """Tokens and merges that cross every border of words."""
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    backend.train_from_iterator(
        [text for text in TEXTS for _ in range(3)],
        trainers.BpeTrainer(vocab_size=900, initial_alphabet=alphabet, show_progress=False),
    )
    model: dict[str, Any] = json.loads(backend.to_str())["model"]
    return model


@pytest.mark.parametrize("name", NAMES)
def test_a_name_gives_the_tokens_of_llama_cpp(name: str, vocabulary: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    _write(path, name, vocabulary)
    command = [sys.executable, "-c", RUN_LLAMA_CPP, str(path), json.dumps(TEXTS)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", cwd=ROOT)
    line = next((line for line in done.stdout.splitlines() if line.startswith("TOKENS ")), None)
    assert line is not None, done.stderr[-2000:]
    tokenizer = open_tokenizer(path)
    for text, expected in zip(TEXTS, json.loads(line.removeprefix("TOKENS ")), strict=True):
        assert tokenizer.encode(text) == expected, text


def _write(path: Path, name: str, vocabulary: dict[str, Any]) -> None:
    """A model of one layer: llama.cpp makes contexts of nothing less."""
    tokens = sorted(vocabulary["vocab"], key=vocabulary["vocab"].__getitem__)
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_block_count(1)
    writer.add_feed_forward_length(32)
    writer.add_head_count(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(name)
    writer.add_token_list(tokens)
    writer.add_token_types([1] * len(tokens))
    writer.add_token_merges([" ".join(pair) for pair in vocabulary["merges"]])
    writer.add_add_bos_token(False)
    writer.add_eos_token_id(0)
    writer.add_tensor("token_embd.weight", np.zeros((len(tokens), 32), np.float32))
    for norm in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
        writer.add_tensor(f"{norm}.weight", np.ones(32, np.float32))
    for matrix in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"):
        writer.add_tensor(f"blk.0.{matrix}.weight", np.zeros((32, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

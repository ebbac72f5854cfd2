"""GGUF files of every architecture: our logits from the file are those of the model that the file was written from.

That the files are as llama.cpp wants them is shown by a build of llama.cpp, which opens them and agrees.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("gguf")

from nextword.checkpoints.open_directory import open_model_directory  # noqa: E402
from nextword.models.build import build_transformer  # noqa: E402
from nextword.models.rope import Llama3Scaling, LongRopeScaling  # noqa: E402
from tests.peers.test_families import largest_difference, prompts, random_model  # noqa: E402
from tests.peers.write_gguf import write_gguf  # noqa: E402

pytestmark = pytest.mark.peer

TOLERANCE = 1e-4
LLAMA_CPP_TOLERANCE = 0.01
"""It computes GELU from a table in half precision and keeps keys and values so."""

SIZES = {
    "vocab_size": 99,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": None,
    "attn_implementation": "eager",
}
GEMMA = {**SIZES, "head_dim": 32, "query_pre_attn_scalar": 32, "sliding_window": 9, "num_hidden_layers": 7}
GPT2 = {"vocab_size": 99, "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 64, "attn_implementation": "eager"}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 32.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
GRANITE = {
    **SIZES,
    "embedding_multiplier": 3.0,
    "attention_multiplier": 0.1,
    "residual_multiplier": 0.6,
    "logits_scaling": 1.7,
}
HALF_ROTATED = {"rope_type": "default", "rope_theta": 500.0, "partial_rotary_factor": 0.5}
OLMO3_ROPE = {
    "full_attention": {
        "rope_type": "yarn",
        "rope_theta": 5000.0,
        "factor": 4.0,
        "original_max_position_embeddings": 16,
    },
    "sliding_attention": {"rope_type": "default", "rope_theta": 5000.0},
}
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("gpt2", GPT2),
    "gpt_neox": ("gpt_neox", {name: value for name, value in SIZES.items() if name != "num_key_value_heads"}),
    "llama": ("llama", SIZES),
    "llama-tied": ("llama", {**SIZES, "tie_word_embeddings": True}),
    "llama3": ("llama", {**SIZES, "rope_parameters": LLAMA3}),
    "llama3-unusual": ("llama", {**SIZES, "rope_parameters": {**LLAMA3, "original_max_position_embeddings": 32}}),
    "qwen2": ("qwen2", SIZES),
    "qwen3": ("qwen3", {**SIZES, "head_dim": 32}),
    "gemma2": ("gemma2", {**GEMMA, "num_hidden_layers": 26}),
    "gemma3": ("gemma3_text", GEMMA),
    "olmo2": ("olmo2", SIZES),
    "phi3": ("phi3", {**SIZES, "sliding_window": 9}),
    "smollm3": ("smollm3", {**SIZES, "num_hidden_layers": 4}),
    "arcee": ("arcee", SIZES),
    "cohere": ("cohere", SIZES),
    "cohere2": ("cohere2", {**SIZES, "num_hidden_layers": 5, "sliding_window": 9}),
    "ernie4_5": ("ernie4_5", {**SIZES, "head_dim": 32}),
    "exaone4": ("exaone4", {**SIZES, "head_dim": 16, "sliding_window": None, "layer_types": ["full_attention"] * 3}),
    "exaone4-sliding": ("exaone4", {**SIZES, "head_dim": 16, "num_hidden_layers": 64, "sliding_window": 9}),
    "gemma": ("gemma", {**SIZES, "head_dim": 32}),
    "glm": ("glm", {**SIZES, "head_dim": 16, "rope_parameters": HALF_ROTATED}),
    "glm4": ("glm4", {**SIZES, "head_dim": 32, "rope_parameters": HALF_ROTATED}),
    "gpt_bigcode": ("gpt_bigcode", GPT2),
    "granite": ("granite", GRANITE),
    "granitemoehybrid": (
        "granitemoehybrid",
        {
            **GRANITE,
            "num_local_experts": 0,
            "shared_intermediate_size": SIZES["intermediate_size"],
            "layer_types": ["full_attention"] * 3,
            "position_embedding_type": "rope",
        },
    ),
    "granitemoe": (
        "granitemoe",
        {
            **SIZES,
            "num_local_experts": 5,
            "embedding_multiplier": 3.0,
            "attention_multiplier": 0.1,
            "residual_multiplier": 0.6,
            "logits_scaling": 1.7,
        },
    ),
    "nemotron": ("nemotron", SIZES),
    "olmo": ("olmo", {**SIZES, "clip_qkv": 0.8}),
    "phi": ("phi", {name: value for name, value in SIZES.items() if name != "num_key_value_heads"}),
    "stablelm": ("stablelm", SIZES),
    "stablelm-parallel": ("stablelm", {**SIZES, "use_parallel_residual": True, "use_qkv_bias": True}),
    "olmo3": ("olmo3", {**SIZES, "num_hidden_layers": 5, "sliding_window": 9, "rope_parameters": OLMO3_ROPE}),
    "seed_oss": ("seed_oss", {**SIZES, "head_dim": 32}),
    "starcoder2": ("starcoder2", SIZES),
    "mixtral": ("mixtral", {**SIZES, "num_local_experts": 5}),
    "olmoe": ("olmoe", {**SIZES, "num_key_value_heads": 4, "num_experts": 8, "num_experts_per_tok": 3}),
    "qwen2_moe": (
        "qwen2_moe",
        {
            **SIZES,
            "num_experts": 8,
            "num_experts_per_tok": 3,
            "moe_intermediate_size": 32,
            "shared_expert_intermediate_size": 96,
        },
    ),
    "qwen3_moe": (
        "qwen3_moe",
        {
            **SIZES,
            "head_dim": 32,
            "num_experts": 8,
            "num_experts_per_tok": 3,
            "moe_intermediate_size": 32,
            "norm_topk_prob": True,
        },
    ),
}
NOT_IN_LLAMA_CPP = {"phi3": "llama.cpp ignores the sliding window of this family; transformers is the judge"}
RUN_LLAMA_CPP = """
import json, sys
import numpy as np
from tests.peers.run_llama_cpp import Model
path, token_ids = json.loads(sys.argv[1])
logits = Model(path).logits(np.array(token_ids, dtype=np.int32), num_logits=1)
print("LOGITS", json.dumps(logits[0].tolist()))
"""


@pytest.fixture(scope="module", params=VARIANTS)
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """A tiny random model of transformers, and the GGUF file of it."""
    model = random_model(*VARIANTS[request.param])
    path = tmp_path_factory.mktemp("gguf") / f"{request.param}.gguf"
    write_gguf(path, model)
    return model, path


def logits_of_file(path: Path, token_ids: Any) -> Any:
    directory = open_model_directory(path)
    with torch.inference_mode():
        return build_transformer(directory.config, directory.tensors)(token_ids)


def test_a_file_gives_the_logits_of_the_model_it_was_written_from(written: tuple[Any, Path]) -> None:
    model, path = written
    token_ids = prompts(2)
    with torch.inference_mode():
        assert largest_difference(logits_of_file(path, token_ids), model(token_ids).logits) < TOLERANCE


@pytest.mark.slow
def test_llama_cpp_opens_the_file_and_agrees(written: tuple[Any, Path]) -> None:
    pytest.importorskip("xllamacpp")
    _, path = written
    if path.stem in NOT_IN_LLAMA_CPP:
        pytest.skip(NOT_IN_LLAMA_CPP[path.stem])
    token_ids = prompts(1, 20)
    command = [sys.executable, "-c", RUN_LLAMA_CPP, json.dumps([str(path), token_ids[0].tolist()])]
    process = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    line = next((line for line in process.stdout.splitlines() if line.startswith("LOGITS ")), None)
    assert line is not None, process.stderr[-2000:]
    theirs = torch.tensor(json.loads(line.removeprefix("LOGITS ")))
    ours = logits_of_file(path, token_ids)[0, -1]
    assert largest_difference(ours, theirs) < LLAMA_CPP_TOLERANCE * float(ours.abs().max())


@pytest.mark.parametrize(("name", "kind"), [("llama3", Llama3Scaling), ("llama3-unusual", LongRopeScaling)])
def test_published_scaling_is_recognised_from_its_divisors(name: str, kind: type, tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    write_gguf(path, random_model(*VARIANTS[name]))
    rope = open_model_directory(path).config.rope
    assert rope is not None
    assert isinstance(rope.scaling, kind)

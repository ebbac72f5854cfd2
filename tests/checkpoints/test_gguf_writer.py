"""GGUF files that we write: what comes back, what is refused; llama.cpp writes the same text from them."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nextword.checkpoints.catalogue import CATALOGUE, is_pulled, resolve
from nextword.checkpoints.gguf.reader import read_gguf
from nextword.checkpoints.gguf.writer import GGUFWeights, save_gguf
from nextword.checkpoints.model_directory import ModelDirectory
from nextword.checkpoints.open_directory import open_model_directory
from nextword.checkpoints.save_directory import save_opened
from nextword.errors import CheckpointError
from nextword.loading import load
from nextword.models.config import ModelConfig
from nextword.models.experts import Experts
from nextword.models.rope import Llama3Scaling, LongRopeScaling, Rope, YarnScaling
from nextword.models.stored_tensor import FloatDtype, StoredTensor
from nextword.models.weights import weight_shapes
from nextword.text.tokenizer import Tokenizer
from nextword.text.train_tokenizer import train_tokenizer

TEXT = ["Down by the river 42 geese ran, and ran: don't ask why!\n"] * 3
TOKENIZER = train_tokenizer(TEXT, vocab_size=300)
LLAMA3 = Llama3Scaling(factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_seq_len=8192)
SIZES: dict[str, Any] = {
    "vocab_size": 320,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_layers": 2,
    "num_heads": 2,
    "num_kv_heads": 1,
    "head_dim": 32,
    "max_seq_len": 64,
    "norm_eps": 1e-5,
    "attention_scale": 32**-0.5,
    "rope": Rope(theta=10_000.0, rotary_dim=32),
    "is_tied": True,
}
EXPERTS = Experts(count=6, per_token=2, intermediate_size=96, layers=(0, 1), is_normalized=True)
CONFIGS = {
    "mixtral": ModelConfig(family="mixtral", **SIZES, experts=EXPERTS),
    "olmoe": ModelConfig(
        family="olmoe",
        **{**SIZES, "is_tied": False, "qk_norm": "all_heads"},
        experts=dataclasses.replace(EXPERTS, is_normalized=False),
    ),
    "qwen3_moe": ModelConfig(
        family="qwen3_moe", **SIZES, qk_norm="per_head", experts=dataclasses.replace(EXPERTS, intermediate_size=32)
    ),
    "llama": ModelConfig(family="llama", **SIZES),
    "llama-untied-biases": ModelConfig(
        family="llama", **{**SIZES, "is_tied": False, "qkv_bias": True, "attention_out_bias": True}
    ),
    "llama3": ModelConfig(family="llama", **{**SIZES, "rope": Rope(theta=5e5, rotary_dim=32, scaling=LLAMA3)}),
    "qwen2": ModelConfig(family="qwen2", **{**SIZES, "qkv_bias": True}),
    "qwen3": ModelConfig(family="qwen3", **{**SIZES, "qk_norm": "per_head"}),
    "gpt2": ModelConfig(
        family="gpt2",
        **{**SIZES, "num_kv_heads": 2, "rope": None},
        norm="layer",
        activation="gelu_tanh",
        is_gated=False,
        qkv_bias=True,
        attention_out_bias=True,
        mlp_bias=True,
    ),
}


def random_directory(
    config: ModelConfig, dtype: FloatDtype = "F32", tokenizer: Tokenizer = TOKENIZER
) -> ModelDirectory:
    random = np.random.default_rng(3)
    tensors = {
        name: StoredTensor(name, "F32", shape, random.standard_normal(shape).astype(np.float32)).encoded_as(dtype)
        for name, shape in weight_shapes(config).items()
    }
    return ModelDirectory(
        path=Path("random"),
        format="hf",
        config=config,
        tensors=tensors,
        load_tokenizer=lambda: tokenizer,
        generation_defaults={},
        license="mit",
        size_bytes=0,
    )


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("weights", ["f32", "f16", "bf16"])
def test_floats_come_back_exactly(name: str, weights: GGUFWeights, tmp_path: Path) -> None:
    dtypes: dict[str, FloatDtype] = {"f32": "F32", "f16": "F16", "bf16": "BF16"}
    directory = random_directory(CONFIGS[name], dtypes[weights])
    save_gguf(tmp_path / "x.gguf", directory, weights=weights)
    back = open_model_directory(tmp_path / "x.gguf")
    assert back.config.rope == directory.config.rope
    assert back.license == "mit"
    for tensor_name, tensor in directory.tensors.items():
        assert np.array_equal(back.tensors[tensor_name].to_float32(), tensor.to_float32()), tensor_name


@pytest.mark.parametrize("weights", ["q8", "q4"])
def test_blocks_are_near_the_floats_and_the_head_has_8_bits(weights: GGUFWeights, tmp_path: Path) -> None:
    directory = random_directory(CONFIGS["llama"])
    save_gguf(tmp_path / "x.gguf", directory, weights=weights)
    back = open_model_directory(tmp_path / "x.gguf").tensors
    assert back["embedding.weight"].dtype == "Q8_0"
    assert back["layers.0.mlp.up_proj.weight"].dtype == {"q8": "Q8_0", "q4": "Q4_1"}[weights]
    for name, tensor in directory.tensors.items():
        far = np.abs(back[name].to_float32() - tensor.to_float32()).max()
        assert far < {"q8": 0.02, "q4": 0.3}[weights], name


def test_blocks_of_a_quantised_model_stay_as_they_are(tmp_path: Path) -> None:
    save_gguf(tmp_path / "first.gguf", random_directory(CONFIGS["llama"]), weights="q4")
    save_gguf(tmp_path / "second.gguf", open_model_directory(tmp_path / "first.gguf"))
    first, second = (read_gguf(tmp_path / f"{name}.gguf").tensors for name in ("first", "second"))
    assert list(first) == list(second)
    assert all(np.array_equal(first[name].data, second[name].data) for name in first)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 1e7, -1e9, 3e38])
@pytest.mark.parametrize(("weights", "kind"), [("q8", "Q8_0"), ("q4", "Q4_1")])
def test_a_number_that_no_block_holds_is_refused_by_name(
    weights: GGUFWeights, kind: str, value: float, tmp_path: Path
) -> None:
    directory = random_directory(CONFIGS["llama"])
    directory.tensors["layers.1.mlp.up_proj.weight"].data[5, 40] = value
    with pytest.raises(CheckpointError) as caught:
        save_gguf(tmp_path / "x.gguf", directory, weights=weights)
    assert str(caught.value) == (
        "tensor blk.1.ffn_up.weight: has numbers that are infinite, NaN or too large for blocks of "
        f"{kind}; export with weights f32"
    )
    assert list(tmp_path.iterdir()) == []
    save_gguf(tmp_path / "x.gguf", directory, weights="f32")


def test_a_matrix_too_narrow_for_blocks_is_stored_in_half_precision(tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIGS["llama"], intermediate_size=40)
    assert save_gguf(tmp_path / "x.gguf", random_directory(config), weights="q8") == "q8, f16"
    tensors = open_model_directory(tmp_path / "x.gguf").tensors
    assert tensors["layers.0.mlp.down_proj.weight"].dtype == "F16"


def test_what_was_written_in_place_of_blocks_is_said(tmp_path: Path) -> None:
    narrow = dataclasses.replace(
        CONFIGS["gpt2"], hidden_size=40, intermediate_size=40, head_dim=20, attention_scale=20**-0.5
    )
    assert save_gguf(tmp_path / "x.gguf", random_directory(narrow), weights="q4") == "f16"
    assert save_gguf(tmp_path / "y.gguf", random_directory(CONFIGS["mixtral"]), weights="q4") == "q4"


def test_a_tokenizer_of_our_own_training_comes_back(tmp_path: Path) -> None:
    save_gguf(tmp_path / "x.gguf", random_directory(CONFIGS["llama"]))
    back = open_model_directory(tmp_path / "x.gguf").tokenizer
    for text in (*TEXT, "geese  ½ 1234 <|endoftext|>\n\n\tran 雨"):
        assert back.encode(text) == TOKENIZER.encode(text)
    assert back.chat_template == TOKENIZER.chat_template
    assert back.eos_token_ids[0] == TOKENIZER.eos_token_ids[0]
    chat = [{"role": "user", "content": "hello"}]
    assert back.encode_chat(chat) == TOKENIZER.encode_chat(chat)


def test_experts_are_stored_in_blocks_and_their_router_in_floats(tmp_path: Path) -> None:
    save_gguf(tmp_path / "x.gguf", random_directory(CONFIGS["mixtral"]), weights="q4")
    file = read_gguf(tmp_path / "x.gguf").tensors
    assert file["blk.1.ffn_gate_inp.weight"].dtype == "F32"
    assert (file["blk.1.ffn_up_exps.weight"].dtype, file["blk.1.ffn_up_exps.weight"].shape) == ("Q4_1", (6, 96, 64))
    save_gguf(tmp_path / "copy.gguf", open_model_directory(tmp_path / "x.gguf"))
    copy = read_gguf(tmp_path / "copy.gguf").tensors
    assert all(np.array_equal(file[name].data, copy[name].data) for name in file)


@pytest.mark.parametrize("key", ["expert_count", "expert_used_count", "expert_feed_forward_length"])
def test_a_file_that_does_not_say_how_many_experts_is_refused(key: str, tmp_path: Path) -> None:
    """The defaults of config.json would be taken for its numbers."""
    save_gguf(tmp_path / "x.gguf", random_directory(CONFIGS["qwen3_moe"]))
    whole = (tmp_path / "x.gguf").read_bytes()
    name = f"qwen3moe.{key}".encode()
    (tmp_path / "x.gguf").write_bytes(whole.replace(name, name[:-1] + b"_"))
    with pytest.raises(CheckpointError, match="is 0; expected a number from 1"):
        open_model_directory(tmp_path / "x.gguf")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            dataclasses.replace(CONFIGS["qwen3_moe"], experts=dataclasses.replace(EXPERTS, layers=(1,))),
            "(missing|cannot express experts)",
        ),
        (
            dataclasses.replace(CONFIGS["olmoe"], experts=EXPERTS),
            "cannot express experts",
        ),
        (dataclasses.replace(CONFIGS["llama"], activation="relu"), "GGUF cannot express activation = 'relu'"),
        (dataclasses.replace(CONFIGS["llama"], attention_scale=1.0), "GGUF cannot express attention_scale"),
        (dataclasses.replace(CONFIGS["qwen2"], sliding_window=4, sliding_layers=(0,)), "cannot express sliding_window"),
        (
            dataclasses.replace(
                CONFIGS["llama"],
                rope=Rope(
                    theta=1e4,
                    rotary_dim=32,
                    scaling=YarnScaling(factor=4.0, original_max_seq_len=16, truncate=False),
                ),
            ),
            "cannot express rope",
        ),
        (dataclasses.replace(CONFIGS["llama"], family="olmo2"), "cannot express norm_placement = 'pre' of a olmo2"),
        (dataclasses.replace(CONFIGS["llama"], vocab_size=200), "they do not fit"),
    ],
)
def test_what_the_file_could_not_say_is_refused(config: ModelConfig, message: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=message):
        save_gguf(tmp_path / "x.gguf", random_directory(config))
    assert not (tmp_path / "x.gguf").exists()


def test_what_a_folder_could_not_say_is_refused(tmp_path: Path) -> None:
    scaling = LongRopeScaling(
        short_factors=(4.0,) * 16, long_factors=(4.0,) * 16, original_max_seq_len=64, attention_factor=1.5
    )
    config = dataclasses.replace(CONFIGS["llama"], rope=Rope(theta=1e4, rotary_dim=32, scaling=scaling))
    with pytest.raises(CheckpointError, match=r"config\.json of a llama model cannot express rope"):
        save_opened(tmp_path / "x", random_directory(config))
    assert not (tmp_path / "x").exists()


def test_a_tokenizer_of_characters_is_refused(tmp_path: Path) -> None:
    characters = train_tokenizer(TEXT, vocab_size=100, kind="characters")
    with pytest.raises(CheckpointError, match="neither byte-level BPE nor BPE of pieces and bytes"):
        save_gguf(tmp_path / "x.gguf", random_directory(CONFIGS["llama"], tokenizer=characters))


RUN_LLAMA_CPP = """
import json, sys
from ik_llama_cpp import IkLlama
llama = IkLlama(sys.argv[1], n_ctx=128, n_threads=1, flash_attn=False, verbose=False)
tokens = llama.tokenize(sys.argv[2], add_bos=False)
print("RESULT", json.dumps([tokens, llama.detokenize(llama.generate(tokens, max_tokens=12))]))
"""


PROMPT = "The capital of France is"


def of_llama_cpp(path: Path) -> tuple[list[int], str]:
    """The tokens of the prompt, and what llama.cpp writes after it."""
    done = subprocess.run([sys.executable, "-c", RUN_LLAMA_CPP, str(path), PROMPT], capture_output=True, text=True)
    line = next((line for line in done.stdout.splitlines() if line.startswith("RESULT ")), None)
    assert line is not None, done.stderr[-2000:]
    token_ids, text = json.loads(line.removeprefix("RESULT "))
    return token_ids, text


@pytest.fixture
def smollm2() -> Path:
    pytest.importorskip("ik_llama_cpp")
    if not is_pulled(CATALOGUE["smollm2-135m"]):
        pytest.skip("smollm2-135m is not in the cache: nextword pull smollm2-135m")
    return resolve("smollm2-135m")


@pytest.mark.slow
@pytest.mark.model
@pytest.mark.peer
@pytest.mark.parametrize("weights", ["q8", "f16"])
def test_llama_cpp_writes_our_text(smollm2: Path, weights: GGUFWeights, tmp_path: Path) -> None:
    path = tmp_path / "smollm2.gguf"
    save_gguf(path, open_model_directory(smollm2), weights=weights)
    model = load(path)
    token_ids, text = of_llama_cpp(path)
    assert model.tokenizer.encode(PROMPT) == token_ids
    assert model.generate(PROMPT, temperature=0, max_tokens=12).text == text


@pytest.mark.slow
@pytest.mark.model
@pytest.mark.peer
def test_llama_cpp_writes_the_same_from_a_quantised_file_and_its_copy(smollm2: Path, tmp_path: Path) -> None:
    """On 4 bits it rounds the activations, too, and comes to another text than we do."""
    save_gguf(tmp_path / "copy.gguf", open_model_directory(smollm2))
    assert of_llama_cpp(tmp_path / "copy.gguf") == of_llama_cpp(smollm2)

"""GGUF metadata: it means what config.json would say, and what is missing or contradicts itself is refused by key."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from nextword.checkpoints.open_directory import open_model_directory
from nextword.errors import CheckpointError
from nextword.models.config import ModelConfig
from nextword.models.families import FAMILIES
from nextword.models.families.fields import ConfigFields
from nextword.models.rope import LinearScaling, LongRopeScaling, RopeScaling, YarnScaling
from tests.checkpoints.tiny_folder import TINY_LLAMA

Weights = dict[str, np.ndarray[Any, np.dtype[np.float32]]]

METADATA: dict[str, Any] = {
    "llama.vocab_size": 11,
    "llama.context_length": 32,
    "llama.embedding_length": 8,
    "llama.feed_forward_length": 12,
    "llama.block_count": 2,
    "llama.attention.head_count": 2,
    "llama.attention.head_count_kv": 1,
    "llama.attention.layer_norm_rms_epsilon": 1e-5,
    "llama.rope.freq_base": 10000.0,
    "llama.rope.dimension_count": 4,
}
"""Of the tiny Llama that the tests of folders use."""


def tiny_weights() -> Weights:
    """Zeros in the shapes of that Llama, by the names of GGUF."""
    shapes: dict[str, tuple[int, ...]] = {"token_embd.weight": (11, 8), "output_norm.weight": (8,)}
    for layer in range(2):
        stem = f"blk.{layer}."
        shapes |= {stem + f"{name}_norm.weight": (8,) for name in ("attn", "ffn")}
        shapes |= {stem + f"attn_{name}.weight": (8, 8) for name in ("q", "output")}
        shapes |= {stem + f"attn_{name}.weight": (4, 8) for name in "kv"}
        shapes |= {stem + f"ffn_{name}.weight": (12, 8) for name in ("gate", "up")}
        shapes[stem + "ffn_down.weight"] = (8, 12)
    return {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}


def write_tiny(
    folder: Path, changes: dict[str, Any] | None = None, weights: Weights | None = None, architecture: str = "llama"
) -> Path:
    """A GGUF file without a vocabulary; `changes` add to or replace metadata, None leaves a key out."""
    path = folder / "tiny.gguf"
    writer = gguf.GGUFWriter(str(path), architecture)
    for key, value in {**METADATA, **(changes or {})}.items():
        match value:
            case None:
                continue
            case bool():
                writer.add_bool(key, value)
            case int():
                writer.add_uint32(key, value) if value >= 0 else writer.add_int32(key, value)
            case float():
                writer.add_float32(key, value)
            case str():
                writer.add_string(key, value)
            case _:
                writer.add_array(key, value)
    for name, values in (tiny_weights() if weights is None else weights).items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def config_of_file(folder: Path, changes: dict[str, Any] | None = None, weights: Weights | None = None) -> ModelConfig:
    return open_model_directory(write_tiny(folder, changes, weights)).config


def refusal(path: Path) -> str:
    """The message with which a file is refused, held to one line that begins with the file."""
    with pytest.raises(CheckpointError) as caught:
        open_model_directory(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


def test_metadata_means_what_config_json_says(tmp_path: Path) -> None:
    from_folder = FAMILIES["llama"].config_from_hf(ConfigFields(TINY_LLAMA, "config.json"))
    from_file = config_of_file(tmp_path)
    assert from_file.norm_eps == pytest.approx(from_folder.norm_eps, rel=1e-6)  # float32 in the file
    assert from_file == ModelConfig(**{**vars(from_folder), "norm_eps": from_file.norm_eps})


@pytest.mark.parametrize(
    "key",
    [
        "llama.context_length",
        "llama.embedding_length",
        "llama.feed_forward_length",
        "llama.block_count",
        "llama.attention.head_count",
        "llama.attention.layer_norm_rms_epsilon",
    ],
)
def test_a_missing_key_is_named(key: str, tmp_path: Path) -> None:
    assert f"{key} is missing; expected" in refusal(write_tiny(tmp_path, {key: None}))


def test_an_unknown_architecture_is_refused_with_those_that_are_known(tmp_path: Path) -> None:
    message = refusal(write_tiny(tmp_path, architecture="mamba"))
    assert "general.architecture is 'mamba'; expected one of " in message
    assert "llama" in message


BAD_METADATA: dict[str, tuple[dict[str, Any], str]] = {
    "size as text": ({"llama.embedding_length": "8"}, "llama.embedding_length is '8'; expected a whole number"),
    "size as fraction": ({"llama.block_count": 2.0}, "llama.block_count is 2.0; expected a whole number"),
    "size as truth": ({"llama.block_count": True}, "llama.block_count is True; expected a whole number"),
    "size below zero": ({"llama.context_length": -1}, "llama.context_length is -1; expected a whole number"),
    "size of zero": ({"llama.attention.head_count": 0}, "llama.attention.head_count is 0; expected a positive"),
    "layers that differ": ({"llama.attention.head_count": [2, 4]}, r"head_count is \[2, 4\]; expected .*all layers"),
    "a billion layers": ({"llama.block_count": 10**9}, "1000000000"),
    "heads that do not divide": ({"llama.attention.head_count": 3}, "embedding_length is 8; expected a multiple"),
    "uneven groups": ({"llama.attention.head_count_kv": 3}, "num_heads = 2 must be a multiple"),
    "values unlike keys": ({"llama.attention.value_length": 6}, "value_length is 6; expected 4, the length of keys"),
    "epsilon as text": ({"llama.attention.layer_norm_rms_epsilon": "small"}, "'small'; expected a finite number"),
    "epsilon of zero": ({"llama.attention.layer_norm_rms_epsilon": 0.0}, "norm_eps must be a positive number"),
    "infinite rope base": ({"llama.rope.freq_base": math.inf}, "freq_base is inf; expected a finite number"),
    "rope base of one": ({"llama.rope.freq_base": 1.0}, "rope theta"),
    "more rotated than there is": ({"llama.rope.dimension_count": 6}, "dimension_count is 6; expected at most 4"),
    "part of a head rotated": ({"llama.rope.dimension_count": 2}, "partial_rotary_factor is 0.5.*; expected 1.0"),
    "unknown scaling": ({"llama.rope.scaling.type": "dynamic"}, "scaling.type is 'dynamic'; expected none, linear"),
    "scaling without factor": ({"llama.rope.scaling.type": "linear"}, "rope.scaling.factor is missing"),
    "scaling by nothing": ({"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 0.0}, "factor is 0.0"),
    "longrope without factors": ({"llama.rope.scaling.type": "longrope"}, "longrope with its tensors"),
}


@pytest.mark.parametrize("name", BAD_METADATA)
def test_metadata_that_cannot_be_is_refused(name: str, tmp_path: Path) -> None:
    changes, expected = BAD_METADATA[name]
    assert re.search(expected, refusal(write_tiny(tmp_path, changes)))


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"llama.embedding_length": 16, "llama.attention.key_length": 4}, "token_embd.weight"),
        ({"llama.vocab_size": 12}, "token_embd.weight"),
        ({"llama.feed_forward_length": 13}, "blk.0.ffn_"),
        ({"llama.attention.head_count_kv": 2}, "blk.0.attn_k.weight"),
        ({"llama.attention.head_count": 4, "llama.attention.key_length": 4}, "blk.0.attn_q.weight"),
        ({"llama.block_count": 3}, "blk.2."),
        ({"llama.block_count": 1}, "blk.1."),
    ],
)
def test_shapes_that_contradict_the_metadata_are_refused_by_tensor(
    changes: dict[str, Any], name: str, tmp_path: Path
) -> None:
    assert name in refusal(write_tiny(tmp_path, changes))


def test_a_file_without_an_embedding_is_refused(tmp_path: Path) -> None:
    weights = tiny_weights()
    del weights["token_embd.weight"]
    assert "tensor token_embd.weight is missing" in refusal(write_tiny(tmp_path, weights=weights))


def stretched(kind: str, factor: float, **more: Any) -> dict[str, Any]:
    settings = {"type": kind, "factor": factor, **more}
    return {f"llama.rope.scaling.{name}": value for name, value in settings.items()}


YARN = {"factor": 4.0, "original_max_seq_len": 8}
TEMPERATURE = 0.1 * math.log(4) + 1  # YaRN, equation 22


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"llama.rope.scaling.type": "none"}, None),
        (stretched("linear", 4.0), LinearScaling(factor=4.0)),
        ({"llama.rope.scale_linear": 4.0}, LinearScaling(factor=4.0)),
        (
            stretched("yarn", 4.0, original_context_length=8),
            YarnScaling(**YARN, attention_factor=TEMPERATURE),  # type: ignore[arg-type]
        ),
        (
            stretched("yarn", 4.0, original_context_length=8, attn_factor=0.5),
            YarnScaling(**YARN, attention_factor=TEMPERATURE / 2),  # type: ignore[arg-type]
        ),
    ],
    ids=["none", "linear", "linear-old-key", "yarn", "yarn-factor"],
)
def test_scaling_by_settings(changes: dict[str, Any], expected: RopeScaling | None, tmp_path: Path) -> None:
    rope = config_of_file(tmp_path, changes).rope
    assert rope is not None
    assert rope.scaling == expected


def with_factors(**factors: list[float]) -> Weights:
    return tiny_weights() | {f"{name}.weight": np.array(values, np.float32) for name, values in factors.items()}


def test_longrope_takes_its_factors_from_tensors(tmp_path: Path) -> None:
    changes = {"llama.rope.scaling.original_context_length": 8, "llama.rope.scaling.attn_factor": 1.25}
    weights = with_factors(rope_factors_short=[1.0, 1.5], rope_factors_long=[2.0, 4.0])
    rope = config_of_file(tmp_path, changes, weights).rope
    assert rope is not None
    assert rope.scaling == LongRopeScaling(
        short_factors=(1.0, 1.5), long_factors=(2.0, 4.0), original_max_seq_len=8, attention_factor=1.25
    )


@pytest.mark.parametrize(
    ("factors", "expected"),
    [
        ({"rope_factors_long": [2.0, 4.0]}, "tensor rope_factors_short.weight is missing"),
        ({"rope_factors_long": [2.0], "rope_factors_short": [1.0, 1.5]}, r"rope_factors_long.weight has shape \[1\]"),
        ({"rope_factors_long": [2.0, 0.0], "rope_factors_short": [1.0, 1.5]}, "expected 2 positive numbers"),
        ({"rope_freqs": [1.0, math.nan]}, "expected 2 positive numbers"),
    ],
)
def test_factors_that_cannot_be_are_refused(factors: dict[str, list[float]], expected: str, tmp_path: Path) -> None:
    assert re.search(expected, refusal(write_tiny(tmp_path, weights=with_factors(**factors))))

"""GGUF metadata: it means what config.json would say, and what is missing or contradicts itself is refused by key."""

from __future__ import annotations

import contextlib
import math
import re
import warnings
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
    "rope base of one": ({"llama.rope.freq_base": 1.0}, "freq_base is 1.0; expected a number above 1"),
    "more rotated than there is": ({"llama.rope.dimension_count": 6}, "dimension_count is 6; expected .* at most 4"),
    "an odd number rotated": ({"llama.rope.dimension_count": 3}, "dimension_count is 3; expected an even number"),
    "part of a head rotated": ({"llama.rope.dimension_count": 2}, "partial_rotary_factor is 0.5.*; expected 1.0"),
    "unknown scaling": (
        {"llama.rope.scaling.type": "dynamic"},
        "scaling.type is 'dynamic'; expected one of none, linear",
    ),
    "a negative factor": ({"llama.rope.scaling.factor": -2.0}, "factor is -2.0; expected a positive number"),
    "longrope without factors": ({"llama.rope.scaling.type": "longrope"}, "longrope with the tensors"),
    "yarn by half": (
        {"llama.rope.scaling.type": "yarn", "llama.rope.scaling.yarn_ext_factor": 0.5},
        "yarn_ext_factor is 0.5; expected 1; nothing else",
    ),
    "not causal": ({"llama.attention.causal": False}, "attention.causal is False; expected True"),
    "experts": ({"llama.expert_shared_count": 8}, "llama.expert_shared_count is 8; expected 0"),
    "another attention scale": ({"llama.attention.scale": 0.25}, "attention.scale is 0.25; expected 0 or 0.5"),
    "a logit scale": ({"llama.logit_scale": 0.5}, "logit_scale is 0.5; expected 0 or 1"),
    "a soft cap": ({"llama.final_logit_softcapping": 30.0}, "softcapping is 30.0; expected 0"),
    "another head in sliding layers": (
        {"llama.attention.key_length_swa": 8, "llama.attention.sliding_window": 4},
        "key_length_swa is 8; expected 4",
    ),
    "predicted tokens": ({"llama.nextn_predict_layers": 1}, "nextn_predict_layers is 1; expected 0"),
    "another activation": ({"llama.hidden_activation": "gelu"}, "hidden_activation is 'gelu'; expected 'silu'"),
    "another activation of one layer": (
        {"llama.hidden_activation": ["silu", "gelu"]},
        r"hidden_activation is \['silu', 'gelu'\]; expected 'silu'",
    ),
}


@pytest.mark.parametrize("name", BAD_METADATA)
def test_metadata_that_cannot_be_is_refused(name: str, tmp_path: Path) -> None:
    changes, expected = BAD_METADATA[name]
    assert re.search(expected, refusal(write_tiny(tmp_path, changes)))


def test_texts_of_each_layer_are_read_one_by_one(tmp_path: Path) -> None:
    path = write_tiny(tmp_path, {"llama.hidden_activation": ["silu", "silu"]})
    assert open_model_directory(path).config.num_layers == 2


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
        ({"llama.rope.scaling.factor": 4.0}, LinearScaling(factor=4.0)),
        ({"llama.rope.scaling.factor": 2.0, "llama.rope.scale_linear": 4.0}, LinearScaling(factor=2.0)),
        (stretched("none", 4.0), None),
        ({"llama.rope.scaling.type": "linear"}, None),
        (stretched("linear", 0.0), None),
        (
            stretched("linear", 4.0, attn_factor=1.5),
            LongRopeScaling(
                short_factors=(4.0, 4.0), long_factors=(4.0, 4.0), original_max_seq_len=32, attention_factor=1.5
            ),
        ),
        (
            stretched("yarn", 4.0),
            YarnScaling(factor=4.0, original_max_seq_len=32, attention_factor=TEMPERATURE),
        ),
        (
            stretched("yarn", 4.0, yarn_beta_fast=8.0, yarn_beta_slow=2.0, yarn_attn_factor=0.75),
            YarnScaling(factor=4.0, original_max_seq_len=32, beta_fast=8.0, beta_slow=2.0, attention_factor=0.75),
        ),
        (
            stretched("yarn", 4.0, yarn_log_multiplier=1.0, yarn_ext_factor=1.0),
            YarnScaling(factor=4.0, original_max_seq_len=32, attention_factor=1.0),
        ),
        (
            stretched("yarn", 4.0, original_context_length=8),
            YarnScaling(**YARN, attention_factor=TEMPERATURE),  # type: ignore[arg-type]
        ),
        (
            stretched("yarn", 4.0, original_context_length=8, attn_factor=0.5),
            YarnScaling(**YARN, attention_factor=TEMPERATURE / 2),  # type: ignore[arg-type]
        ),
    ],
)
def test_scaling_by_settings(changes: dict[str, Any], expected: RopeScaling | None, tmp_path: Path) -> None:
    rope = config_of_file(tmp_path, changes).rope
    assert rope is not None
    assert rope.scaling == expected


@pytest.mark.parametrize(
    ("changes", "sliding"),
    [
        ({"llama.attention.sliding_window": 0}, None),
        ({"llama.attention.sliding_window": 4}, 4),
    ],
)
def test_a_window_makes_a_mistral_of_a_llama(changes: dict[str, Any], sliding: int | None, tmp_path: Path) -> None:
    config = config_of_file(tmp_path, changes)
    assert config.sliding_window == sliding
    assert config.family == ("mistral" if sliding else "llama")


def test_a_file_is_of_one_family() -> None:
    mappings = [family.gguf for family in FAMILIES.values() if family.gguf is not None]
    signs = [(mapping.architecture, mapping.marker) for mapping in mappings]
    assert len(set(signs)) == len(signs)


HARMLESS: dict[str, Any] = {
    "llama.attention.causal": True,
    "llama.attention.scale": 0.5,
    "llama.expert_count": 0,
    "llama.expert_weights_norm": False,
    "llama.logit_scale": 1.0,
    "llama.pooling_type": 1,
    "llama.rope.scaling.finetuned": True,
    "llama.rope.scaling.yarn_beta_fast": 8.0,
    "llama.tensor_data_layout": "Meta AI original pth",
}


@pytest.mark.filterwarnings("error")
def test_settings_that_change_nothing_are_read_over(tmp_path: Path) -> None:
    assert config_of_file(tmp_path, HARMLESS) == config_of_file(tmp_path)


def test_an_unknown_setting_is_named_once(tmp_path: Path) -> None:
    path = write_tiny(tmp_path, {"llama.some.new_thing": 3, "general.some_new_thing": 3})
    with pytest.warns(UserWarning, match=r"unknown metadata 'llama\.some\.new_thing' is ignored") as caught:
        open_model_directory(path)
    assert len(caught) == 1


def settings_of_llama_cpp() -> list[str]:
    """The names of all settings of architectures that the gguf package, which is llama.cpp's, writes."""
    groups = [group for group in vars(gguf.Keys).values() if isinstance(group, type)]
    names = {name for group in groups for name in vars(group).values() if isinstance(name, str)}
    own = {name.removeprefix("{arch}.") for name in names if name.startswith("{arch}.")}
    return sorted(name.replace("{dense}", "dense_2") for name in own)


@pytest.mark.parametrize("name", settings_of_llama_cpp())
def test_no_setting_of_llama_cpp_is_unknown(name: str, tmp_path: Path) -> None:
    """Whatever its value: it is read, without effect, or refused by name."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with contextlib.suppress(CheckpointError):
            open_model_directory(write_tiny(tmp_path, {f"llama.{name}": 77}))


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

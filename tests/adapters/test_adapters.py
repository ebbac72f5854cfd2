"""Adapters on one small model: several by name, merging on quantised weights, folders that are refused."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from nextword.adapters.adapter_files import CONFIG_NAME  # noqa: E402
from nextword.adapters.attach import attach, detached, save, switch  # noqa: E402
from nextword.adapters.merge import merged_weights  # noqa: E402
from nextword.adapters.open import open_adapted  # noqa: E402
from nextword.adapters.spec import AdapterSpec  # noqa: E402
from nextword.checkpoints.open_directory import open_model_directory  # noqa: E402
from nextword.errors import CheckpointError, ConfigError  # noqa: E402
from nextword.models.build import build_transformer  # noqa: E402
from nextword.models.stored_tensor import StoredTensor  # noqa: E402
from nextword.models.transformer import Transformer  # noqa: E402
from tests.checkpoints.tiny_folder import write_folder  # noqa: E402

TOKENS = torch.arange(10)[None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "base")


def build(folder: Path) -> Transformer:
    directory = open_model_directory(folder)
    return build_transformer(directory.config, directory.tensors)


def add_noise(parameters: Iterable[Any], seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    for parameter in parameters:
        parameter.data += 0.5 * torch.randn(parameter.shape, generator=random)


def saved_adapter(folder: Path, target: Path, spec: AdapterSpec | None = None) -> Path:
    model = build(folder)
    add_noise(attach(model, spec or AdapterSpec()), 1)
    save(model, target, base=str(folder))
    return target


def rewrite(adapter: Path, **settings: object) -> None:
    path = adapter / CONFIG_NAME
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))


@pytest.mark.parametrize("method", ["lora", "dora", "ia3"])
def test_a_new_adapter_changes_nothing(folder: Path, method: str) -> None:
    model = build(folder)
    before = model(TOKENS)
    attach(model, AdapterSpec(method=method))  # type: ignore[arg-type]
    torch.testing.assert_close(model(TOKENS), before)


def test_one_of_several_adapters_is_active(folder: Path) -> None:
    model = build(folder)
    plain = model(TOKENS)
    add_noise(attach(model, AdapterSpec(rank=2), name="first"), 1)
    first = model(TOKENS)
    add_noise(attach(model, AdapterSpec(method="ia3"), name="second"), 2)
    second = model(TOKENS)
    assert not torch.allclose(first, plain)
    assert not torch.allclose(first, second)
    for name, expected in (("first", first), (None, plain), ("second", second)):
        switch(model, name)
        torch.testing.assert_close(model(TOKENS), expected)


def test_an_adapter_of_the_same_name_or_of_no_name_is_refused(folder: Path) -> None:
    model = build(folder)
    with pytest.raises(ConfigError, match="no adapter"):
        switch(model, "first")
    attach(model, AdapterSpec(), name="first")
    with pytest.raises(ConfigError, match="already exists"):
        attach(model, AdapterSpec(), name="first")
    with pytest.raises(ConfigError, match="there are first"):
        switch(model, "other")


def test_the_seed_decides_the_first_values(folder: Path) -> None:
    first, again, other = (attach(build(folder), AdapterSpec(), seed=seed)[0] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_an_adapter_trained_on_dequantised_weights_merges_with_the_quantised_ones(folder: Path) -> None:
    from gguf import GGMLQuantizationType
    from gguf.quants import quantize

    config = {"hidden_size": 64, "num_attention_heads": 2, "head_dim": 32, "intermediate_size": 32}
    directory = open_model_directory(write_folder(folder.parent / "wide", config=config, weights=wide_weights()))
    tensors = dict(directory.tensors)
    name = "layers.0.attention.q_proj.weight"
    tensors[name] = StoredTensor(
        name, "Q8_0", tensors[name].shape, quantize(tensors[name].to_float32(), GGMLQuantizationType.Q8_0)
    )
    model = build_transformer(directory.config, tensors)
    add_noise(attach(model, AdapterSpec(rank=2)), 1)
    merged = merged_weights(directory.config, tensors, detached(model))[1]
    assert merged[name].dtype == "F32"
    torch.testing.assert_close(build_transformer(directory.config, merged)(TOKENS), model(TOKENS), rtol=1e-4, atol=1e-4)


def wide_weights() -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    random = np.random.default_rng(5)
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (11, 64), "model.norm.weight": (64,)}
    for layer in range(2):
        stem = f"model.layers.{layer}."
        shapes |= {stem + f"{name}.weight": (64,) for name in ("input_layernorm", "post_attention_layernorm")}
        shapes |= {stem + f"self_attn.{name}_proj.weight": (64, 64) for name in "qo"}
        shapes |= {stem + f"self_attn.{name}_proj.weight": (32, 64) for name in "kv"}
        shapes |= {stem + f"mlp.{name}_proj.weight": (32, 64) for name in ("gate", "up")}
        shapes[stem + "mlp.down_proj.weight"] = (64, 32)
    return {name: (random.standard_normal(shape) / 8).astype(np.float32) for name, shape in shapes.items()}


def test_a_folder_that_is_an_adapter_opens_as_its_model(folder: Path, tmp_path: Path) -> None:
    adapter = saved_adapter(folder, tmp_path / "adapter")
    by_itself, by_both = open_adapted(str(adapter)), open_adapted(str(folder), str(adapter))
    name = "layers.1.attention.v_proj.weight"
    assert np.array_equal(by_itself.tensors[name].data, by_both.tensors[name].data)
    assert not np.array_equal(by_itself.tensors[name].data, open_model_directory(folder).tensors[name].data)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"peft_type": "OFT"}, "peft_type is 'OFT'; expected one of ADALORA, IA3"),
        ({"peft_type": "VERA", "save_projection": False}, "save_projection is False; expected True"),
        ({"bias": "some"}, "bias is 'some'; expected one of all, lora_only, none"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save has 'lm_head', of which there is no tensor"),
        ({"rank_pattern": {"q_proj": 4}}, "q_proj.lora_A.weight has shape"),
        ({"rank_pattern": {"q_proj": 0.5}}, "rank_pattern is .*; expected whole numbers"),
        ({"alpha_pattern": {"(a+)+": 4}}, "alpha_pattern is .*; expected patterns without repeated groups"),
        ({"alpha_pattern": {"(": 4}}, "alpha_pattern is .*; expected names or regular expressions"),
        ({"alora_invocation_tokens": [1]}, "alora_invocation_tokens is .1.; expected null"),
        ({"a_field_of_tomorrow": 1}, "a_field_of_tomorrow is 1; expected null"),
        ({"task_type": "SEQ_CLS"}, "task_type is 'SEQ_CLS'; expected 'CAUSAL_LM'"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights is 'pissa'"),
        ({"r": 0}, "r is 0; expected at least 1"),
        ({"r": 4}, "has shape"),
        ({"use_dora": True}, "missing tensor"),
    ],
)
def test_what_would_be_computed_wrongly_is_refused(
    folder: Path, tmp_path: Path, settings: dict[str, object], message: str
) -> None:
    adapter = saved_adapter(folder, tmp_path / "adapter")
    rewrite(adapter, **settings)
    with pytest.raises(CheckpointError, match=message):
        open_adapted(str(adapter))


def test_an_adapter_of_another_model_is_refused(folder: Path, tmp_path: Path) -> None:
    adapter = saved_adapter(folder, tmp_path / "adapter")
    other = write_folder(tmp_path / "other", config={"num_hidden_layers": 1}, weights=one_layer())
    with pytest.raises(CheckpointError, match="unexpected tensor"):
        open_adapted(str(other), str(adapter))


def one_layer() -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    from tests.checkpoints.tiny_folder import tiny_weights

    return {name: values for name, values in tiny_weights().items() if ".layers.1." not in name}


def test_a_folder_without_an_adapter_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no adapter_config"):
        open_adapted(str(folder), str(tmp_path))
    adapter = saved_adapter(folder, tmp_path / "adapter")
    with pytest.raises(CheckpointError, match="is an adapter itself"):
        open_adapted(str(adapter), str(adapter))
    rewrite(adapter, base_model_name_or_path=None)
    with pytest.raises(CheckpointError, match="does not say which model"):
        open_adapted(str(adapter))


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"rank": 0}, "rank"), ({"alpha": 0.0}, "alpha"), ({"method": "vera"}, "method"), ({"targets": ("x",)}, "target")],
)
def test_settings_out_of_range_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        AdapterSpec(**settings)  # type: ignore[arg-type]


def test_a_projection_that_the_model_lacks_is_refused() -> None:
    from nextword.adapters.sites import chosen_sites
    from nextword.models.config import ModelConfig

    config = ModelConfig(
        family="gpt2",
        vocab_size=9,
        hidden_size=8,
        intermediate_size=8,
        num_layers=1,
        num_heads=1,
        num_kv_heads=1,
        head_dim=8,
        max_seq_len=8,
        norm_eps=1e-5,
        attention_scale=1.0,
        is_gated=False,
    )
    with pytest.raises(ConfigError, match="target gate_proj: a gpt2 model has"):
        chosen_sites(config, ("gate_proj",))

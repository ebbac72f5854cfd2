"""LoRA adapters in GGUF files against the peft adapters that they were written from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

torch = pytest.importorskip("torch")
peft = pytest.importorskip("peft")
transformers = pytest.importorskip("transformers")

from nextword.adapters.open import open_adapted  # noqa: E402
from nextword.checkpoints.gguf.adapter import read_gguf_adapter  # noqa: E402
from nextword.checkpoints.open_directory import open_model_directory  # noqa: E402
from nextword.errors import CheckpointError  # noqa: E402
from nextword.models.build import build_transformer  # noqa: E402
from nextword.models.config import ModelConfig  # noqa: E402
from tests.peers.test_families import VARIANTS, largest_difference, prompts, random_model  # noqa: E402
from tests.peers.write_gguf import write_adapter, write_gguf  # noqa: E402

pytestmark = [
    pytest.mark.peer,
    pytest.mark.filterwarnings("ignore::UserWarning:peft"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

TARGETS = {
    "llama": ["q_proj", "k_proj", "v_proj", "o_proj", "down_proj", "embed_tokens"],
    "gpt_neox": ["query_key_value", "dense_4h_to_h"],
    "phi3": ["qkv_proj", "gate_up_proj"],
    "gemma3": ["q_proj", "up_proj"],
}


@pytest.fixture(scope="module", params=TARGETS)
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path, ModelConfig]:
    """A random peft model, the GGUF file of its adapter, and our config of its base."""
    folder = tmp_path_factory.mktemp("adapter")
    base = random_model(*VARIANTS[request.param])
    base.save_pretrained(folder / "base")
    targets = TARGETS[request.param]
    settings = peft.LoraConfig(r=4, lora_alpha=6, target_modules=targets, rank_pattern={targets[0]: 2})
    model = peft.get_peft_model(base, settings)
    torch.manual_seed(1)
    with torch.no_grad():
        for name, values in model.named_parameters():
            if "lora_" in name:
                values.normal_(0, 0.3)
    write_adapter(folder / "adapter.gguf", base, _tensors(model), alpha=6.0)
    return model, folder / "adapter.gguf", open_model_directory(folder / "base").config


def _tensors(model: Any) -> dict[str, Any]:
    return {name: values.numpy() for name, values in peft.get_peft_model_state_dict(model).items() if "lora_" in name}


def test_the_tensors_of_peft_come_back(saved: tuple[Any, Path, ModelConfig]) -> None:
    model, path, config = saved
    settings, tensors = read_gguf_adapter(path, config)
    expected = _tensors(model)
    assert tensors.keys() == expected.keys()
    for name, values in expected.items():
        assert np.array_equal(tensors[name].to_float32(), values), name
    assert (settings["r"], settings["lora_alpha"]) == (4, 6.0)
    layers = {name: module for name, module in model.named_modules() if hasattr(module, "lora_A")}
    scales = {name: module.scaling["default"] for name, module in layers.items()}
    pattern: Any = settings["rank_pattern"]
    ours = {f"base_model.model.{module}": 6.0 / pattern.get(_escaped(module), 4) for module in _modules(settings)}
    assert ours == pytest.approx(scales)


@pytest.mark.parametrize("base_kind", ["folder", "gguf"])
def test_a_model_with_an_adapter_of_a_gguf_file_gives_the_logits_of_peft(base_kind: str, tmp_path: Path) -> None:
    base = random_model(*VARIANTS["llama"])
    path = tmp_path / ("base" if base_kind == "folder" else "base.gguf")
    base.save_pretrained(path) if base_kind == "folder" else write_gguf(path, base)
    token_ids = prompts(1)
    model = peft.get_peft_model(base, peft.LoraConfig(r=3, lora_alpha=6, target_modules=TARGETS["llama"][:5]))
    with torch.no_grad():
        for name, values in model.named_parameters():
            if "lora_" in name:
                values.normal_(0, 0.3)
        write_adapter(tmp_path / "adapter.gguf", base, _tensors(model), alpha=6.0)
        adapted = open_adapted(str(path), str(tmp_path / "adapter.gguf"))
        ours = build_transformer(adapted.config, adapted.tensors)(token_ids)
        assert largest_difference(ours, model(token_ids).logits) < 1e-4


def _modules(settings: dict[str, object]) -> list[str]:
    modules: Any = settings["target_modules"]
    return list(modules)


def _escaped(module: str) -> str:
    return module.replace(".", r"\.")


@pytest.mark.parametrize(
    ("changes", "tensors", "message"),
    [
        ({"general.type": "model"}, {}, "general.type is 'model'; expected adapter"),
        ({"adapter.type": "ia3"}, {}, "adapter.type is 'ia3'; expected lora"),
        ({"adapter.alora.invocation_tokens": [1, 2]}, {}, "aLoRA is not implemented"),
        ({}, {"blk.0.attn_norm.weight": (32,)}, "blk.0.attn_norm.weight is no lora_a or lora_b of a layer"),
        ({}, {"blk.0.attn_q.weight.lora_a": (2, 32)}, "blk.0.attn_q has not two matrices"),
        (
            {},
            {"blk.9.attn_q.weight.lora_a": (2, 32), "blk.9.attn_q.weight.lora_b": (32, 2)},
            "blk.9.attn_q.weight.lora_a is of no layer of this llama model",
        ),
        (
            {},
            {"blk.0.attn_q.weight.lora_a": (2, 32), "blk.0.attn_q.weight.lora_b": (16, 2)},
            r"blk.0.attn_q.weight.lora_b has shape \[16, 2\], the config asks for \[32, 2\]",
        ),
    ],
)
def test_what_is_no_lora_of_the_model_is_refused(
    changes: dict[str, Any], tensors: dict[str, tuple[int, ...]], message: str, tmp_path: Path
) -> None:
    random_model(*VARIANTS["llama"]).save_pretrained(tmp_path / "base")
    path = tmp_path / "x.gguf"
    writer = gguf.GGUFWriter(str(path), "llama")
    for key, value in {"general.type": "adapter", "adapter.type": "lora", **changes}.items():
        writer.add_array(key, value) if isinstance(value, list) else writer.add_string(key, value)
    for name, shape in tensors.items():
        writer.add_tensor(name, np.zeros(shape, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(CheckpointError, match=message):
        read_gguf_adapter(path, open_model_directory(tmp_path / "base").config)


def test_an_adapter_of_another_architecture_is_refused(tmp_path: Path) -> None:
    base = random_model(*VARIANTS["llama"])
    base.save_pretrained(tmp_path / "base")
    write_adapter(tmp_path / "x.gguf", random_model(*VARIANTS["qwen3"]), {}, alpha=1.0)
    with pytest.raises(CheckpointError, match=r"general\.architecture is 'qwen3'; expected llama"):
        read_gguf_adapter(tmp_path / "x.gguf", open_model_directory(tmp_path / "base").config)

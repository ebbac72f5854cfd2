"""Training a mixture of experts: loss and gradients are those of transformers; adapters change attention alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from nextword.adapters.sites import chosen_sites  # noqa: E402
from nextword.checkpoints.open_directory import open_model_directory  # noqa: E402
from nextword.errors import ConfigError  # noqa: E402
from nextword.models.build import build_transformer  # noqa: E402
from tests.peers.test_families import QWEN3_MOE, prompts, random_model  # noqa: E402

pytestmark = pytest.mark.peer


def test_loss_and_gradients_are_those_of_transformers(tmp_path: Path) -> None:
    """Its loss has no term for the balance of the experts unless output_router_logits asks for one, which is off.

    So few tokens leave some experts out; their gradients are zero, not missing.
    """
    model = random_model("qwen3_moe", {**QWEN3_MOE, "norm_topk_prob": True})
    model.save_pretrained(tmp_path)
    directory = open_model_directory(tmp_path)
    ours = build_transformer(directory.config, directory.tensors).train()
    token_ids = prompts(1, 6)
    expected = model.train()(token_ids, labels=token_ids).loss
    expected.backward()
    loss = torch.nn.functional.cross_entropy(ours(token_ids)[0, :-1], token_ids[0, 1:])
    loss.backward()
    assert abs(loss.item() - expected.item()) < 1e-5
    theirs = dict(model.named_parameters())
    num_unused = 0
    for layer in range(directory.config.num_layers):
        mlp: Any = ours.layers[layer].mlp
        stem = f"model.layers.{layer}.mlp"
        gate_up, down = (theirs[f"{stem}.experts.{name}"].grad for name in ("gate_up_proj", "down_proj"))
        torch.testing.assert_close(mlp.router.weight.grad, theirs[f"{stem}.gate.weight"].grad, atol=1e-5, rtol=1e-3)
        for number, expert in enumerate(mlp.experts):
            both = torch.cat([expert.gate_proj.weight.grad, expert.up_proj.weight.grad])
            torch.testing.assert_close(both, gate_up[number], atol=1e-5, rtol=1e-3)
            torch.testing.assert_close(expert.down_proj.weight.grad, down[number], atol=1e-5, rtol=1e-3)
            num_unused += not both.any()
    assert num_unused > 0


def test_adapters_of_experts_are_refused_and_those_of_attention_are_not(tmp_path: Path) -> None:
    random_model("qwen3_moe", QWEN3_MOE).save_pretrained(tmp_path)
    config = open_model_directory(tmp_path).config
    assert {site.kind for site in chosen_sites(config, ("q_proj", "v_proj"))} == {
        "self_attn.q_proj",
        "self_attn.v_proj",
    }
    with pytest.raises(ConfigError, match="target gate_proj: a qwen3_moe model has k_proj, o_proj, q_proj, v_proj"):
        chosen_sites(config, ("gate_proj",))

"""Attention weights and the logit lens are those of transformers on the same weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.peer

CONFIGS: dict[str, dict[str, Any]] = {
    "LlamaConfig": {"num_key_value_heads": 2},
    "Gemma2Config": {"num_key_value_heads": 2, "head_dim": 8, "sliding_window": 5, "attn_logit_softcapping": 2.0},
    "GPT2Config": {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 64},
    "Qwen3Config": {"num_key_value_heads": 2, "head_dim": 8},
}


@pytest.mark.parametrize("name", CONFIGS)
def test_heads_and_layers_are_those_of_transformers(name: str, tmp_path: Path) -> None:
    import torch
    import transformers

    from nextword.checkpoints.open_directory import open_model_directory
    from nextword.models.build import build_transformer
    from nextword.models.look_inside import look_inside

    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4}
    own = {} if name == "GPT2Config" else sizes
    config = getattr(transformers, name)(vocab_size=97, **own, **CONFIGS[name])
    torch.manual_seed(0)
    peer = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    for parameter in peer.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    peer.save_pretrained(tmp_path)
    directory = open_model_directory(tmp_path)
    token_ids = torch.randint(0, 97, (12,)).tolist()
    found = look_inside(build_transformer(directory.config, directory.tensors), token_ids)
    with torch.no_grad():
        expected = peer(torch.tensor([token_ids]), output_attentions=True, output_hidden_states=True)
        base, head = peer.base_model, peer.get_output_embeddings()
        norm = base.ln_f if name == "GPT2Config" else base.norm
        # the last of the hidden states has the final norm already
        lens = [head(norm(states[0, -1])) for states in expected.hidden_states[:-1]]
    cap = getattr(config, "final_logit_softcapping", None)
    lens = [torch.tanh(row / cap) * cap if cap else row for row in lens] + [expected.logits[0, -1]]
    torch.testing.assert_close(found.logits, torch.stack(lens), atol=1e-4, rtol=1e-4)
    attention = torch.stack([weights[0, :, -1] for weights in expected.attentions])
    torch.testing.assert_close(found.attention, attention, atol=1e-5, rtol=1e-4)

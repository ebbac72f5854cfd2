"""Each family against transformers: a tiny random model of theirs, opened by us, gives the logits they give.

And back: saved by us, transformers opens it without complaint and agrees.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from nextword.checkpoints.open_directory import open_model_directory  # noqa: E402
from nextword.checkpoints.save_directory import save_model_directory  # noqa: E402
from nextword.models.build import build_transformer  # noqa: E402
from nextword.models.kv_cache import KVCache  # noqa: E402
from nextword.models.transformer import Transformer  # noqa: E402

pytestmark = pytest.mark.peer

TOLERANCE = 1e-4
LENGTH = 40
"""Tokens of the prompt; more than every sliding window and original context below."""

LLAMA = {
    "vocab_size": 99,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": None,
    "attn_implementation": "eager",
}
NEOX = {name: value for name, value in LLAMA.items() if name != "num_key_value_heads"}
GPT2 = {
    "vocab_size": 99,
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 4,
    "n_positions": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "attn_implementation": "eager",
}
GEMMA = {**LLAMA, "num_hidden_layers": 4, "head_dim": 12, "query_pre_attn_scalar": 20, "sliding_window": 9}
MINISTRAL = {**LLAMA, "head_dim": 16, "sliding_window": 7}
GRANITE = {
    **LLAMA,
    "embedding_multiplier": 3.0,
    "attention_multiplier": 0.2,
    "residual_multiplier": 0.6,
    "logits_scaling": 1.7,
}
GRANITE4 = {
    **GRANITE,
    "num_local_experts": 0,
    "num_experts_per_tok": 0,
    "shared_intermediate_size": 40,
    "layer_types": ["full_attention"] * 3,
    "position_embedding_type": "rope",
    "mamba_n_heads": 2,
}
OPT = {name: value for name, value in NEOX.items() if name != "intermediate_size"} | {"ffn_dim": 48}
LLAMA3_SCALING = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
YARN_SCALING = {"rope_type": "yarn", "rope_theta": 1000.0, "factor": 4.0, "original_max_position_embeddings": 16}
LONGROPE_SCALING = {
    "rope_type": "longrope",
    "rope_theta": 100.0,
    "short_factor": [1.0, 1.1, 1.3],
    "long_factor": [1.5, 3.0, 6.0],
}
HALF_ROTATED = {"rope_type": "default", "rope_theta": 500.0, "partial_rotary_factor": 0.5}
LINEAR = {"rope_type": "linear", "factor": 3.0}
GEMMA3_ROPE: dict[str, dict[str, Any]] = {
    "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1000.0},
    "sliding_attention": {"rope_type": "default", "rope_theta": 50.0},
}
QWEN2_MOE = {
    **LLAMA,
    "num_experts": 6,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 24,
    "shared_expert_intermediate_size": 40,
    "mlp_only_layers": [1],
}
QWEN3_MOE = {**LLAMA, "head_dim": 8, "num_experts": 8, "num_experts_per_tok": 3, "moe_intermediate_size": 24}

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("gpt2", GPT2),
    "gpt2-untied-wide": ("gpt2", {**GPT2, "tie_word_embeddings": False, "n_inner": 40, "activation_function": "gelu"}),
    "gpt2-unscaled": ("gpt2", {**GPT2, "scale_attn_weights": False}),
    "gpt_neox": ("gpt_neox", NEOX),
    "gpt_neox-serial": ("gpt_neox", {**NEOX, "use_parallel_residual": False, "attention_bias": False}),
    "gpt_neox-tied": ("gpt_neox", {**NEOX, "tie_word_embeddings": True}),
    "llama": ("llama", LLAMA),
    "llama-tied": ("llama", {**LLAMA, "tie_word_embeddings": True}),
    "llama-biases": ("llama", {**LLAMA, "attention_bias": True, "mlp_bias": True}),
    "llama-head-dim": ("llama", {**LLAMA, "head_dim": 16, "num_key_value_heads": 1}),
    "llama-llama3": ("llama", {**LLAMA, "rope_parameters": LLAMA3_SCALING}),
    "llama-linear": ("llama", {**LLAMA, "rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 99.0}}),
    "llama-yarn": ("llama", {**LLAMA, "rope_parameters": YARN_SCALING}),
    "mistral": ("mistral", {**LLAMA, "sliding_window": None}),
    "mistral-window": ("mistral", {**LLAMA, "sliding_window": 7}),
    "qwen2": ("qwen2", LLAMA),
    "qwen2-sliding": (
        "qwen2",
        {**LLAMA, "use_sliding_window": True, "sliding_window": 7, "max_window_layers": 1},
    ),
    "qwen3": ("qwen3", {**LLAMA, "head_dim": 16}),
    "qwen3-tied-biases": ("qwen3", {**LLAMA, "head_dim": 8, "tie_word_embeddings": True, "attention_bias": True}),
    "gemma2": ("gemma2", GEMMA),
    "gemma2-strong-caps": ("gemma2", {**GEMMA, "attn_logit_softcapping": 2.0, "final_logit_softcapping": 3.0}),
    "gemma2-no-caps": ("gemma2", {**GEMMA, "attn_logit_softcapping": None, "final_logit_softcapping": None}),
    "gemma3": ("gemma3_text", {**GEMMA, "sliding_window_pattern": 3}),
    "gemma3-linear": ("gemma3_text", {**GEMMA, "sliding_window_pattern": 2, "rope_parameters": GEMMA3_ROPE}),
    "gemma3-local-linear": (
        "gemma3_text",
        {**GEMMA, "rope_parameters": {kind: {**rope, **LINEAR} for kind, rope in GEMMA3_ROPE.items()}},
    ),
    "olmo2": ("olmo2", LLAMA),
    "olmo2-tied-biases": ("olmo2", {**LLAMA, "tie_word_embeddings": True, "attention_bias": True}),
    "phi3": ("phi3", {**LLAMA, "sliding_window": 9}),
    "phi3-longrope": (
        "phi3",
        {
            **LLAMA,
            "rope_parameters": {**LONGROPE_SCALING, "partial_rotary_factor": 0.75},
            "original_max_position_embeddings": 24,
        },
    ),
    "smollm3": ("smollm3", {**LLAMA, "no_rope_layer_interval": 2}),
    "smollm3-sliding": (
        "smollm3",
        {**LLAMA, "use_sliding_window": True, "sliding_window": 7, "no_rope_layer_interval": 3},
    ),
    "mixtral": ("mixtral", {**LLAMA, "num_local_experts": 5}),
    "mixtral-window": ("mixtral", {**LLAMA, "head_dim": 16, "num_local_experts": 4, "sliding_window": 7}),
    "olmoe": ("olmoe", {**LLAMA, "num_experts": 8, "num_experts_per_tok": 3}),
    "olmoe-normalized": (
        "olmoe",
        {**LLAMA, "num_experts": 6, "num_experts_per_tok": 6, "norm_topk_prob": True, "attention_bias": True},
    ),
    "qwen2_moe": ("qwen2_moe", QWEN2_MOE),
    "qwen2_moe-sliding": (
        "qwen2_moe",
        {**QWEN2_MOE, "norm_topk_prob": True, "qkv_bias": False, "use_sliding_window": True, "sliding_window": 7},
    ),
    "qwen3_moe": ("qwen3_moe", QWEN3_MOE),
    "qwen3_moe-normalized": ("qwen3_moe", {**QWEN3_MOE, "norm_topk_prob": True, "tie_word_embeddings": True}),
    "qwen3_moe-one-expert": ("qwen3_moe", {**QWEN3_MOE, "num_experts_per_tok": 1}),
    "qwen3_moe-dense-layers": ("qwen3_moe", {**QWEN3_MOE, "decoder_sparse_step": 2, "attention_bias": True}),
    "qwen3_moe-listed-layers": (
        "qwen3_moe",
        {**QWEN3_MOE, "mlp_only_layers": [0, 2], "use_sliding_window": True, "sliding_window": 7},
    ),
    "arcee": ("arcee", LLAMA),
    "arcee-biases": ("arcee", {**LLAMA, "attention_bias": True, "mlp_bias": True, "rope_parameters": YARN_SCALING}),
    "cohere": ("cohere", LLAMA),
    "cohere-untied-biases": (
        "cohere",
        {**LLAMA, "logit_scale": 0.3, "attention_bias": True, "tie_word_embeddings": False},
    ),
    "cohere2": ("cohere2", {**LLAMA, "num_hidden_layers": 4, "sliding_window": 9}),
    "cohere2-biases": (
        "cohere2",
        {
            **LLAMA,
            "sliding_window": 7,
            "attention_bias": True,
            "layer_types": ["full_attention", "sliding_attention", "full_attention"],
        },
    ),
    "ernie4_5": ("ernie4_5", {**LLAMA, "head_dim": 16}),
    "ernie4_5-untied-biases": ("ernie4_5", {**LLAMA, "head_dim": 8, "tie_word_embeddings": False, "use_bias": True}),
    "exaone4": ("exaone4", {**LLAMA, "sliding_window": 7, "sliding_window_pattern": 2}),
    "exaone4-full": ("exaone4", {**LLAMA, "sliding_window": None, "layer_types": ["full_attention"] * 3}),
    "gemma": ("gemma", {**LLAMA, "head_dim": 12}),
    "gemma-untied-biases": (
        "gemma",
        {**LLAMA, "head_dim": 12, "tie_word_embeddings": False, "attention_bias": True, "hidden_act": "gelu"},
    ),
    "glm": ("glm", {**LLAMA, "head_dim": 12, "rope_parameters": {**HALF_ROTATED, "partial_rotary_factor": 0.67}}),
    "glm-no-biases": ("glm", {**LLAMA, "head_dim": 8, "attention_bias": False, "tie_word_embeddings": True}),
    "glm4": ("glm4", {**LLAMA, "head_dim": 16, "rope_parameters": HALF_ROTATED}),
    "gpt_bigcode": ("gpt_bigcode", GPT2),
    "gpt_bigcode-many-heads": (
        "gpt_bigcode",
        {**GPT2, "multi_query": False, "scale_attn_weights": False, "tie_word_embeddings": False, "n_inner": 40},
    ),
    "granite": ("granite", GRANITE),
    "granitemoehybrid": ("granitemoehybrid", GRANITE4),
    "granitemoehybrid-no-positions": (
        "granitemoehybrid",
        {**GRANITE4, "position_embedding_type": None, "attention_bias": True, "tie_word_embeddings": True},
    ),
    "gptj": ("gptj", {**GPT2, "rotary_dim": 4}),
    "gptj-wide": ("gptj", {**GPT2, "rotary_dim": 8, "n_inner": 40, "activation_function": "gelu"}),
    "granite-tied-biases": (
        "granite",
        {**GRANITE, "tie_word_embeddings": True, "attention_bias": True, "mlp_bias": True},
    ),
    "granitemoe": ("granitemoe", {**GRANITE, "num_local_experts": 6, "num_experts_per_tok": 3}),
    "helium": ("helium", {**LLAMA, "head_dim": 8}),
    "helium-tied-biases": (
        "helium",
        {**LLAMA, "head_dim": 8, "tie_word_embeddings": True, "attention_bias": True, "mlp_bias": True},
    ),
    "ministral": ("ministral", MINISTRAL),
    "ministral-some": (
        "ministral",
        {**MINISTRAL, "layer_types": ["full_attention", "sliding_attention", "full_attention"]},
    ),
    "nemotron": ("nemotron", LLAMA),
    "nemotron-tied-biases": (
        "nemotron",
        {**LLAMA, "head_dim": 16, "tie_word_embeddings": True, "attention_bias": True, "mlp_bias": True},
    ),
    "olmo": ("olmo", LLAMA),
    "olmo-clipped": ("olmo", {**LLAMA, "clip_qkv": 0.4, "tie_word_embeddings": True, "attention_bias": True}),
    "opt": ("opt", OPT),
    "opt-plain": (
        "opt",
        {**OPT, "enable_bias": False, "layer_norm_elementwise_affine": False, "tie_word_embeddings": False},
    ),
    "phi": ("phi", NEOX),
    "phi-grouped": ("phi", {**LLAMA, "rope_parameters": {**HALF_ROTATED, "partial_rotary_factor": 0.25}}),
    "stablelm": ("stablelm", LLAMA),
    "stablelm-parallel": (
        "stablelm",
        {**LLAMA, "use_parallel_residual": True, "use_qkv_bias": True, "tie_word_embeddings": True},
    ),
    "olmo3": ("olmo3", {**LLAMA, "num_hidden_layers": 4, "sliding_window": 9}),
    "olmo3-yarn": (
        "olmo3",
        {
            **LLAMA,
            "sliding_window": 9,
            "layer_types": ["full_attention", "sliding_attention", "full_attention"],
            "attention_bias": True,
            "rope_parameters": {
                "full_attention": {**YARN_SCALING, "beta_fast": 8.0, "attention_factor": 1.2},
                "sliding_attention": {"rope_type": "default", "rope_theta": 50.0},
            },
        },
    ),
    "seed_oss": ("seed_oss", {**LLAMA, "head_dim": 16}),
    "seed_oss-all-biases": (
        "seed_oss",
        {**LLAMA, "head_dim": 8, "attention_out_bias": True, "mlp_bias": True, "tie_word_embeddings": True},
    ),
    "starcoder2": ("starcoder2", {**LLAMA, "sliding_window": 9}),
    "starcoder2-no-biases": ("starcoder2", {**LLAMA, "use_bias": False, "tie_word_embeddings": False}),
}


@pytest.fixture(scope="module", params=VARIANTS)
def peer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """A tiny random model of transformers, and the folder it saved itself to."""
    model_type, settings = VARIANTS[request.param]
    model = random_model(model_type, settings)
    folder = tmp_path_factory.mktemp("peer")
    model.save_pretrained(folder)
    return model, folder


def random_model(model_type: str, settings: dict[str, Any]) -> Any:
    """A model whose every parameter, norms and biases included, is far enough from its neutral value to matter."""
    torch.manual_seed(7)
    settings = dict(settings)
    attention = settings.pop("attn_implementation")
    config = transformers.AutoConfig.for_model(model_type, **settings)
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation=attention).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.3 * torch.randn_like(parameter))
            else:
                parameter.copy_(0.25 * torch.randn_like(parameter))
    return model


def opened(folder: Path) -> Transformer:
    directory = open_model_directory(folder)
    return build_transformer(directory.config, directory.tensors)


def prompts(count: int, length: int = LENGTH) -> Any:
    return torch.randint(0, 99, (count, length), generator=torch.Generator().manual_seed(3))


def largest_difference(ours: Any, theirs: Any) -> float:
    return float((ours - theirs).abs().max())


def test_a_whole_prompt_gives_the_peers_logits(peer: tuple[Any, Path]) -> None:
    model, folder = peer
    token_ids = prompts(2)
    with torch.inference_mode():
        assert largest_difference(opened(folder)(token_ids), model(token_ids).logits) < TOLERANCE


# transformers 5.24 has another name for the argument, which 5.23 does not know.
@pytest.mark.filterwarnings("ignore:.past_key_values. is deprecated:FutureWarning")
def test_cached_decoding_gives_the_peers_logits_at_every_step(peer: tuple[Any, Path]) -> None:
    model, folder = peer
    transformer, token_ids = opened(folder), prompts(1)
    ours, theirs = KVCache(transformer.config), None
    with torch.inference_mode():
        for position, width in [(0, 5), *((position, 1) for position in range(5, LENGTH))]:
            step = token_ids[:, position : position + width]
            output = model(step, past_key_values=theirs, use_cache=True)
            theirs = output.past_key_values
            assert largest_difference(transformer(step, kv_cache=ours), output.logits) < TOLERANCE
    assert ours.length == LENGTH


def test_prompts_of_different_lengths_in_one_batch_give_the_logits_of_each_alone(peer: tuple[Any, Path]) -> None:
    model, folder = peer
    lengths = [LENGTH, 9, 23]
    token_ids = prompts(len(lengths))
    if peer_changes_with_length(model):
        lengths = [LENGTH, 38, 31]
    with torch.inference_mode():
        logits = opened(folder)(token_ids)
        for row, length in enumerate(lengths):
            alone = model(token_ids[row : row + 1, :length]).logits
            assert largest_difference(logits[row, :length], alone[0]) < TOLERANCE


def peer_changes_with_length(model: Any) -> bool:
    """LongRoPE has other angles once the longest row of a batch is beyond the original context."""
    return (getattr(model.config, "rope_parameters", None) or {}).get("rope_type") == "longrope"


def test_what_we_save_the_peer_opens_without_complaint_and_agrees(peer: tuple[Any, Path], tmp_path: Path) -> None:
    model, folder = peer
    directory = open_model_directory(folder)
    target = tmp_path / "saved"
    save_model_directory(target, config=directory.config, tensors=directory.tensors, tokenizer=None)
    reopened, report = transformers.AutoModelForCausalLM.from_pretrained(
        target, output_loading_info=True, attn_implementation="eager"
    )
    assert not any(report.values()), report
    token_ids = prompts(2)
    with torch.inference_mode():
        assert largest_difference(reopened(token_ids).logits, model(token_ids).logits) == 0.0


def test_what_we_save_we_open_as_the_same_config_and_the_same_bits(peer: tuple[Any, Path], tmp_path: Path) -> None:
    _, folder = peer
    first = open_model_directory(folder)
    target = tmp_path / "saved"
    save_model_directory(target, config=first.config, tensors=first.tensors, tokenizer=None, max_shard_bytes=20_000)
    second = open_model_directory(target)
    assert (target / "model.safetensors.index.json").exists()
    assert second.config == first.config
    assert list(second.tensors) == list(first.tensors)
    for name, tensor in first.tensors.items():
        assert second.tensors[name].data.tobytes() == tensor.data.tobytes()


@pytest.mark.filterwarnings("ignore:.*rope_type dynamic stretches:UserWarning")
@pytest.mark.parametrize("original", [{}, {"original_max_position_embeddings": 16}])
def test_a_dynamic_rope_gives_the_peers_logits_in_all_of_the_context(tmp_path: Path, original: dict[str, int]) -> None:
    rope = {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 500.0, **original}
    model = random_model("llama", {**LLAMA, "rope_parameters": rope})
    model.save_pretrained(tmp_path / "theirs")
    directory = open_model_directory(tmp_path / "theirs")
    save_model_directory(tmp_path / "ours", config=directory.config, tensors=directory.tensors, tokenizer=None)
    saved = transformers.AutoConfig.from_pretrained(tmp_path / "ours").rope_parameters
    assert (saved["rope_type"], saved["factor"]) == ("dynamic", 4.0)
    transformer = opened(tmp_path / "ours")
    for length in (1, 15, 16, 17, 63, 64):
        token_ids = prompts(2, length)
        with torch.inference_mode():
            assert largest_difference(transformer(token_ids), model(token_ids).logits) < TOLERANCE

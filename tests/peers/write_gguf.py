"""A GGUF file from a model of transformers, in the conventions of llama.cpp's converter, written here on their own.

Tests read such files and compare; so nothing of ours takes part in the writing.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import gguf
import numpy as np

Array = np.ndarray[Any, np.dtype[np.float32]]

ARCHITECTURES = {
    "cohere": "command-r",
    "gemma3_text": "gemma3",
    "glm": "chatglm",
    "granitemoehybrid": "granite",
    "gpt_bigcode": "starcoder",
    "gpt_neox": "gptneox",
    "mixtral": "llama",
    "olmo3": "olmo2",
    "phi": "phi2",
    "qwen2_moe": "qwen2moe",
    "qwen3_moe": "qwen3moe",
}
"""Model type -> architecture, where the two differ."""
_STEMS = {
    r"(model\.embed_tokens|transformer\.wte|gpt_neox\.embed_in)": "token_embd",
    r"transformer\.wpe": "position_embd",
    r"(model\.norm|transformer\.ln_f|model\.final_layernorm|gpt_neox\.final_layer_norm)": "output_norm",
    r"(lm_head|embed_out)": "output",
    r".*\.(q|k|v)_proj": "attn_{0}",
    r".*\.(q|k)_norm": "attn_{0}_norm",
    r".*\.(self_attn\.o_proj|self_attn\.dense|attn\.c_proj|attention\.dense)": "attn_output",
    r".*\.(qkv_proj|c_attn|query_key_value)": "attn_qkv",
    r".*\.experts\.(gate|up|down)_proj": "ffn_{0}_exps",
    r".*\.(mlp\.gate|block_sparse_moe\.router)": "ffn_gate_inp",
    r".*\.shared_expert_gate": "ffn_gate_inp_shexp",
    r".*\.shared_expert\.(gate|up|down)_proj": "ffn_{0}_shexp",
    r".*\.(gate)_proj": "ffn_gate",
    r".*\.(up_proj|gate_up_proj|c_fc|fc1|dense_h_to_4h)": "ffn_up",
    r".*\.(down_proj|mlp\.c_proj|shared_mlp\.output_linear|fc2|dense_4h_to_h)": "ffn_down",
    r".*\.(input_layernorm|ln_1)": "attn_norm",
    r".*\.(pre_feedforward_layernorm|ln_2)": "ffn_norm",
    r".*\.post_self_attn_layernorm": "post_attention_norm",
    r".*\.(post_feedforward_layernorm|post_mlp_layernorm)": "post_ffw_norm",
}
_PAIRED_FAMILIES = ("arcee", "granite", "granitemoe", "granitemoehybrid", "llama", "mixtral", "olmo", "smollm3")
"""Families whose rotated pairs the converter lays side by side."""
_POST_NORM_FAMILIES = ("exaone4", "gemma2", "gemma3_text", "olmo2", "olmo3", "seed_oss")


def write_gguf(path: Path, model: Any, *, vocab_size: int = 99) -> None:
    """Write all weights as F32 with the metadata that the converter writes, and a made-up vocabulary."""
    config = model.config
    writer = gguf.GGUFWriter(str(path), ARCHITECTURES.get(config.model_type, config.model_type))
    _write_sizes(writer, config)
    _write_vocabulary(writer, vocab_size)
    state = model.state_dict()
    for name, values in state.items():
        is_copy = config.tie_word_embeddings and name == "lm_head.weight"
        if is_copy and config.model_type != "gpt2":  # of which llama.cpp wants the head nevertheless
            continue
        for part, numbers in _split(name, values.numpy().astype(np.float32)):
            writer.add_tensor(*_converted(config, part, numbers))
    factors = _llama3_divisors(config)
    if factors is not None:
        writer.add_tensor("rope_freqs.weight", factors)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_adapter(path: Path, model: Any, tensors: dict[str, Array], *, alpha: float) -> None:
    """Write the LoRA tensors of a peft adapter for `model` as the converter does, as F32."""
    config = model.config
    writer = gguf.GGUFWriter(str(path), ARCHITECTURES.get(config.model_type, config.model_type))
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", alpha)
    for name, values in tensors.items():
        module, part = re.fullmatch(r"base_model\.model\.(.*)\.lora_(A|B|embedding_A|embedding_B).*", name).groups()  # type: ignore[union-attr]
        renamed = _file_name(config, module, "weight")
        if part == "embedding_A":
            values = values.T
        elif part == "B":
            _, values = _converted(config, f"{module}.weight", values)
        writer.add_tensor(f"{renamed}.lora_{part[-1].lower()}", np.ascontiguousarray(values))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _write_sizes(writer: gguf.GGUFWriter, config: Any) -> None:
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(getattr(config, "intermediate_size", None) or 4 * config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_head_count(config.num_attention_heads)
    kv_heads = getattr(config, "num_key_value_heads", config.num_attention_heads)
    is_list = config.model_type == "granitemoehybrid"
    writer.add_head_count_kv([kv_heads] * config.num_hidden_layers if is_list else kv_heads)
    eps = getattr(config, "rms_norm_eps", None)
    if eps is not None:
        writer.add_layer_norm_rms_eps(eps)
        writer.add_key_length(head_dim)
        writer.add_value_length(head_dim)
    else:
        names = ("layer_norm_eps", "layer_norm_epsilon", "norm_epsilon", "norm_eps")
        writer.add_layer_norm_eps(next((getattr(config, name) for name in names if hasattr(config, name)), 1e-5))
    _write_rope(writer, getattr(config, "rope_parameters", None) or {}, head_dim)
    for name, write in (
        ("use_parallel_residual", writer.add_parallel_residual),
        ("attn_logit_softcapping", writer.add_attn_logit_softcapping),
        ("final_logit_softcapping", writer.add_final_logit_softcapping),
        ("embedding_multiplier", writer.add_embedding_scale),
        ("attention_multiplier", writer.add_attention_scale),
        ("residual_multiplier", writer.add_residual_scale),
        ("logits_scaling", writer.add_logit_scale),
        ("logit_scale", writer.add_logit_scale),
        ("clip_qkv", writer.add_clamp_kqv),
    ):
        if getattr(config, name, None) is not None:
            write(getattr(config, name))
    _write_window(writer, config)
    if config.model_type == "granitemoehybrid":  # with settings of Mamba layers and experts, of which there are none
        writer.add_expert_shared_feed_forward_length(config.shared_intermediate_size)
        writer.add_expert_count(0)
        writer.add_expert_used_count(0)
        writer.add_ssm_conv_kernel(config.mamba_d_conv)
        writer.add_rope_scaling_finetuned(True)
    num_experts = getattr(config, "num_experts", getattr(config, "num_local_experts", 0))
    if num_experts:
        writer.add_expert_count(num_experts)
        writer.add_expert_used_count(config.num_experts_per_tok)
    if hasattr(config, "moe_intermediate_size"):
        writer.add_expert_feed_forward_length(config.moe_intermediate_size)
    if hasattr(config, "shared_expert_intermediate_size"):
        writer.add_expert_shared_feed_forward_length(config.shared_expert_intermediate_size)


def _write_rope(writer: gguf.GGUFWriter, ropes: dict[str, Any], head_dim: int) -> None:
    rope = ropes.get("full_attention", ropes)
    if rope:
        writer.add_rope_freq_base(rope["rope_theta"])
        writer.add_rope_dimension_count(int(head_dim * rope.get("partial_rotary_factor", 1.0)))
    if rope.get("rope_type") == "yarn":
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(rope["factor"])
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
    if "sliding_attention" in ropes:
        writer.add_rope_freq_base_swa(ropes["sliding_attention"]["rope_theta"])


def _write_window(writer: gguf.GGUFWriter, config: Any) -> None:
    if config.model_type in ("cohere2", "exaone4", "gemma2", "gemma3_text", "olmo3", "phi3") and config.sliding_window:
        writer.add_sliding_window(config.sliding_window)
    if config.model_type in ("exaone4", "olmo3"):
        writer.add_sliding_window_pattern([kind == "sliding_attention" for kind in config.layer_types])


def _write_vocabulary(writer: gguf.GGUFWriter, vocab_size: int) -> None:
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(["<unk>", "<s>", "</s>", *(f"t{number}" for number in range(3, vocab_size))])
    writer.add_token_scores([0.0] * vocab_size)
    writer.add_token_types([2, 3, 3] + [1] * (vocab_size - 3))
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)


def _split(name: str, values: Array) -> list[tuple[str, Array]]:
    """Gate and up projections as two tensors, of Granite 4 and of experts, under the names that checkpoints have."""
    if ".shared_mlp.input_linear" in name:
        names = [name.replace("shared_mlp.input_linear", f"mlp.{part}_proj") for part in ("gate", "up")]
        return list(zip(names, np.split(values, 2), strict=True))
    stem, is_fused, _ = name.partition(".experts.gate_up_proj")
    if is_fused:
        gate, up = np.split(values, 2, axis=1)
        return [(f"{stem}.experts.gate_proj.weight", gate), (f"{stem}.experts.up_proj.weight", up)]
    return [(f"{name}.weight" if name.endswith("experts.down_proj") else name, values)]


def _converted(config: Any, name: str, values: Array) -> tuple[str, Array]:
    """Name and values as the file has them."""
    module, _, kind = name.rpartition(".")
    stem = _stem(config, module)
    if stem in ("attn_q", "attn_k") and config.model_type in _PAIRED_FAMILIES:
        heads = config.num_attention_heads if stem == "attn_q" else config.num_key_value_heads
        values = values.reshape(heads, 2, -1, *values.shape[1:]).swapaxes(1, 2).reshape(values.shape)
    if stem == "ffn_gate_inp_shexp":
        values = values[0]
    if config.model_type == "gpt2" and values.ndim == 2 and ".h." in name:
        values = values.T
    if stem == "attn_qkv" and config.model_type == "gpt_neox":
        heads = config.num_attention_heads
        values = values.reshape(heads, 3, -1, *values.shape[1:]).swapaxes(0, 1).reshape(values.shape)
    has_offset = config.model_type.startswith("gemma") or config.model_type == "nemotron"
    if has_offset and stem.endswith("norm") and kind == "weight":
        values = values + 1
    return _file_name(config, module, kind), np.ascontiguousarray(values)


def _file_name(config: Any, module: str, kind: str) -> str:
    layer = re.search(r"\.(\d+)\.", f"{module}.")
    prefix = f"blk.{layer[1]}." if layer else ""
    return f"{prefix}{_stem(config, module)}.{kind}"


def _stem(config: Any, module: str) -> str:
    if module.endswith(".post_attention_layernorm"):
        return "post_attention_norm" if config.model_type in _POST_NORM_FAMILIES else "ffn_norm"
    for pattern, stem in _STEMS.items():
        found = re.fullmatch(pattern, module)
        if found:
            return stem.format(*found.groups())
    raise AssertionError(module)


def _llama3_divisors(config: Any) -> Array | None:
    """The divisors of Llama 3's scaling, as the converter computes them."""
    rope = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type") != "llama3":
        return None
    head_dim = config.hidden_size // config.num_attention_heads
    frequencies = 1.0 / rope["rope_theta"] ** (np.arange(0, head_dim, 2) / head_dim)
    waves = 2 * np.pi / frequencies
    low, high, original = (
        rope[name] for name in ("low_freq_factor", "high_freq_factor", "original_max_position_embeddings")
    )
    smooth = (original / waves - low) / (high - low)
    between = 1 / ((1 - smooth) / rope["factor"] + smooth)
    divisors = np.where(waves < original / high, 1.0, np.where(waves > original / low, rope["factor"], between))
    return np.asarray(divisors, dtype=np.float32)

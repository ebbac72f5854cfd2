"""config.json as published, in the older and the newer form: the settings that change the numbers are all read."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextword.errors import CheckpointError, ConfigError
from nextword.models.config import ModelConfig
from nextword.models.families import FAMILIES
from nextword.models.families.fields import ConfigFields
from nextword.models.rope import LinearScaling, Llama3Scaling, LongRopeScaling, Rope, YarnScaling

SIZES: dict[str, Any] = {
    "vocab_size": 100,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-6,
}


def read(family: str, **fields: Any) -> ModelConfig:
    return FAMILIES[family].config_from_hf(ConfigFields({**SIZES, **fields}, "config.json"))


def test_rope_is_read_alike_from_the_older_and_the_newer_form() -> None:
    scaling = {
        "rope_type": "llama3",
        "factor": 32.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    }
    older = read("llama", rope_theta=500000.0, rope_scaling=scaling)
    newer = read("llama", rope_parameters={"rope_theta": 500000.0, **scaling})
    expected = Llama3Scaling(factor=32.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_seq_len=64)
    assert older == newer
    assert older.rope == Rope(theta=500000.0, rotary_dim=16, scaling=expected)


def test_a_null_scaling_is_none() -> None:
    assert read("llama", rope_scaling=None, rope_theta=10000.0).rope == Rope(theta=10000.0, rotary_dim=16)


def test_linear_scaling_by_its_older_key() -> None:
    rope = read("llama", rope_scaling={"type": "linear", "factor": 4.0}).rope
    assert rope is not None
    assert rope.scaling == LinearScaling(factor=4.0)


def test_yarn_takes_the_recommended_temperature() -> None:
    rope = read("qwen2", rope_scaling={"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}).rope
    assert rope is not None
    assert isinstance(rope.scaling, YarnScaling)
    assert rope.scaling.attention_factor == pytest.approx(1.1386294361)  # 0.1 ln 4 + 1, section 3.4 of the paper
    assert rope.scaling.original_max_seq_len == 32


@pytest.mark.parametrize("name", ["longrope", "su"])
def test_longrope_takes_its_factor_from_the_two_context_lengths(name: str) -> None:
    scaling = {"type": name, "short_factor": [1.0] * 8, "long_factor": [2.0] * 8}
    config = read("phi3", rope_scaling=scaling, original_max_position_embeddings=16)
    assert config.rope is not None
    assert isinstance(config.rope.scaling, LongRopeScaling)
    assert config.rope.scaling.attention_factor == pytest.approx(1.3228756555)  # sqrt(1 + ln(128/16) / ln 16)


def test_the_number_of_longrope_factors_must_be_that_of_the_pairs() -> None:
    scaling = {"type": "longrope", "short_factor": [1.0] * 7, "long_factor": [2.0] * 8}
    with pytest.raises(ConfigError, match="short_factors has 7 numbers, 8 pairs"):
        read("phi3", rope_scaling=scaling)


def test_gemma3_has_two_ropes_in_either_form() -> None:
    older = read("gemma3", head_dim=16, rope_theta=1e6, rope_local_base_freq=1e4, sliding_window_pattern=6)
    per_type = {
        "full_attention": {"rope_type": "default", "rope_theta": 1e6},
        "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
    }
    newer = read("gemma3", head_dim=16, rope_parameters=per_type)
    assert older == newer
    assert older.rope == Rope(theta=1e6, rotary_dim=16)
    assert older.local_rope == Rope(theta=1e4, rotary_dim=16)
    assert older.sliding_layers == (0, 1, 2, 3, 4)


def test_gemma_takes_defaults_that_its_files_leave_out() -> None:
    config = read("gemma2", head_dim=16)
    assert config.is_tied
    assert (config.attention_soft_cap, config.logit_soft_cap) == (50.0, 30.0)
    assert config.embedding_scale == 8.0
    assert config.attention_scale == 256**-0.5
    assert config.sliding_layers == (0, 2, 4)


def test_qwen2_slides_only_if_told_to() -> None:
    assert read("qwen2", use_sliding_window=False, sliding_window=32, max_window_layers=4).sliding_layers == ()
    assert read("qwen2", use_sliding_window=True, sliding_window=32, max_window_layers=4).sliding_layers == (4, 5)
    types = ["full_attention", "sliding_attention"] * 3
    config = read("qwen2", use_sliding_window=True, sliding_window=32, layer_types=types)
    assert config.sliding_layers == (1, 3, 5)


def test_mistral_slides_everywhere_unless_the_window_is_null() -> None:
    assert read("mistral").sliding_window == 4096
    assert read("mistral", sliding_window=16).sliding_layers == (0, 1, 2, 3, 4, 5)
    assert read("mistral", sliding_window=None).sliding_layers == ()


def test_every_fourth_layer_of_smollm3_sees_no_positions() -> None:
    assert read("smollm3").layers_without_rope == (3,)
    assert read("smollm3", no_rope_layers=[1, 0, 1, 1, 0, 1]).layers_without_rope == (1, 4)


def test_pythia_rotates_a_quarter_of_each_head() -> None:
    config = read("gpt_neox", rotary_pct=0.25, rotary_emb_base=10000, hidden_act="gelu", layer_norm_eps=1e-5)
    assert config.rope == Rope(theta=10000.0, rotary_dim=4)
    assert config.is_parallel
    assert not config.is_tied


def test_gpt2_has_learned_positions_and_an_mlp_four_times_as_wide() -> None:
    sizes = {"vocab_size": 100, "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 32}
    config = FAMILIES["gpt2"].config_from_hf(ConfigFields(sizes, "config.json"))
    assert config.rope is None
    assert config.intermediate_size == 256
    assert config.activation == "gelu_tanh"
    assert config.is_tied


def test_exaone4_reads_its_pattern_as_a_number_or_as_letters() -> None:
    assert read("exaone4", sliding_window_pattern=3).sliding_layers == (0, 1, 3, 4)
    assert read("exaone4", sliding_window_pattern="LLG").sliding_layers == (0, 1, 3, 4)
    assert read("exaone4", sliding_window_pattern="LGL").sliding_layers == (0, 2, 3)  # the last is global
    assert read("exaone4", sliding_window_pattern=3).layers_without_rope == (2, 5)
    whole = read("exaone4", sliding_window=None)
    assert (whole.sliding_layers, whole.layers_without_rope) == ((), ())


def test_the_scaling_of_olmo3_holds_for_full_attention_only() -> None:
    scaling = {"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 16, "attention_factor": 1.2}
    older = read("olmo3", rope_theta=500000, rope_scaling=scaling, sliding_window=32)
    full = {**scaling, "rope_theta": 500000}
    newer = read("olmo3", sliding_window=32, rope_parameters={"full_attention": full})
    assert older == newer
    assert older.rope is not None
    assert isinstance(older.rope.scaling, YarnScaling)
    assert older.local_rope == Rope(theta=500000.0, rotary_dim=16)
    assert older.sliding_layers == (0, 1, 2, 4, 5)


def test_granite_has_four_factors() -> None:
    config = read(
        "granite", embedding_multiplier=12, attention_multiplier=0.015625, residual_multiplier=0.22, logits_scaling=8.0
    )
    assert (config.embedding_scale, config.attention_scale) == (12.0, 0.015625)
    assert (config.residual_scale, config.logit_scale) == (0.22, 0.125)


def test_the_layers_of_cohere2_slide_with_positions_or_attend_to_all_without() -> None:
    config = read("cohere2", sliding_window=16)
    assert config.sliding_layers == (0, 1, 2, 4, 5)
    assert config.layers_without_rope == (3,)
    assert read("cohere2", sliding_window=16, sliding_window_pattern=2).layers_without_rope == (1, 3, 5)
    assert read("cohere2", sliding_window=None).layers_without_rope == (0, 1, 2, 3, 4, 5)


def test_the_norms_of_olmo_have_no_parameters() -> None:
    config = read("olmo", clip_qkv=8.0, rms_norm_eps=1e-3)
    assert (config.norm, config.norm_weight, config.norm_bias) == ("layer", False, False)
    assert (config.norm_eps, config.qkv_clip) == (1e-5, 8.0)


@pytest.mark.parametrize(("family", "share"), [("phi", 0.5), ("nemotron", 0.5), ("stablelm", 0.25), ("glm", 0.5)])
def test_families_rotate_part_of_each_head_where_their_files_do_not_say_how_much(family: str, share: float) -> None:
    rope = read(family, head_dim=16).rope
    assert rope is not None
    assert rope.rotary_dim == 16 * share


def test_the_first_gemma_means_tanh_by_gelu() -> None:
    assert read("gemma", head_dim=16, hidden_act="gelu").activation == "gelu_tanh"


@pytest.mark.parametrize(
    ("family", "fields", "message"),
    [
        ("cohere", {"use_qk_norm": True}, "use_qk_norm is True"),
        ("cohere", {"logit_scale": 0}, "logit_scale is 0"),
        ("gptj", {"tie_word_embeddings": True}, "tie_word_embeddings is True"),
        ("granitemoehybrid", {}, "num_local_experts is missing"),
        ("granitemoehybrid", {"num_local_experts": 0}, "layer_types is missing"),
        ("granitemoehybrid", {"num_local_experts": 0, "layer_types": ["mamba", "attention"]}, "Mamba layers"),
        (
            "granitemoehybrid",
            {"num_local_experts": 0, "layer_types": ["attention"] * 6, "position_embedding_type": "alibi"},
            "position_embedding_type is 'alibi'",
        ),
        ("granite", {"residual_multiplier": -1}, "residual_multiplier is -1"),
        ("olmo", {"clip_qkv": 0}, "clip_qkv is 0"),
        ("opt", {"do_layer_norm_before": False}, "do_layer_norm_before is False"),
        ("opt", {"word_embed_proj_dim": 32}, "word_embed_proj_dim is 32"),
        ("opt", {"_remove_final_layer_norm": True}, "_remove_final_layer_norm is True"),
        ("phi", {"qk_layernorm": True}, "qk_layernorm is True"),
        ("phi", {"tie_word_embeddings": True}, "tie_word_embeddings is True"),
        ("stablelm", {"qk_layernorm": True}, "qk_layernorm is True"),
        ("exaone4", {"sliding_window_pattern": "LLX"}, "sliding_window_pattern is 'LLX'"),
        ("gemma", {"use_bidirectional_attention": True}, "use_bidirectional_attention is True"),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx is True"),
        ("gpt2", {"add_cross_attention": True}, "add_cross_attention is True"),
        ("gemma3", {"attn_logit_softcapping": 50.0}, "attn_logit_softcapping is 50.0; expected null"),
        ("gemma3", {"use_bidirectional_attention": True}, "use_bidirectional_attention is True"),
        ("gemma3", {"sliding_window_pattern": 0}, "sliding_window_pattern is 0"),
        ("gemma2", {"query_pre_attn_scalar": 0}, "query_pre_attn_scalar is 0"),
        ("qwen3", {"layer_types": ["full_attention"], "use_sliding_window": True}, "layer_types is .*expected 6 of"),
        ("qwen3", {"layer_types": ["linear_attention"] * 6, "use_sliding_window": True}, "layer_types is"),
        ("smollm3", {"no_rope_layers": [1, 1]}, "no_rope_layers is .*expected 6 of 0 and 1"),
        ("smollm3", {"no_rope_layer_interval": 0}, "no_rope_layer_interval is 0"),
        ("mistral", {"sliding_window": 0}, "sliding_window is 0"),
        ("llama", {"rope_parameters": {"rope_type": "proportional"}}, "rope_parameters.rope_type is 'proportional'"),
        ("phi3", {"partial_rotary_factor": 1.5}, "partial_rotary_factor is 1.5; expected a number above 0"),
        ("llama", {"head_dim": 0}, "head_dim is 0"),
    ],
)
def test_a_setting_that_changes_the_numbers_and_is_not_implemented_is_refused(
    family: str, fields: dict[str, Any], message: str
) -> None:
    gpt2_sizes = {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 32}
    with pytest.raises(CheckpointError, match=message):
        read(family, **(gpt2_sizes if family == "gpt2" else {}), **fields)


FIELDS = [
    *SIZES,
    *("n_embd", "n_layer", "n_head", "n_positions", "n_inner", "head_dim", "sliding_window", "layer_types"),
    *("rope_theta", "rope_scaling", "rope_parameters", "rotary_pct", "partial_rotary_factor", "no_rope_layers"),
    *("original_max_position_embeddings", "max_window_layers", "use_sliding_window", "sliding_window_pattern"),
    *("query_pre_attn_scalar", "attn_logit_softcapping", "final_logit_softcapping", "hidden_act", "rms_norm_eps"),
    *("embedding_multiplier", "logits_scaling", "logit_scale", "clip_qkv", "norm_eps", "layer_norm_eps", "ffn_dim"),
]
SCALING_FIELDS = [
    *("type", "rope_type", "factor", "low_freq_factor", "high_freq_factor", "beta_fast", "beta_slow", "mscale"),
    *("mscale_all_dim", "attention_factor", "short_factor", "long_factor", "original_max_position_embeddings"),
    *("rope_theta", "full_attention", "sliding_attention"),
]
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-2, 9)
    | st.sampled_from([10**9, -(10**30), 2**31, 1e308, 1e-320, float("nan"), 0.5, "", "gelu"])
    | st.sampled_from(["default", "linear", "llama3", "yarn", "longrope", "full_attention", "sliding_attention"])
)
VALUES = SCALARS | st.lists(SCALARS, max_size=8) | st.dictionaries(st.sampled_from(SCALING_FIELDS), SCALARS, max_size=8)


@settings(max_examples=400, deadline=None)
@given(family=st.sampled_from(sorted(FAMILIES)), fields=st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=5))
def test_any_config_is_read_or_refused(family: str, fields: dict[str, Any]) -> None:
    gpt2_sizes = {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 32, "ffn_dim": 128}
    content = {**SIZES, **gpt2_sizes, **fields}
    try:
        config = FAMILIES[family].config_from_hf(ConfigFields(content, "config.json"))
    except (CheckpointError, ConfigError):
        return
    for rope in {config.rope, config.local_rope} - {None}:
        assert rope is not None
        assert len(rope.inverse_frequencies()) == rope.rotary_dim // 2


QWEN3_MOE = {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 32}


def test_layers_with_experts_are_those_of_the_step_that_are_not_listed() -> None:
    config = read("qwen3_moe", **QWEN3_MOE, decoder_sparse_step=2, mlp_only_layers=[3, 99])
    assert config.experts is not None
    assert config.experts.layers == (1, 5)
    assert [config.layer_experts(layer) is not None for layer in range(6)] == [False, True, False, False, False, True]


def test_the_number_of_experts_is_read_under_both_of_its_names() -> None:
    newer = {name: value for name, value in QWEN3_MOE.items() if name != "num_experts"}
    assert read("qwen3_moe", **newer, num_local_experts=8) == read("qwen3_moe", **QWEN3_MOE)


@pytest.mark.parametrize(
    ("family", "fields", "message"),
    [
        (
            "qwen3_moe",
            {**QWEN3_MOE, "num_local_experts": 9},
            "num_local_experts is 9; expected num_experts, which is 8",
        ),
        ("qwen3_moe", {**QWEN3_MOE, "num_experts_per_tok": 9}, "per_token = 9 must be at most experts.count = 8"),
        ("qwen3_moe", {**QWEN3_MOE, "decoder_sparse_step": 0}, "decoder_sparse_step is 0"),
        ("qwen3_moe", {**QWEN3_MOE, "mlp_only_layers": ["1"]}, "mlp_only_layers is .* expected a list of layers"),
        ("qwen3_moe", {**QWEN3_MOE, "norm_topk_prob": 1}, "norm_topk_prob is 1; expected true or false"),
        ("olmoe", {"clip_qkv": 8.0}, "clip_qkv is 8.0"),
        ("mixtral", {"num_local_experts": 0}, "num_local_experts is 0"),
        ("qwen2_moe", {"shared_expert_intermediate_size": -1}, "shared_expert_intermediate_size is -1"),
    ],
)
def test_settings_of_experts_that_cannot_be_are_refused_by_name(
    family: str, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises((CheckpointError, ConfigError), match=message):
        read(family, **fields)

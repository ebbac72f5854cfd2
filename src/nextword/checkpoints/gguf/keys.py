"""`check_unread`: what becomes of the keys of a GGUF file that its family does not read.

A setting that llama.cpp knows and that would change the result is refused by name, unless its value says that there is
nothing to do. A key that llama.cpp does not know, either, is named in a warning, once. The names are those of
llama.cpp's loader (LLM_KV_NAMES).
"""

from __future__ import annotations

import fnmatch
import math
import warnings

from nextword.checkpoints.gguf.metadata import GGUFMetadata
from nextword.models.config import ModelConfig
from nextword.models.families.shared import ACTIVATIONS

_HARMLESS = (
    "attention.layer_norm_*epsilon",  # the one of the family's norm is read
    "expert_shared_feed_forward_length",  # written for Granite 4 without experts; shared experts have their tensors
    "pooling_type",
    "rope.scale_linear",
    "rope.scaling.[!a]*",  # what the type of the scaling uses is read
    "rope.scaling.attn_factor",
    "ssm.*",  # written for Granite 4 without Mamba layers, too; such layers have their tensors
    "tensor_data_layout",
)
"""Settings that do not change the text, or do not where they were not read."""
_OTHER_MODELS = (
    *(
        "activation*",
        "adapters.*",
        "altup.*",
        "attention.*",
        "attn_*",
        "block_size",
        "classifier.*",
        "conv_*_size",
        "convnext.*",
    ),
    *("decoder_*", "deepstack_mapping", "dense_*", "embedding_*", "expert*", "features_length", "final_*"),
    *("full_attention_interval", "hash_layer_count", "hrm.*", "hyper_connection.*", "interleave_moe_layer_step"),
    *("kda.*", "leading_dense_block_count", "logit_scale", "moe_*", "n_deepstack_layers", "nextn_predict_layers"),
    *("norm_before_*", "num_loops", "ple.*", "posnet.*", "rescale_every_n_layers", "residual_scale"),
    *("rope.dimension_sections", "rope.scaling.alpha", "router_logit_softcapping", "selector_*", "shortconv.*"),
    *("skip_loop_final_norm", "swiglu_clamp_*", "swin_norm", "target_*", "time_*_extra_dim"),
    *("token_shift_count", "wkv.*"),
)
"""Settings of models that have something more: 0 or false says that this one does not."""


_TOKENIZER = "tokenizer.ggml."
_TOKENIZER_HARMLESS = (
    *("added_tokens", "fim_*_token_id", "*fix_token_id", "middle_token_id", "token_type_count"),  # tokens are listed
    *("add_space_prefix", "merges", "pre", "remove_extra_whitespaces", "scores"),  # of the other kind of vocabulary
    *("normalizer.*", "precompiled_charsmap"),
)
"""Settings of tokenizers that do not change its tokens where they were not read."""
_OF_SLIDING_LAYERS = ("attention.sliding_window_pattern", "rope.freq_base_swa", "*_swa")
"""Settings of layers with a sliding window; where no layer has one they say nothing."""


def check_unread(metadata: GGUFMetadata, architecture: str, config: ModelConfig) -> None:
    """Judge every key of the architecture that was not read.

    Raises CheckpointError for a setting that would change the result; warns of unknown keys.
    """
    accepted = _accepted(config)
    unknown = []
    for key in metadata.unread(f"{architecture}."):
        name = key.removeprefix(f"{architecture}.")
        if _matches(name, _HARMLESS) or (not config.sliding_layers and _matches(name, _OF_SLIDING_LAYERS)):
            continue
        if name == "attention.sliding_window" and metadata.integer(key) >= config.max_seq_len:
            continue  # it covers all positions
        if name in accepted:
            _require(metadata, key, accepted[name])
        elif _matches(name, _OTHER_MODELS):
            _require(metadata, key, (0,))
        else:
            unknown.append(key)
    _warn_of_unknown(metadata, unknown)


def check_unread_of_tokenizer(metadata: GGUFMetadata) -> None:
    """Judge every key of the tokenizer that was not read, as `check_unread` does those of the architecture."""
    unknown = []
    for key in metadata.unread(_TOKENIZER):
        name = key.removeprefix(_TOKENIZER)
        if name == "add_sep_token":
            _require(metadata, key, (False,))
        elif not _matches(name, _TOKENIZER_HARMLESS):
            unknown.append(key)
    _warn_of_unknown(metadata, unknown)


def _warn_of_unknown(metadata: GGUFMetadata, keys: list[str]) -> None:
    if keys:
        more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
        names = ", ".join(repr(key[:80]) for key in keys[:3])
        warnings.warn(f"{metadata.path}: unknown metadata {names}{more} is ignored", stacklevel=6)


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _accepted(config: ModelConfig) -> dict[str, tuple[object, ...]]:
    """Return, for settings that say what a model without them does anyway, the values that say so."""
    rope = config.rope
    return {
        "attention.causal": (True,),
        "attention.key_length_swa": (config.head_dim,),
        "attention.output_scale": (0, 1),
        "attention.scale": (0, config.attention_scale),
        "attention.value_length_swa": (config.head_dim,),
        "attention.value_scale": (0, 1),
        "embedding_length_out": (0, config.hidden_size),
        "embedding_scale": (0, config.embedding_scale),
        "expert_gating_func": (0, 1),  # a softmax
        "expert_group_count": (0, 1),
        "expert_group_used_count": (0, 1),
        "expert_weights_scale": (0, 1),
        "hidden_activation": tuple(name for name, own in ACTIVATIONS.items() if own == config.activation),
        "logit_scale": (0, 1),
        "residual_scale": (0, 1),
        "rope.dimension_count_swa": () if rope is None else (rope.rotary_dim,),
        "rope.freq_base_swa": () if rope is None else (rope.theta,),
        "use_parallel_residual": (config.is_parallel,),
    }


def _require(metadata: GGUFMetadata, key: str, accepted: tuple[object, ...]) -> None:
    """Raise CheckpointError unless the value, or each of a list, is one of those accepted."""
    value = metadata.value(key)
    for item in value if isinstance(value, list) else [value]:
        if not any(_is_same(item, other) for other in accepted):
            shown = " or ".join(map(repr, accepted)) or "no such key"
            metadata.refuse(key, f"{shown}; nothing else is implemented")


def _is_same(own: object, other: object) -> bool:
    if isinstance(own, int | float) and isinstance(other, int | float):
        return math.isclose(own, other, rel_tol=1e-6)
    return own == other

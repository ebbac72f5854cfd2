"""`read_gguf_config`: convert GGUF metadata to the `ModelConfig` that config.json of the same model gives.

In: metadata and the names and shapes of tensors. The metadata is rewritten as config.json, which the family then reads.
The keys are those of ggml's docs/gguf.md and llama.cpp's converter; `keys` says what becomes of the others.
"""

from __future__ import annotations

from collections.abc import Mapping

from nextword.checkpoints.gguf.keys import check_unread
from nextword.checkpoints.gguf.metadata import GGUFMetadata
from nextword.checkpoints.gguf.rope import read_rope_fields
from nextword.errors import CheckpointError, ConfigError
from nextword.models.config import ModelConfig
from nextword.models.families import FAMILIES, Family
from nextword.models.families.family import GGUFMapping
from nextword.models.families.fields import ConfigFields
from nextword.models.stored_tensor import StoredTensor

_EMBEDDING = "token_embd.weight"


def read_gguf_config(
    metadata: GGUFMetadata, tensors: Mapping[str, StoredTensor]
) -> tuple[Family, GGUFMapping, ModelConfig]:
    """Read family, its GGUF mapping and the config. Raises CheckpointError naming file and key if one is wrong.

    Every key of the architecture is read, or judged by `check_unread`.
    """
    family, mapping = _family(metadata)
    reader = _Reader(metadata, tensors, mapping)
    try:
        config = family.config_from_hf(ConfigFields(reader.content(), str(metadata.path)))
    except ConfigError as error:
        raise CheckpointError(f"{metadata.path}: {error}") from None
    check_unread(metadata, mapping.architecture, config)
    return family, mapping, config


def _family(metadata: GGUFMetadata) -> tuple[Family, GGUFMapping]:
    """Return the family of the file: of several with one architecture, the one whose marker the file has."""
    known = [(family, family.gguf) for family in FAMILIES.values() if family.gguf]
    architecture = metadata.text("general.architecture")
    found = {mapping.marker: (family, mapping) for family, mapping in known if mapping.architecture == architecture}
    if not found:
        names = sorted({mapping.architecture for _, mapping in known})
        metadata.refuse("general.architecture", f"one of {', '.join(names)}")
    # A setting of 0 is as good as none: no window, no experts.
    marked = [marker for marker in found if marker and metadata.content.get(f"{architecture}.{marker}")]
    return found[marked[0] if marked else None]


class _Reader:
    """Reconstruction of the config.json that a GGUF file's model was published with."""

    def __init__(self, metadata: GGUFMetadata, tensors: Mapping[str, StoredTensor], mapping: GGUFMapping) -> None:
        self._metadata = metadata
        self._tensors = tensors
        self._mapping = mapping
        self._prefix = f"{mapping.architecture}."

    def content(self) -> dict[str, object]:
        """Return the fields of config.json, under each name that a family has for them."""
        heads, hidden = self._size("attention.head_count"), self._size("embedding_length")
        layers, length = self._size("block_count"), self._size("context_length")
        wide, head_dim = self._size("feed_forward_length"), self._head_dim(hidden, heads)
        eps = self._epsilon()
        return {
            "vocab_size": self._vocab_size(),
            **dict.fromkeys(("hidden_size", "n_embd"), hidden),
            **dict.fromkeys(("intermediate_size", "n_inner"), wide),
            **dict.fromkeys(("num_hidden_layers", "n_layer"), layers),
            **dict.fromkeys(("num_attention_heads", "n_head"), heads),
            "num_key_value_heads": self._size("attention.head_count_kv", heads),
            "head_dim": head_dim,
            **dict.fromkeys(("max_position_embeddings", "n_positions"), length),
            **dict.fromkeys(("rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon"), eps),
            "tie_word_embeddings": "output.weight" not in self._tensors,
            **dict.fromkeys(("attention_bias", "use_qkv_bias", "use_bias"), self._has_bias("attn_q", "attn_qkv")),
            "attention_out_bias": self._has_bias("attn_output"),
            "mlp_bias": self._has_bias("ffn_up"),
            "query_pre_attn_scalar": hidden // heads if layers == self._mapping.wide_scale_layers else head_dim,
            "sliding_window": None,
            **read_rope_fields(self._metadata, self._prefix, self._tensors, head_dim=head_dim, max_seq_len=length),
            **self._own_settings(layers),
        }

    def _has_bias(self, *names: str) -> bool:
        return any(f"blk.0.{name}.bias" in self._tensors for name in names)

    def _size(self, key: str, default: int | None = None) -> int:
        value = self._metadata.integer(self._prefix + key, default)
        if value == 0:
            self._metadata.refuse(self._prefix + key, "a positive number")
        return value

    def _head_dim(self, hidden: int, heads: int) -> int:
        key = "attention.key_length"
        if not self._metadata.has(self._prefix + key) and hidden % heads:
            self._metadata.refuse(self._prefix + "embedding_length", f"a multiple of attention.head_count = {heads}")
        head_dim = self._size(key, hidden // heads)
        if self._size("attention.value_length", head_dim) != head_dim:
            self._metadata.refuse(self._prefix + "attention.value_length", f"{head_dim}, the length of keys")
        return head_dim

    def _epsilon(self) -> float:
        names = [f"{self._prefix}attention.layer_norm_{kind}epsilon" for kind in ("rms_", "")]
        return self._metadata.number(next((name for name in names if self._metadata.has(name)), names[0]))

    def _vocab_size(self) -> int:
        if _EMBEDDING not in self._tensors:
            raise CheckpointError(f"{self._metadata.path}: tensor {_EMBEDDING} is missing; fetch the file again")
        return self._size("vocab_size", self._tensors[_EMBEDDING].shape[0])

    def _own_settings(self, num_layers: int) -> dict[str, object]:
        """Return the settings that only this family has; a sliding window of 0 means none."""
        settings = dict(self._mapping.defaults)
        for field, name in self._mapping.settings.items():
            key = self._prefix + name
            if not self._metadata.has(key):
                continue
            value = self._metadata.value(key)
            if field == "layer_types":
                settings[field] = self._layer_types(key, value, num_layers)
            else:
                settings[field] = None if field == "sliding_window" and value == 0 else value
        return settings

    def _layer_types(self, key: str, value: object, num_layers: int) -> list[str]:
        """Read which layers have the sliding window: a flag for each, or all but the last of each so many."""
        if type(value) is int and value >= 0:
            slides = [value == 0 or (layer + 1) % value != 0 for layer in range(num_layers)]
        elif isinstance(value, list) and len(value) == num_layers and all(flag in (0, 1) for flag in value):
            slides = value
        else:
            self._metadata.refuse(key, f"a whole number, or true or false for each of {num_layers} layers")
        return ["sliding_attention" if slide else "full_attention" for slide in slides]

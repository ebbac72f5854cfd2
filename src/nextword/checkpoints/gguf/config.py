"""`read_gguf_config`: convert GGUF metadata to the `ModelConfig` that config.json of the same model gives.

In: metadata and the names and shapes of tensors. The metadata is rewritten as config.json, which the family then reads.
The keys are those of ggml's docs/gguf.md and llama.cpp's converter.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from nextword.checkpoints.gguf.metadata import GGUFMetadata
from nextword.errors import CheckpointError, ConfigError
from nextword.models.config import ModelConfig
from nextword.models.families import FAMILIES, Family
from nextword.models.families.family import GGUFMapping
from nextword.models.families.fields import ConfigFields
from nextword.models.rope import Llama3Scaling, Rope
from nextword.models.stored_tensor import StoredTensor

ROPE_FACTORS = ("rope_freqs.weight", "rope_factors_short.weight", "rope_factors_long.weight")
"""Tensors that hold divisors of the rotary frequencies; they are settings, not weights."""
_EMBEDDING = "token_embd.weight"
_LLAMA3_SETTINGS = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
"""Settings of all published models with Llama 3's scaling; GGUF stores only the divisors that follow from them."""


def read_gguf_config(
    metadata: GGUFMetadata, tensors: Mapping[str, StoredTensor]
) -> tuple[Family, GGUFMapping, ModelConfig]:
    """Read family, its GGUF mapping and the config. Raises CheckpointError naming file and key if one is wrong."""
    family, mapping = _family(metadata)
    reader = _Reader(metadata, tensors, mapping)
    try:
        return family, mapping, family.config_from_hf(ConfigFields(reader.content(), str(metadata.path)))
    except ConfigError as error:
        raise CheckpointError(f"{metadata.path}: {error}") from None


def _family(metadata: GGUFMetadata) -> tuple[Family, GGUFMapping]:
    """Return the family of the file: of two with one architecture, the one whose marker the file has."""
    known = [(family, family.gguf) for family in FAMILIES.values() if family.gguf]
    architecture = metadata.text("general.architecture")
    found = {mapping.marker: (family, mapping) for family, mapping in known if mapping.architecture == architecture}
    if not found:
        names = sorted({mapping.architecture for _, mapping in known})
        metadata.refuse("general.architecture", f"one of {', '.join(names)}")
    marked = [marker for marker in found if marker and metadata.has(f"{architecture}.{marker}")]
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
            "attention_bias": any(f"blk.0.attn_{name}.bias" in self._tensors for name in ("q", "qkv")),
            "mlp_bias": "blk.0.ffn_up.bias" in self._tensors,
            "query_pre_attn_scalar": hidden // heads if layers == self._mapping.wide_scale_layers else head_dim,
            **self._rope(head_dim),
            **self._own_settings(),
        }

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

    def _own_settings(self) -> dict[str, object]:
        """Return the settings that only this family has; a sliding window of 0 means none."""
        settings: dict[str, object] = dict(self._mapping.defaults)
        for field, name in self._mapping.settings.items():
            key = self._prefix + name
            if self._metadata.has(key):
                value = self._metadata.content[key]
                if field == "layer_types":
                    value = self._layer_types(key)
                settings[field] = None if field == "sliding_window" and value == 0 else value
        return settings

    def _layer_types(self, key: str) -> list[str]:
        """Read which layers slide."""
        slides = self._metadata.content[key]
        if not isinstance(slides, list) or not all(value in (0, 1) for value in slides):
            self._metadata.refuse(key, "a list of true and false, one for each layer")
        return ["sliding_attention" if value else "full_attention" for value in slides]

    def _rope(self, head_dim: int) -> dict[str, object]:
        theta = self._metadata.number(self._prefix + "rope.freq_base", 10_000.0)
        rotary_dim = self._size("rope.dimension_count", head_dim)
        if rotary_dim > head_dim:
            self._metadata.refuse(self._prefix + "rope.dimension_count", f"at most {head_dim}, the length of a head")
        # Families multiply the share with head_dim and round down: the next number up keeps rounding out of it.
        share = 1.0 if rotary_dim == head_dim else math.nextafter(rotary_dim / head_dim, 1.0)
        fields: dict[str, object] = {
            **dict.fromkeys(("rope_theta", "rotary_emb_base"), theta),
            **dict.fromkeys(("partial_rotary_factor", "rotary_pct"), share),
            "rope_scaling": self._scaling(Rope(theta=theta, rotary_dim=rotary_dim)),
        }
        if self._metadata.has(self._prefix + "rope.scaling.original_context_length"):
            fields["original_max_position_embeddings"] = self._size("rope.scaling.original_context_length")
        return fields

    def _scaling(self, rope: Rope) -> dict[str, object] | None:
        if "rope_factors_long.weight" in self._tensors:
            return self._longrope(rope)
        if "rope_freqs.weight" in self._tensors:
            return self._llama3(rope)
        key, old_key = f"{self._prefix}rope.scaling.type", f"{self._prefix}rope.scale_linear"
        if not self._metadata.has(key) and self._metadata.has(old_key):
            return {"rope_type": "linear", "factor": self._metadata.number(old_key)}
        kind = self._metadata.text(key, "none")
        if kind not in ("none", "linear", "yarn"):
            self._metadata.refuse(key, "none, linear, yarn, or longrope with its tensors of factors")
        return None if kind == "none" else self._stretched(kind)

    def _stretched(self, kind: str) -> dict[str, object]:
        factor = self._metadata.number(f"{self._prefix}rope.scaling.factor")
        if kind == "linear":
            return {"rope_type": "linear", "factor": factor}
        temperature = 0.1 * math.log(factor) + 1.0 if factor > 1 else 1.0
        attention_factor = self._metadata.number(f"{self._prefix}rope.scaling.attn_factor", 1.0)
        return {"rope_type": "yarn", "factor": factor, "attention_factor": attention_factor * temperature}

    def _longrope(self, rope: Rope) -> dict[str, object]:
        scaling: dict[str, object] = {
            "rope_type": "longrope",
            "short_factor": self._factors("rope_factors_short.weight", rope),
            "long_factor": self._factors("rope_factors_long.weight", rope),
        }
        key = f"{self._prefix}rope.scaling.attn_factor"
        if self._metadata.has(key):
            scaling["attention_factor"] = self._metadata.number(key)
        return scaling

    def _llama3(self, rope: Rope) -> dict[str, object]:
        """Return Llama 3's scaling if its settings give the divisors in the file, else a scaling by those divisors."""
        factors = np.array(self._factors("rope_freqs.weight", rope))
        largest = float(factors.max())
        settings = Llama3Scaling(factor=largest, low_freq_factor=1.0, high_freq_factor=4.0, original_max_seq_len=8192)
        scaled = Rope(theta=rope.theta, rotary_dim=rope.rotary_dim, scaling=settings)
        expected = rope.inverse_frequencies() / scaled.inverse_frequencies()
        if np.allclose(factors, expected, rtol=1e-5):
            return {"rope_type": "llama3", "factor": largest, **_LLAMA3_SETTINGS}
        divisors = factors.tolist()
        return {"rope_type": "longrope", "short_factor": divisors, "long_factor": divisors, "attention_factor": 1.0}

    def _factors(self, name: str, rope: Rope) -> list[float]:
        if name not in self._tensors:
            raise CheckpointError(f"{self._metadata.path}: tensor {name} is missing; fetch the file again")
        values = self._tensors[name].to_float32().astype(np.float64)
        if values.shape != (rope.rotary_dim // 2,) or not (np.isfinite(values).all() and (values > 0).all()):
            raise CheckpointError(
                f"{self._metadata.path}: tensor {name} has shape {list(values.shape)}; expected "
                f"{rope.rotary_dim // 2} positive numbers, one for each rotated pair"
            )
        return [float(value) for value in values]

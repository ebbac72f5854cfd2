"""`ModelConfig`: the shape of a decoder-only transformer, one frozen dataclass for every family.

In: values that a family file read from a checkpoint. Out: validated values that every backend trusts. This module knows
the parts that a transformer can have; `families/` knows which family has which.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from nextword.errors import ConfigError
from nextword.models.experts import Experts
from nextword.models.rope import Rope

Activation = Literal["silu", "gelu", "gelu_tanh", "relu", "relu2"]
NormKind = Literal["rms", "layer"]
NormPlacement = Literal["pre", "post", "both"]
QKNorm = Literal["per_head", "all_heads"]

_POSITIVE = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_layers",
    "num_heads",
    "num_kv_heads",
    "head_dim",
    "max_seq_len",
)
LARGEST_SIZE = 2**31 - 1
"""Largest valid size; a larger one means a damaged file and would overflow the index types of the kernels."""
MAX_LAYERS = 4096
"""Largest valid number of layers, ten times the deepest published model; more means a damaged file."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Shape of a transformer. Raises ConfigError naming the field, its value and what is allowed."""

    family: str
    """Name of the family, a key of `families.FAMILIES`."""
    vocab_size: int
    """Rows of the embedding; they may exceed the tokenizer's vocabulary, padded to a round number."""
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    """Key-value heads; each serves num_heads / num_kv_heads query heads."""
    head_dim: int
    max_seq_len: int
    """Context length: positions that the model was trained for."""

    norm: NormKind = "rms"
    norm_eps: float
    norm_offset: float = 0.0
    """Offset added to the stored weight of norms (1 in Gemma, whose files hold weight - 1)."""
    norm_weight: bool = True
    norm_bias: bool = True
    """False: layer norms without weight (OLMo 1), or without bias (Cohere). RMS norms have a weight and no bias."""
    norm_placement: NormPlacement = "pre"
    """Position of norms: before attention and MLP, after them (before the residual sum), or both."""
    qk_norm: QKNorm | None = None
    """RMS norm of queries and keys: over each head, or over all heads together."""

    activation: Activation = "silu"
    is_gated: bool = True
    """True if the MLP multiplies its activation by a second projection (SwiGLU and similar)."""
    experts: Experts | None = None
    """Mixture of experts, in some layers or all; None: every layer has one MLP."""

    rope: Rope | None = None
    """Rotary position embedding; None: learned absolute positions (`position_embedding`)."""
    position_offset: int = 0
    """Row of the first position in `position_embedding` (2 in OPT)."""
    local_rope: Rope | None = None
    """Rotary position embedding of the layers with a sliding window, if it differs (Gemma 3)."""
    layers_without_rope: tuple[int, ...] = ()
    """Layers (from 0) without position embedding (NoPE, in SmolLM3)."""
    sliding_window: int | None = None
    """Number of latest positions that a token attends to in `sliding_layers`, its own included."""
    sliding_layers: tuple[int, ...] = ()
    """Layers (from 0) with the sliding window; in the others a token attends to all positions before it."""

    qkv_clip: float | None = None
    """Largest magnitude of queries, keys and values, which are clipped to it (OLMo 1)."""
    attention_scale: float
    """Factor on query-key products."""
    attention_soft_cap: float | None = None
    """Soft cap on attention scores: c in c * tanh(x / c), after scaling."""
    logit_soft_cap: float | None = None
    """Soft cap on the logits: c in c * tanh(x / c)."""
    embedding_scale: float = 1.0
    """Factor on token embeddings."""
    residual_scale: float = 1.0
    """Factor on what attention and MLP add to the residual stream (Granite)."""
    logit_scale: float = 1.0
    """Factor on the logits, before the soft cap."""

    is_parallel: bool = False
    """True if attention and MLP read the same hidden states and are added together (GPT-NeoX)."""
    is_norm_shared: bool = False
    """True if both read them through one norm, `attention_norm` (Phi)."""
    is_tied: bool = False
    """True if the output head is the embedding matrix."""
    qkv_bias: bool = False
    attention_out_bias: bool = False
    mlp_bias: bool = False
    head_bias: bool = False

    def __post_init__(self) -> None:
        self._check_sizes()
        self._check_numbers()
        self._check_norms()
        self._check_layers()

    def is_sliding(self, layer: int) -> bool:
        """Return True if the layer has the sliding window."""
        return layer in self.sliding_layers

    def layer_rope(self, layer: int) -> Rope | None:
        """Return the rotary position embedding of a layer; None if it has none."""
        if layer in self.layers_without_rope:
            return None
        return self.local_rope if self.local_rope is not None and self.is_sliding(layer) else self.rope

    def layer_experts(self, layer: int) -> Experts | None:
        """Return the mixture of experts of a layer; None if it has one MLP."""
        return self.experts if self.experts is not None and layer in self.experts.layers else None

    def _check_sizes(self) -> None:
        for name in _POSITIVE:
            value = getattr(self, name)
            if not 0 < value <= LARGEST_SIZE:
                raise ConfigError(f"{name} must be from 1 to {LARGEST_SIZE}, is {value}")
        if self.num_layers > MAX_LAYERS:
            raise ConfigError(f"num_layers must be at most {MAX_LAYERS}, is {self.num_layers}")
        if self.num_heads % self.num_kv_heads:
            raise ConfigError(f"num_heads = {self.num_heads} must be a multiple of num_kv_heads = {self.num_kv_heads}")
        for rope in (self.rope, self.local_rope):
            if rope is not None and rope.rotary_dim > self.head_dim:
                raise ConfigError(f"rotary_dim = {rope.rotary_dim} must be at most head_dim = {self.head_dim}")

    def _check_numbers(self) -> None:
        positive = {
            "norm_eps": self.norm_eps,
            "attention_scale": self.attention_scale,
            "attention_soft_cap": self.attention_soft_cap,
            "logit_soft_cap": self.logit_soft_cap,
            "embedding_scale": self.embedding_scale,
            "residual_scale": self.residual_scale,
            "logit_scale": self.logit_scale,
            "qkv_clip": self.qkv_clip,
        }
        for name, value in positive.items():
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ConfigError(f"{name} must be a positive number, is {value}")

    def _check_norms(self) -> None:
        if self.norm != "layer" and not (self.norm_weight and self.norm_bias):
            raise ConfigError("norm_weight and norm_bias are for layer norms; RMS norms have a weight and no bias")
        if self.norm_bias and not self.norm_weight:
            raise ConfigError("norm_bias = True: a layer norm without weight has no bias")
        if self.is_norm_shared and not (self.is_parallel and self.norm_placement == "pre"):
            raise ConfigError("is_norm_shared = True: only parallel layers with norms before them can share these")

    def _check_layers(self) -> None:
        for name, layers in (
            ("layers_without_rope", self.layers_without_rope),
            ("sliding_layers", self.sliding_layers),
            ("experts.layers", () if self.experts is None else self.experts.layers),
        ):
            for layer in layers:
                if not 0 <= layer < self.num_layers:
                    raise ConfigError(f"{name} names layer {layer}; layers are 0 to {self.num_layers - 1}")
        if self.sliding_layers and (self.sliding_window is None or self.sliding_window < 1):
            raise ConfigError(f"sliding_window must be at least 1, is {self.sliding_window}")

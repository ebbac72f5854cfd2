"""The decoder-only transformer of all families as a PyTorch module: token ids in, logits out.

It reads in the order of computation and knows nothing of sampling, loss, tokenizers or files. Letters in comments:
B sequences, T tokens, D hidden size, H heads, K key-value heads, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nextword.errors import RequestError
from nextword.models.attention import causal_attention, packed_causal_attention
from nextword.models.config import ModelConfig
from nextword.models.kv_cache import KVCache
from nextword.models.mlp import MLP, ExpertMLP
from nextword.models.packing import Packing
from nextword.models.passes import layer_norm, rms_norm
from nextword.models.rope import LongRopeScaling, Rope
from nextword.models.rotation import Positions, Rotation, RotationTable


class Transformer(nn.Module):
    """Decoder-only transformer: embedding, layers, final norm, output head.

    Parameters are named as in `weights.weight_shapes`.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = Embedding(config.vocab_size, config.hidden_size)
        if config.rope is None:
            self.position_embedding = Embedding(config.max_seq_len + config.position_offset, config.hidden_size)
        self.layers = nn.ModuleList(Layer(config, index) for index in range(config.num_layers))
        self.final_norm = _norm(config, config.hidden_size)
        if not config.is_tied:
            self.output_head = nn.Linear(config.hidden_size, config.vocab_size, bias=config.head_bias)
        self.head_product = HeadProduct()
        self._ropes = tuple(config.layer_rope(index) for index in range(config.num_layers))
        self._tables: dict[tuple[Rope, bool], RotationTable] = {}

    def forward(self, token_ids: Tensor, *, kv_cache: KVCache | None = None, last_rows: int | None = None) -> Tensor:
        """Compute the logits of the token after each position: (B, T) int64 -> (B, T, V), or (B, last_rows, V).

        Positions continue those of `kv_cache`, to which the new keys and values are appended. `last_rows`: compute the
        output head for the last positions only. Raises RequestError beyond max_seq_len.
        """
        start = 0 if kv_cache is None else kv_cache.length
        end = start + token_ids.shape[1]
        self._require_context(end)
        positions = slice(start, end)
        hidden = self._run_layers(self._embed(token_ids, positions), positions, end, kv_cache, None)
        if kv_cache is not None:
            kv_cache.advance(token_ids.shape[1])
        if last_rows is not None:
            hidden = hidden[:, hidden.shape[1] - last_rows :]
        return self.lens(hidden)

    def hidden_states(self, token_ids: Tensor, *, packing: Packing | None = None) -> Tensor:
        """Compute the final hidden states, the inputs of the output head: (B, T) int64 -> (B, T, D).

        `packing`: boundaries of documents, which do not attend to each other; None: each row is one document.
        Raises RequestError for a document longer than max_seq_len.
        """
        positions: Positions = slice(0, token_ids.shape[1]) if packing is None else packing.positions
        end = token_ids.shape[1] if packing is None else packing.num_positions
        self._require_context(end)
        lengths = (end,) * len(token_ids) if packing is None else packing.lengths
        hidden = self._run_layers(self._embed(token_ids, positions), positions, end, None, lengths)
        return self._head_input(hidden)

    @property
    def head(self) -> tuple[Tensor, Tensor | None]:
        """Weight (V, D) and bias (V,) of the output head; the weight is the embedding's if they are tied."""
        if self.config.is_tied:
            return self.embedding.weight, None
        return self.output_head.weight, self.output_head.bias

    def _require_context(self, end: int) -> None:
        if end > self.config.max_seq_len:
            raise RequestError(
                f"{end} positions needed, the context of the model is {self.config.max_seq_len}: shorten the text"
            )

    def _run_layers(
        self,
        hidden: Tensor,
        positions: Positions,
        end: int,
        kv_cache: KVCache | None,
        document_lengths: tuple[int, ...] | None,
    ) -> Tensor:
        rotations: dict[Rope, Rotation] = {}
        for layer, rope in zip(self.layers, self._ropes, strict=True):
            if rope is not None and rope not in rotations:
                rotations[rope] = self._rotation(rope, positions, end, hidden, kv_cache)
            hidden = layer(hidden, None if rope is None else rotations[rope], kv_cache, document_lengths)
        return hidden

    def _embed(self, token_ids: Tensor, positions: Positions) -> Tensor:
        hidden: Tensor = self.embedding(token_ids)
        if self.config.embedding_scale != 1.0:
            # The factor is rounded to the weights' type before the multiplication, as it was in training.
            hidden = hidden * hidden.new_tensor(self.config.embedding_scale)
        if self.config.rope is None:
            hidden = hidden + self.position_embedding.weight[self.config.position_offset :][positions]
        return hidden

    def _rotation(
        self, rope: Rope, positions: Positions, end: int, hidden: Tensor, kv_cache: KVCache | None
    ) -> Rotation:
        """Return the rotation of positions below `end`; LongRoPE depends on the cache, else on the length `end`."""
        is_long = isinstance(rope.scaling, LongRopeScaling) and end > rope.scaling.original_max_seq_len
        if isinstance(rope.scaling, LongRopeScaling) and kv_cache is not None and kv_cache.is_long is not None:
            is_long = kv_cache.is_long
        table = self._tables.get((rope, is_long))
        if table is None or not table.serves(hidden):
            table = self._tables[rope, is_long] = RotationTable(rope, is_long=is_long, like=hidden)
        return table.at(positions, end)

    def _head_input(self, hidden: Tensor) -> Tensor:
        """Normalise the last layer's output; a factor on the logits is applied here, where there are fewer numbers."""
        normed: Tensor = self.final_norm(hidden)
        scale = self.config.logit_scale
        return normed if scale == 1.0 else normed * scale

    def lens(self, hidden: Tensor) -> Tensor:
        """Compute the logits (..., V) of a layer's output (..., D), as if that layer were the last: the logit lens."""
        return self._logits(self._head_input(hidden))

    def _logits(self, hidden: Tensor) -> Tensor:
        logits: Tensor = self.head_product(hidden, *self.head)
        cap = self.config.logit_soft_cap
        return logits if cap is None else torch.tanh(logits / cap) * cap


class HeadProduct(nn.Module):
    """Product of hidden states with the output head, which may be the embedding: a module, for hooks."""

    def forward(self, hidden: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Compute logits (..., V) of hidden states (..., D)."""
        return F.linear(hidden, weight, bias)


class Embedding(nn.Embedding):
    """Table of vectors by token id or position."""

    def reset_parameters(self) -> None:
        """Draw initial values, except on the meta device, where that would load a compiler for 1.4 seconds."""
        if not self.weight.is_meta:
            super().reset_parameters()


class Layer(nn.Module):
    """Transformer layer: attention and MLP with their norms, added to the residual stream in turn or in parallel."""

    def __init__(self, config: ModelConfig, index: int) -> None:
        super().__init__()
        self.is_parallel, self.is_norm_shared = config.is_parallel, config.is_norm_shared
        self.residual_scale = config.residual_scale
        has_pre, has_post = config.norm_placement != "post", config.norm_placement != "pre"
        self.attention_norm = _norm(config, config.hidden_size) if has_pre else nn.Identity()
        self.attention = Attention(config, index)
        self.post_attention_norm = _norm(config, config.hidden_size) if has_post else nn.Identity()
        self.mlp_norm = _norm(config, config.hidden_size) if has_pre and not self.is_norm_shared else nn.Identity()
        experts = config.layer_experts(index)
        self.mlp = MLP(config, config.intermediate_size) if experts is None else ExpertMLP(config, experts)
        self.post_mlp_norm = _norm(config, config.hidden_size) if has_post else nn.Identity()

    def forward(
        self,
        hidden: Tensor,
        rotation: Rotation | None,
        kv_cache: KVCache | None,
        document_lengths: tuple[int, ...] | None,
    ) -> Tensor:
        """Apply the layer to hidden states (B, T, D) -> (B, T, D)."""
        normed: Tensor = self.attention_norm(hidden)
        mixed: Tensor = self.attention(normed, rotation, kv_cache, document_lengths)
        attended = self._scaled(self.post_attention_norm(mixed))
        summed = hidden + attended
        mlp_input = hidden if self.is_parallel else summed
        mlp_normed = normed if self.is_norm_shared else self.mlp_norm(mlp_input)
        return summed + self._scaled(self.post_mlp_norm(self.mlp(mlp_normed)))

    def _scaled(self, added: Tensor) -> Tensor:
        return added if self.residual_scale == 1.0 else added * self.residual_scale


class Attention(nn.Module):
    """Multi-head causal attention with grouped keys and values (GQA, arXiv:2305.13245)."""

    def __init__(self, config: ModelConfig, index: int) -> None:
        super().__init__()
        self.index = index
        self.head_dim = config.head_dim
        self.num_heads = config.num_heads
        self.window = config.sliding_window if config.is_sliding(index) else None
        self.scale, self.soft_cap = config.attention_scale, config.attention_soft_cap
        self.clip = config.qkv_clip
        queries, keys = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
        self.q_proj = nn.Linear(config.hidden_size, queries, bias=config.qkv_bias)
        self.k_proj = nn.Linear(config.hidden_size, keys, bias=config.qkv_bias)
        self.v_proj = nn.Linear(config.hidden_size, keys, bias=config.qkv_bias)
        self.qk_norm = config.qk_norm
        if config.qk_norm is not None:
            per_head = config.qk_norm == "per_head"
            self.q_norm = RMSNorm(config, config.head_dim if per_head else queries)
            self.k_norm = RMSNorm(config, config.head_dim if per_head else keys)
        self.o_proj = nn.Linear(queries, config.hidden_size, bias=config.attention_out_bias)

    def forward(
        self,
        hidden: Tensor,
        rotation: Rotation | None,
        kv_cache: KVCache | None,
        document_lengths: tuple[int, ...] | None,
    ) -> Tensor:
        """Attend from hidden states (B, T, D) -> (B, T, D)."""
        batch_size, num_tokens, _ = hidden.shape
        queries, keys, values = self.heads(hidden, rotation)
        if document_lengths is not None:
            mixed = packed_causal_attention(
                queries, keys, values, document_lengths, scale=self.scale, window=self.window, soft_cap=self.soft_cap
            )  # (B, T, H, head_dim)
        else:
            queries, keys, values = queries.transpose(1, 2), keys.transpose(1, 2), values.transpose(1, 2)
            if kv_cache is not None:
                keys, values = kv_cache.append(self.index, keys, values)  # (B, K, positions so far, head_dim)
            mixed = causal_attention(
                queries, keys, values, scale=self.scale, window=self.window, soft_cap=self.soft_cap
            ).transpose(1, 2)
        attended: Tensor = self.o_proj(mixed.reshape(batch_size, num_tokens, -1))
        return attended

    def heads(self, hidden: Tensor, rotation: Rotation | None) -> tuple[Tensor, Tensor, Tensor]:
        """Compute queries (B, T, H, head_dim), and keys and values (B, T, K, head_dim), of hidden states (B, T, D)."""
        batch_size, num_tokens, _ = hidden.shape
        queries: Tensor = self.q_proj(hidden)
        keys: Tensor = self.k_proj(hidden)
        values: Tensor = self.v_proj(hidden)
        if self.clip is not None:
            queries, keys, values = (heads.clamp(-self.clip, self.clip) for heads in (queries, keys, values))
        if self.qk_norm == "all_heads":
            queries, keys = self.q_norm(queries), self.k_norm(keys)
        queries = queries.view(batch_size, num_tokens, -1, self.head_dim)  # (B, T, H, head_dim)
        keys = keys.view(batch_size, num_tokens, -1, self.head_dim)  # (B, T, K, head_dim)
        values = values.view(batch_size, num_tokens, -1, self.head_dim)
        if self.qk_norm == "per_head":
            queries, keys = self.q_norm(queries), self.k_norm(keys)
        if rotation is not None:
            queries, keys = rotation.rotate(queries), rotation.rotate(keys)
        return queries, keys, values


class RMSNorm(nn.Module):
    """RMS norm over the last axis: x / rms(x) * (weight + offset) (arXiv:1910.07467)."""

    def __init__(self, config: ModelConfig, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((size,), 1.0 - config.norm_offset))
        self.eps, self.offset = config.norm_eps, config.norm_offset

    def forward(self, hidden: Tensor) -> Tensor:
        """Normalise hidden states (..., size) -> (..., size)."""
        weight = self.weight + self.offset if self.offset else self.weight
        return rms_norm(hidden, weight, self.eps)


class LayerNorm(nn.LayerNorm):
    """Layer norm over the last axis: (x - mean(x)) / deviation(x) * (weight + offset) + bias (arXiv:1607.06450)."""

    def __init__(self, config: ModelConfig, size: int) -> None:
        super().__init__(size, eps=config.norm_eps, elementwise_affine=config.norm_weight, bias=config.norm_bias)
        self.offset = config.norm_offset

    def forward(self, hidden: Tensor) -> Tensor:
        """Normalise hidden states (..., size) -> (..., size)."""
        weight = self.weight + self.offset if self.offset else self.weight
        return layer_norm(hidden, self.normalized_shape, weight, self.bias, self.eps)


def _norm(config: ModelConfig, size: int) -> nn.Module:
    return RMSNorm(config, size) if config.norm == "rms" else LayerNorm(config, size)

"""Training of a prompt: virtual tokens, with ids from the end of the vocabulary on, on a built `Transformer`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from nextword.adapters.prompt import save_prompt
from nextword.adapters.spec import PromptSpec
from nextword.models.config import ModelConfig
from nextword.models.transformer import Transformer

_NAME = "embedding.prompt"


class _PromptedEmbedding(nn.Embedding):
    """Embedding of a model in which ids from the number of its rows on are those of the prompt."""

    def __init__(self, embedding: nn.Embedding, words: Tensor, scale: float) -> None:
        """Begin the prompt as the embeddings of `words` (ids); `scale`: factor on all rows after look-up."""
        super().__init__(embedding.num_embeddings, embedding.embedding_dim, _weight=embedding.weight)
        self._scale = scale
        self.prompt = nn.Parameter(embedding.weight.detach()[words] * scale)

    def forward(self, token_ids: Tensor) -> Tensor:
        """Look up token ids (...) int64 -> (..., hidden size)."""
        place = token_ids - self.num_embeddings
        is_virtual = place >= 0
        words = super().forward(token_ids.masked_fill(is_virtual, 0))
        return torch.where(is_virtual[..., None], self.prompt[place.clamp(min=0)] / self._scale, words)


def attach_prompt(model: Transformer, spec: PromptSpec, *, seed: int = 0) -> nn.Parameter:
    """Add virtual tokens to a model; return their vectors, which are then the only trainable parameter.

    The vectors begin as embeddings of tokens drawn from the vocabulary by `seed`.
    """
    random = torch.Generator().manual_seed(seed)
    words = torch.randint(model.config.vocab_size, (spec.num_virtual_tokens,), generator=random)
    prompted = _PromptedEmbedding(model.embedding, words, model.config.embedding_scale)
    model.embedding = prompted  # type: ignore[assignment]
    model.requires_grad_(False)
    prompted.prompt.requires_grad_(True)
    return prompted.prompt


def save_trained_prompt(state: Mapping[str, Tensor], folder: Path, *, config: ModelConfig, base: str | None) -> None:
    """Write the prompt in the state dict of a model, in peft's format. Raises CheckpointError."""
    save_prompt(folder, state[_NAME].detach().float().cpu().numpy(), config=config, base=base)

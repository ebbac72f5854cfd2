"""`export_model`: trained weights in, a Hugging Face folder out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from nextword.checkpoints.save_directory import save_model_directory
from nextword.models.config import ModelConfig
from nextword.models.stored_tensor import StoredTensor
from nextword.text.tokenizer import Tokenizer


def export_model(
    tensors: Mapping[str, Tensor],
    path: Path,
    *,
    config: ModelConfig,
    tokenizer: Tokenizer,
    generation_defaults: Mapping[str, object] | None = None,
) -> None:
    """Write weights with config and tokenizer, replacing an earlier export. Raises CheckpointError."""
    stored = {
        name: StoredTensor(name, "F32", tuple(tensor.shape), tensor.detach().cpu().numpy())
        for name, tensor in tensors.items()
    }
    save_model_directory(
        path,
        config=config,
        tensors=stored,
        tokenizer=tokenizer,
        generation_defaults=generation_defaults,
        replace=True,
    )

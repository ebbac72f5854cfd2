"""`build_transformer`: build a `Transformer` with the values of stored tensors.

It loads tensor by tensor: no random initial values, no second copy of the model in memory.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from nextword.models.config import ModelConfig
from nextword.models.stored_tensor import StoredTensor
from nextword.models.transformer import Transformer
from nextword.models.weights import require_names, require_shape, weight_shapes


def build_transformer(
    config: ModelConfig,
    tensors: Mapping[str, StoredTensor],
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Transformer:
    """Build a transformer, in eval mode, from weights named as in `weights.weight_shapes`.

    The output head is tied to the embedding if, and only if, there is no `output_head.weight`. Raises CheckpointError
    naming the tensor for one that is missing, unexpected, mis-shaped, or of an encoding that cannot be read.
    """
    config = dataclasses.replace(config, is_tied="output_head.weight" not in tensors)
    shapes = weight_shapes(config)
    require_names(tensors, shapes, source="weights")
    with torch.device("meta"):
        transformer = Transformer(config)
    state: dict[str, Tensor] = {}
    for name, shape in shapes.items():
        tensor = tensors[name]
        require_shape(name, tensor.shape, shape, source="weights")
        state[name] = to_torch(tensor, dtype=dtype, device=device)
        tensor.require_unchanged()
        tensor.leave_memory()  # else the file's pages would stay in memory besides the weights
    transformer.load_state_dict(state, assign=True)
    return transformer.eval()


def to_torch(tensor: StoredTensor, *, dtype: torch.dtype, device: torch.device | str) -> Tensor:
    """Copy the values into a PyTorch tensor. Raises CheckpointError for an encoding that cannot be read."""
    if tensor.dtype == "BF16" and dtype == torch.bfloat16:
        return torch.from_numpy(np.array(tensor.data, order="C").view(np.int16)).view(torch.bfloat16).to(device)
    if tensor.dtype == "F16" and dtype == torch.float16:
        return torch.from_numpy(np.array(tensor.data, order="C")).to(device)
    values = tensor.to_float32()
    if np.may_share_memory(values, tensor.data):
        values = np.array(values, order="C")  # not the pages of a mapped file, which cannot be written
    return torch.from_numpy(values).to(device=device, dtype=dtype)

"""`TorchAdapters`: adapters over one copy of a transformer's weights, of which one at a time is active."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nextword.models.linear_change import Changes, LinearChange
from nextword.models.transformer import Transformer


class TorchAdapters:
    """Forward hooks that change the outputs of linear layers by the active adapter."""

    def __init__(self, model: Transformer, adapters: Mapping[str, Changes]) -> None:
        self.names = tuple(adapters)
        self.active: str | None = None
        for name, changes in adapters.items():
            for module, make in changes.items():
                if module == "output_head":
                    model.head_product.register_forward_hook(_Hook(self, name, make(), *model.head))
                    continue
                layer = model.get_submodule(module)
                assert isinstance(layer, nn.Linear)
                layer.register_forward_hook(_Hook(self, name, make(), layer.weight, layer.bias))


class _Hook:
    """Change of one layer by one adapter, computed in float32."""

    def __init__(
        self, adapters: TorchAdapters, name: str, change: LinearChange, weight: Tensor, bias: Tensor | None
    ) -> None:
        def placed(values: npt.NDArray[np.float32] | None) -> Tensor | None:
            return None if values is None else torch.from_numpy(np.array(values)).to(weight.device)

        self._adapters, self._name, self._weight, self._bias = adapters, name, weight, bias
        self._down, self._up = placed(change.down), placed(change.up)
        self._input_factor, self._factor = placed(change.input_factor), placed(change.output_factor)
        self._offset = placed(change.offset(None if bias is None else bias.detach().float().cpu().numpy()))

    def __call__(self, layer: nn.Module, inputs: tuple[Tensor, ...], outputs: Tensor) -> Tensor:
        if self._adapters.active != self._name:
            return outputs
        hidden = inputs[0]
        if self._input_factor is not None:
            outputs = F.linear((hidden * self._input_factor).to(hidden.dtype), self._weight, self._bias)
        changed = outputs.float()
        if self._down is not None and self._up is not None:
            changed = changed + hidden.float() @ self._down.T @ self._up.T
        if self._factor is not None:
            changed = changed * self._factor
        if self._offset is not None:
            changed = changed + self._offset
        return changed.to(outputs.dtype)

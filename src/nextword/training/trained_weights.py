"""`TrainedWeights`: the trainable weights in float32 with their gradients, and the copies that the model computes with.

In bfloat16 the model holds rounded copies, renewed once a step: casting at each use would cost a pass over all weights
for each of them. Gradients of the copies are accumulated in float32 as soon as they are computed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from nextword.errors import ConfigError
from nextword.models.weights import require_names, require_shape


class TrainedWeights:
    """Trainable parameters of a model by name, without frozen ones."""

    def __init__(self, model: nn.Module, *, dtype: torch.dtype, ema: float = 0.0) -> None:
        """Take the weights of a model that require gradients, and change it: all of its weights are of `dtype`."""
        self.tensors: dict[str, Tensor] = {}
        """Name -> float32 values, each with its gradient in `.grad`."""
        self._copies: dict[str, nn.Parameter] = {}
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                self.tensors[name] = parameter if dtype == torch.float32 else parameter.detach().float().clone()
        if dtype != torch.float32:
            model.to(dtype)
            self._copies = {name: model.get_parameter(name) for name in self.tensors}
            for name, copy in self._copies.items():
                copy.register_post_accumulate_grad_hook(AddGradient(self.tensors[name]))  # type: ignore[no-untyped-call]
        self._originals = {id(copy): self.tensors[name] for name, copy in self._copies.items()}
        self._ema = ema
        self.averages = {name: tensor.detach().clone() for name, tensor in self.tensors.items()} if ema else {}
        """Name -> exponential average over the steps; empty where none is kept."""

    @property
    def num_elements(self) -> int:
        """Number of trained parameters."""
        return sum(tensor.numel() for tensor in self.tensors.values())

    @property
    def has_copies(self) -> bool:
        """True if the model computes with rounded copies."""
        return bool(self._copies)

    def gradient_of(self, copy: Tensor) -> Tensor:
        """Return the float32 tensor in which the gradients of a rounded copy are summed."""
        gradient = self._originals[id(copy)].grad
        assert gradient is not None
        return gradient

    def clear_gradients(self) -> None:
        """Clear the gradients."""
        for tensor in self.tensors.values():
            tensor.grad = None

    @torch.no_grad()
    def after_update(self) -> None:
        """Update copies and EMA weights after an optimizer step."""
        self.renew_copies()
        if self.averages:
            torch._foreach_lerp_(list(self.averages.values()), list(self.tensors.values()), 1 - self._ema)

    @torch.no_grad()
    def renew_copies(self) -> None:
        """Round the values again into the copies that the model computes with."""
        for name, copy in self._copies.items():
            copy.copy_(self.tensors[name])

    def state(self) -> dict[str, Tensor]:
        """Return the tensors to save in a checkpoint, as `weight:<name>` and `average:<name>`."""
        weights = {f"weight:{name}": tensor for name, tensor in self.tensors.items()}
        return weights | {f"average:{name}": tensor for name, tensor in self.averages.items()}

    def resume(self, tensors: Mapping[str, Tensor], averages: Mapping[str, Tensor]) -> None:
        """Restore the values of an interrupted run. Raises CheckpointError if they are not of the same weights."""
        require_names(tensors, self.tensors, source="checkpoint")
        require_names(averages, self.averages, source="checkpoint")
        for name, tensor in self.tensors.items():
            require_shape(name, tuple(tensors[name].shape), tuple(tensor.shape), source="checkpoint")
        for name, average in self.averages.items():
            average.copy_(averages[name])
        self._set(tensors)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Swap in the EMA weights for the block, if they are kept."""
        if not self.averages:
            yield
            return
        own = {name: tensor.detach().clone() for name, tensor in self.tensors.items()}
        self._set(self.averages)
        try:
            yield
        finally:
            self._set(own)

    @torch.no_grad()
    def _set(self, values: Mapping[str, Tensor]) -> None:
        for name, tensor in self.tensors.items():
            tensor.copy_(values[name])
        self.renew_copies()


class AddGradient:
    """Hook that moves the gradient of a rounded copy to its float32 tensor."""

    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor

    def __call__(self, copy: Tensor) -> None:
        assert copy.grad is not None
        if self._tensor.grad is None:
            self._tensor.grad = copy.grad.float()
        else:
            self._tensor.grad += copy.grad
        copy.grad = None


def freeze(model: nn.Module, patterns: Sequence[str]) -> None:
    """Let the parameters whose names match a pattern require no gradient.

    Raises ConfigError for a pattern that matches nothing, or if nothing is left to train.
    """
    names = [name for name, _ in model.named_parameters()]
    for pattern in patterns:
        frozen = [name for name in names if fnmatchcase(name, pattern)]
        if not frozen:
            raise ConfigError(f"freeze {pattern!r} matches no weight; there are {', '.join(names[:3])}, ...")
        for name in frozen:
            model.get_parameter(name).requires_grad_(False)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ConfigError("every weight is frozen: there is nothing to train")

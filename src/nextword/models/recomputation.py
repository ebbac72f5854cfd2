"""Cheap values that a backward pass reads: forgotten after the forward pass, computed again when they are needed.

Norms and activations take one operation for hundreds of those in the products that read them, but as much memory as
all else that a layer keeps. What they are computed from is kept anyway, for their own gradients.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.weak import WeakTensorKeyDictionary


class _Value:
    """A value that is not there between the passes."""

    def __init__(self, compute: Callable[[], Tensor]) -> None:
        self._compute = compute
        self._num_readers = 0
        self._again: Tensor | None = None

    def forget(self) -> None:
        """One more operation wants it later."""
        self._num_readers += 1

    def again(self) -> Tensor:
        """The value for one of those operations; it stays until the last has had it."""
        value = self._compute() if self._again is None else self._again
        self._num_readers -= 1
        self._again = value if self._num_readers else None
        return value


@dataclass(frozen=True)
class _View:
    value: _Value
    size: torch.Size


_VALUES = WeakTensorKeyDictionary()
"""Tensors that can be computed again -> `_Value`; entries go with the tensors."""


def recomputable(tensor: Tensor, compute: Callable[[], Tensor]) -> Tensor:
    """The tensor, of which `Recomputing` need not keep the values: `compute` makes the same ones, bit by bit."""
    if tensor.requires_grad:
        _VALUES[tensor] = _Value(compute)
    return tensor


class Recomputing(saved_tensors_hooks):
    """A context: operations in it keep no recomputable tensor for their gradients, which are taken once."""

    def __init__(self) -> None:
        super().__init__(_pack, _unpack)


def _pack(tensor: Tensor) -> Tensor | _View:
    whole = tensor if tensor._base is None else tensor._base
    value = _VALUES.get(whole)  # type: ignore[no-untyped-call]
    if value is None or not (tensor.is_contiguous() and tensor.numel() == whole.numel()):
        return tensor.detach()  # itself would keep alive the operation that keeps it
    value.forget()
    return _View(value, tensor.size())


def _unpack(kept: Tensor | _View) -> Tensor:
    return kept.value.again().view(kept.size) if isinstance(kept, _View) else kept

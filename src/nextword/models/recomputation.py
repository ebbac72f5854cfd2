"""Activation recomputation: the backward pass computes cheap values again instead of keeping them in memory.

Norms and activations take one operation for hundreds in the products that read them, but as much memory as everything
else that a layer keeps. Their inputs are saved anyway, for their own gradients. (arXiv:1604.06174)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.weak import WeakTensorKeyDictionary


class _Value:
    """Value that is dropped after the forward pass and recomputed in the backward pass."""

    def __init__(self, compute: Callable[[], Tensor]) -> None:
        self._compute = compute
        self._num_readers = 0
        self._again: Tensor | None = None

    def forget(self) -> None:
        """Drop the value, and count one more operation that will read it in the backward pass."""
        self._num_readers += 1

    def again(self) -> Tensor:
        """Return the value, recomputed if needed, to one of those operations; the last read drops it."""
        value = self._compute() if self._again is None else self._again
        self._num_readers -= 1
        self._again = value if self._num_readers else None
        return value


@dataclass(frozen=True)
class _View:
    value: _Value
    size: torch.Size


_VALUES = WeakTensorKeyDictionary()
"""`_Value` of each tensor that can be recomputed; entries are removed with the tensors."""


def recomputable(tensor: Tensor, compute: Callable[[], Tensor]) -> Tensor:
    """Mark a tensor as recomputable by `compute`, which must return the same bits; return the tensor."""
    if tensor.requires_grad:
        _VALUES[tensor] = _Value(compute)
    return tensor


class Recomputing(saved_tensors_hooks):
    """Context in which operations save no recomputable tensors for the backward pass, which may run only once."""

    def __init__(self) -> None:
        super().__init__(_pack, _unpack)


def _pack(tensor: Tensor) -> Tensor | _View:
    whole = tensor if tensor._base is None else tensor._base
    value = _VALUES.get(whole)  # type: ignore[no-untyped-call]
    if value is None or not (tensor.is_contiguous() and tensor.numel() == whole.numel()):
        return tensor.detach()  # the tensor itself would form a reference cycle with the operation that saves it
    value.forget()
    return _View(value, tensor.size())


def _unpack(kept: Tensor | _View) -> Tensor:
    return kept.value.again().view(kept.size) if isinstance(kept, _View) else kept

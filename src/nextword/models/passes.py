"""Fused element-wise operations for training: one C++ pass over activations where PyTorch needs several.

They are used on a CPU in float32 or bfloat16 if the C++ core was built. Otherwise PyTorch's own operations compute the
same, and tests compare the two.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from nextword.models.config import Activation
from nextword.models.recomputation import recomputable
from nextword.native import native

_ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "silu": F.silu,
    "gelu": F.gelu,
    "gelu_tanh": lambda hidden: F.gelu(hidden, approximate="tanh"),
    "relu": F.relu,
    "relu2": lambda hidden: F.relu(hidden).square(),
}


def runs_native(tensor: Tensor) -> bool:
    """Return True if the C++ core has kernels for this type and device."""
    return native is not None and tensor.device.type == "cpu" and tensor.dtype in (torch.float32, torch.bfloat16)


def rms_norm(hidden: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Compute x / rms(x) * weight over the last axis, (..., size) (arXiv:1910.07467)."""
    if not torch.is_grad_enabled() or not runs_native(hidden) or hidden.dtype != weight.dtype:
        return F.rms_norm(hidden, weight.shape, weight, eps)
    normed: Tensor = _RMSNorm.apply(hidden, weight, eps)  # type: ignore[no-untyped-call]
    inputs = hidden.detach(), weight.detach()
    return recomputable(normed, lambda: _rms_norm(*inputs, eps)[0])


def layer_norm(
    hidden: Tensor, shape: tuple[int, ...], weight: Tensor | None, bias: Tensor | None, eps: float
) -> Tensor:
    """Compute (x - mean(x)) / deviation(x) * weight + bias over the last axis, of that `shape` (arXiv:1607.06450)."""
    inputs = hidden.detach(), shape, _detached(weight), _detached(bias), eps
    return recomputable(F.layer_norm(hidden, shape, weight, bias, eps), lambda: F.layer_norm(*inputs))


def activate(hidden: Tensor, gated: Tensor | None, activation: Activation) -> Tensor:
    """Compute activation(hidden), times `gated` if given; all of one shape."""
    if torch.is_grad_enabled() and runs_native(hidden):
        activated: Tensor = _Activate.apply(hidden, gated, activation)  # type: ignore[no-untyped-call]
        inputs = hidden.detach(), None if gated is None else gated.detach()
        return recomputable(activated, lambda: _activate(*inputs, activation))
    plain = _ACTIVATIONS[activation](hidden)
    return plain if gated is None else plain * gated


def rotate(heads: Tensor, cosine: Tensor, signed_sine: Tensor) -> Tensor:
    """Compute x * cosine + (x with its halves exchanged) * signed_sine of the first rotary_dim dimensions of each head.

    heads (..., T, heads, head_dim); cosine and signed_sine, its first half negated, (T, 1, rotary_dim) or
    (..., T, 1, rotary_dim) (arXiv:2104.09864).
    """
    if torch.is_grad_enabled() and runs_native(heads):
        by_core: Tensor = _Rotate.apply(heads, cosine, signed_sine)  # type: ignore[no-untyped-call]
        return by_core
    rotary_dim = cosine.shape[-1]
    turned = heads[..., :rotary_dim]
    first, second = turned.chunk(2, dim=-1)
    rotated = torch.addcmul(turned * cosine, torch.cat((second, first), dim=-1), signed_sine)
    return rotated if rotary_dim == heads.shape[-1] else torch.cat((rotated, heads[..., rotary_dim:]), dim=-1)


@dataclass(frozen=True)
class Seen:
    """Range of keys that each of T queries attends to: `first` to `last` (exclusive), both (T,) int32, never empty."""

    first: Tensor
    last: Tensor

    def mask(self, num_keys: int, dtype: torch.dtype) -> Tensor:
        """Return the additive attention mask (T, S): 0 if a query attends to a key, else -inf."""
        key = torch.arange(num_keys)
        is_seen = (key >= self.first[:, None]) & (key < self.last[:, None])
        return torch.zeros(is_seen.shape, dtype=dtype).masked_fill_(~is_seen, -torch.inf)


def softmax(scores: Tensor, seen: Seen, *, scale: float) -> Tensor:
    """Compute softmax(scale * scores) over attended keys, else 0; (K, G * T, S), in place, without gradient."""
    num_keys = scores.shape[-1]
    if not runs_native(scores):
        by_query = scores.view(scores.shape[0], -1, len(seen.first), num_keys)
        return torch.softmax(by_query * scale + seen.mask(num_keys, scores.dtype), dim=-1).view_as(scores)
    assert native is not None
    native.softmax(as_array(scores), as_array(seen.first), as_array(seen.last), scale)
    return scores


def softmax_backward(weights: Tensor, grads: Tensor, seen: Seen, *, scale: float) -> Tensor:
    """Compute the gradient of the scores from `grads`, the gradient of the softmax weights, in place of `grads`."""
    if not runs_native(weights):
        return torch._softmax_backward_data(grads, weights, -1, weights.dtype) * scale
    assert native is not None
    native.softmax_backward(as_array(weights), as_array(grads), as_array(seen.first), as_array(seen.last), scale)
    return grads


def cross_entropy(logits: Tensor, targets: Tensor, *, z_loss: float, has_grad: bool) -> tuple[Tensor, Tensor]:
    """Compute log(sum(exp(logits))) and the target's logit of each row: (N, V), (N,) -> (N,), (N,), float32.

    If asked, the logits become the derivative by them of log_sum - target's logit + z_loss * log_sum^2. Only where
    `runs_native`.
    """
    assert native is not None
    log_sums, target_logits = torch.empty(2, len(targets))
    native.cross_entropy(
        as_array(logits), as_array(targets), z_loss, has_grad, as_array(log_sums), as_array(target_logits)
    )
    return log_sums, target_logits


def _rms_norm(hidden: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Return the normed rows, and 1 / rms of each."""
    assert native is not None
    hidden, weight = hidden.contiguous(), weight.contiguous()
    normed = torch.empty_like(hidden)
    inverse = torch.empty(hidden.shape[:-1], dtype=torch.float32)
    native.rms_norm(as_array(hidden), as_array(weight), eps, as_array(normed), as_array(inverse))
    return normed, inverse


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, hidden: Tensor, weight: Tensor, eps: float) -> Tensor:
        normed, inverse = _rms_norm(hidden, weight, eps)
        context.save_for_backward(hidden, weight, inverse)
        return normed

    @staticmethod
    def backward(context: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        assert native is not None
        hidden, weight, inverse = context.saved_tensors
        hidden, weight = hidden.contiguous(), weight.contiguous()
        grad, hidden_grad = grads[0].contiguous(), torch.empty_like(hidden)
        weight_grad = torch.empty(weight.shape, dtype=torch.float32)
        native.rms_norm_backward(
            *map(as_array, (hidden, weight, inverse, grad)),
            x_grad=as_array(hidden_grad),
            weight_grad=as_array(weight_grad),
        )
        return hidden_grad, weight_grad.to(weight.dtype) if context.needs_input_grad[1] else None, None


def _activate(hidden: Tensor, gated: Tensor | None, activation: Activation) -> Tensor:
    assert native is not None
    hidden = hidden.contiguous()
    gated = None if gated is None else gated.contiguous()
    activated = torch.empty_like(hidden)
    native.activate(as_array(hidden), _optional_array(gated), _kind(activation), as_array(activated))
    return activated


class _Activate(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, hidden: Tensor, gated: Tensor | None, activation: Activation) -> Tensor:
        context.save_for_backward(hidden, gated)
        context.kind = _kind(activation)
        return _activate(hidden, gated, activation)

    @staticmethod
    def backward(context: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        assert native is not None
        hidden, gated = context.saved_tensors
        hidden, gated = hidden.contiguous(), None if gated is None else gated.contiguous()
        grad, hidden_grad = grads[0].contiguous(), torch.empty_like(hidden)
        gated_grad = None if gated is None else torch.empty_like(gated)
        native.activate_backward(
            as_array(hidden),
            _optional_array(gated),
            as_array(grad),
            context.kind,
            x_grad=as_array(hidden_grad),
            gated_grad=_optional_array(gated_grad),
        )
        return hidden_grad, gated_grad, None


def _rotate(heads: Tensor, cosine: Tensor, signed_sine: Tensor, *, is_backward: bool) -> Tensor:
    assert native is not None
    heads, tables = heads.contiguous(), [as_array(table.contiguous()) for table in (cosine, signed_sine)]
    rotated = torch.empty_like(heads)
    native.rotate(as_array(heads), *tables, heads.shape[-2], is_backward, as_array(rotated))
    return rotated


class _Rotate(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, heads: Tensor, cosine: Tensor, signed_sine: Tensor) -> Tensor:
        context.save_for_backward(cosine, signed_sine)
        return _rotate(heads, cosine, signed_sine, is_backward=False)

    @staticmethod
    def backward(context: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return _rotate(grads[0], *context.saved_tensors, is_backward=True), None, None


def _detached(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.detach()


def as_array(tensor: Tensor) -> Tensor:
    """Return a view for the C++ core, which takes tensors by DLPack; bfloat16 as the uint16 of its bits.

    `Tensor.numpy` would pin the storage, which FSDP frees when it has used a gathered weight.
    """
    plain = tensor.detach()
    return plain.view(torch.uint16) if plain.dtype == torch.bfloat16 else plain


def _optional_array(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else as_array(tensor)


def _kind(activation: Activation) -> Any:
    assert native is not None
    return getattr(native.Activation, activation.upper())

"""Cross-entropy of the next token from hidden states, the output head included, in chunks of positions.

Logits of a whole batch would be the largest tensor of a training step by far; here they exist for one chunk at a
time, and only for positions with a target. Letters: N targets, D hidden size, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nextword.data.batch import IGNORED
from nextword.models.passes import cross_entropy, runs_native

CHUNK_POSITIONS = 512
"""Positions of a chunk: enough for matrix products at full speed, with logits far smaller than a batch's."""
_ROW_BYTES = 4 << 20
"""Bytes of logits turned into gradients at once: they stay in the cache between the passes over them."""


def sum_of_nats(
    hidden: Tensor,
    targets: Tensor,
    head: tuple[Tensor, Tensor | None],
    *,
    soft_cap: float | None = None,
    z_loss: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Sum the negative log-likelihood of all targets, in nats; return it without and with the z-loss, to differentiate.

    hidden (..., D), targets (...) int64 with IGNORED where there is none, head (V, D) and (V,) or None -> two float32
    numbers. The caller, who knows all microbatches, divides by the count of targets. `z_loss`: weight of the
    squared logarithm of the softmax's denominator (PaLM, arXiv:2204.02311). Each must be differentiated before the
    next call changes the head.
    """
    has_target = targets.flatten() != IGNORED
    chosen = hidden.flatten(0, -2)[has_target]  # (N, D)
    weight, bias = head
    settings = soft_cap, z_loss, torch.is_grad_enabled()
    nats, objective = _HeadLoss.apply(chosen, weight, bias, targets.flatten()[has_target], *settings)  # type: ignore[no-untyped-call]
    return nats, objective


class _HeadLoss(torch.autograd.Function):
    """Cross-entropy whose forward pass makes the gradients, chunk by chunk; the backward pass scales them."""

    @staticmethod
    def forward(
        context: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        soft_cap: float | None,
        z_loss: float,
        is_differentiated: bool,
    ) -> tuple[Tensor, Tensor]:
        needs_hidden, needs_weight, needs_bias = (is_differentiated and needs for needs in context.needs_input_grad[:3])
        hidden_grad = torch.empty_like(hidden) if needs_hidden else None
        # In float32: sums over chunks must not be rounded to the type of the weights.
        weight_grad = torch.zeros_like(weight, dtype=torch.float32) if needs_weight else None
        bias_grad = torch.zeros_like(bias, dtype=torch.float32) if bias is not None and needs_bias else None
        needs_any = needs_hidden or needs_weight or needs_bias
        nats, penalty = hidden.new_zeros(2, dtype=torch.float64)
        for start in range(0, len(targets), CHUNK_POSITIONS):
            chunk = slice(start, start + CHUNK_POSITIONS)
            logits = torch.nn.functional.linear(hidden[chunk], weight, bias)  # (chunk, V)
            chunk_nats, chunk_penalty = _loss_and_grad(logits, targets[chunk], soft_cap, z_loss, has_grad=needs_any)
            nats += chunk_nats
            penalty += chunk_penalty
            if hidden_grad is not None:
                torch.mm(logits, weight, out=hidden_grad[chunk])  # `logits` now holds d(loss)/d(logits)
            if weight_grad is not None:
                _add_product(weight_grad, logits, hidden[chunk])
            if bias_grad is not None:
                bias_grad += logits.sum(dim=0, dtype=torch.float32)
        context.gradients = hidden_grad, weight_grad, bias_grad
        context.types = weight.dtype, None if bias is None else bias.dtype
        objective = (nats + penalty).float()
        nats = nats.float()
        context.mark_non_differentiable(nats)
        return nats, objective

    @staticmethod
    def backward(context: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        hidden_grad, weight_grad, bias_grad = context.gradients
        del context.gradients  # half of a batch's memory, not needed while the layers differentiate
        factor = grads[1]
        weight_type, bias_type = context.types
        if hidden_grad is not None:
            hidden_grad.mul_(factor)
        if weight_grad is not None:
            weight_grad = weight_grad.mul_(factor).to(weight_type)
        if bias_grad is not None:
            bias_grad = bias_grad.mul_(factor).to(bias_type)
        return hidden_grad, weight_grad, bias_grad, None, None, None, None


def _add_product(total: Tensor, logits_grad: Tensor, hidden: Tensor) -> None:
    """Add logits_grad^T hidden to total: (V, D) from (chunk, V) and (chunk, D)."""
    if logits_grad.dtype == total.dtype:
        torch.addmm(total, logits_grad.t(), hidden, out=total)
    else:
        total += logits_grad.t() @ hidden


def _loss_and_grad(
    logits: Tensor, targets: Tensor, soft_cap: float | None, z_loss: float, *, has_grad: bool
) -> tuple[Tensor, Tensor]:
    """Compute nats and z-loss of one chunk, float64; write the gradient of the raw logits in their place if asked.

    The softmax is PyTorch's: one fast pass, where an exponential of differences takes several slow ones. The logarithm
    of its denominator follows from the largest logit and the largest probability, which is never small.
    """
    if soft_cap is None and runs_native(logits):
        log_sums, target_logits = cross_entropy(logits, targets, z_loss=z_loss, has_grad=has_grad)
        nats = (log_sums.double() - target_logits.double()).sum()
        return nats, z_loss * log_sums.double().square().sum()
    rows = max(1, _ROW_BYTES // (4 * logits.shape[1]))
    nats, penalty = logits.new_zeros(2, dtype=torch.float64)
    for start in range(0, len(targets), rows):
        raw, targets_of_rows = logits[start : start + rows].float(), targets[start : start + rows, None]
        capped = raw if soft_cap is None else torch.tanh(raw / soft_cap) * soft_cap
        grad = torch.softmax(capped, dim=1)
        log_sums = capped.amax(dim=1, keepdim=True) - grad.amax(dim=1, keepdim=True).log()
        nats += (log_sums - capped.gather(1, targets_of_rows)).sum(dtype=torch.float64)
        if z_loss:
            penalty += z_loss * log_sums.double().square().sum()
        if not has_grad:
            continue
        # d(log_sum - logit)/d(logits) = softmax - one-hot; d(z * log_sum^2) = 2 z log_sum * softmax
        if z_loss:
            grad *= 1 + 2 * z_loss * log_sums
        grad.scatter_add_(1, targets_of_rows, grad.new_full(targets_of_rows.shape, -1.0))
        if soft_cap is not None:
            grad *= 1 - (capped / soft_cap).square()
        logits[start : start + rows] = grad
    return nats, penalty

"""`MLP` and `ExpertMLP`: the feed-forward part of a layer, one network for all tokens or several that tokens choose."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nextword.models.config import ModelConfig
from nextword.models.experts import Experts
from nextword.models.passes import activate


class MLP(nn.Module):
    """Feed-forward network: two linear layers with an activation between them, gated by a third or not."""

    def __init__(self, config: ModelConfig, wide: int) -> None:
        super().__init__()
        hidden = config.hidden_size
        self.activation = config.activation
        self.is_gated = config.is_gated
        if config.is_gated:
            self.gate_proj = nn.Linear(hidden, wide, bias=config.mlp_bias)
        self.up_proj = nn.Linear(hidden, wide, bias=config.mlp_bias)
        self.down_proj = nn.Linear(wide, hidden, bias=config.mlp_bias)

    def forward(self, hidden: Tensor) -> Tensor:
        """Apply the MLP to hidden states (..., D) -> (..., D)."""
        widened: Tensor = self.up_proj(hidden)  # (..., intermediate size)
        if self.is_gated:
            activated = activate(self.gate_proj(hidden), widened, self.activation)
        else:
            activated = activate(widened, None, self.activation)
        narrowed: Tensor = self.down_proj(activated)
        return narrowed


class ExpertMLP(nn.Module):
    """Mixture of experts: each token passes through the MLPs that a router chooses for it (arXiv:2101.03961)."""

    def __init__(self, config: ModelConfig, experts: Experts) -> None:
        super().__init__()
        self.per_token, self.is_normalized = experts.per_token, experts.is_normalized
        self.router = nn.Linear(config.hidden_size, experts.count, bias=False)
        self.experts = nn.ModuleList(MLP(config, experts.intermediate_size) for _ in range(experts.count))
        self.shared_expert = None if experts.shared_size is None else MLP(config, experts.shared_size)
        self.shared_gate = nn.Linear(config.hidden_size, 1, bias=False) if experts.has_shared_gate else None

    def forward(self, hidden: Tensor) -> Tensor:
        """Apply to each token (of D numbers) its own experts, (B, T, D) -> (B, T, D)."""
        tokens = hidden.reshape(-1, hidden.shape[-1])
        weights, chosen = self.route(tokens)
        mixed = torch.zeros_like(tokens)
        for number, expert in enumerate(self.experts):
            rows, ranks = torch.where(chosen == number)
            # An expert without tokens still takes part in training, with gradients of zero: every process and every
            # optimizer then sees all weights in each step.
            if len(rows) or torch.is_grad_enabled():
                mixed.index_add_(0, rows, expert(tokens[rows]) * weights[rows, ranks, None])
        if self.shared_expert is not None:
            mixed = mixed + self._shared(tokens, self.shared_expert)
        return mixed.view_as(hidden)

    def _shared(self, tokens: Tensor, expert: MLP) -> Tensor:
        """Apply the MLP that all tokens share, (N, D) -> (N, D)."""
        output: Tensor = expert(tokens)
        return output if self.shared_gate is None else output * torch.sigmoid(self.shared_gate(tokens))

    def route(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Choose the experts of each token: (N, D) -> their weights and their numbers, (N, experts per token) each.

        It computes in float32 whatever the type of the tokens: a rounded logit could choose another expert.
        """
        probabilities = F.linear(tokens.float(), self.router.weight.float()).softmax(dim=-1)
        weights, chosen = probabilities.topk(self.per_token, dim=-1)
        if self.is_normalized:
            weights = weights / weights.sum(dim=-1, keepdim=True)
        return weights.to(tokens.dtype), chosen

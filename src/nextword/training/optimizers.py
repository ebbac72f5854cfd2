"""PyTorch's optimizers over the trained weights: choice of optimizer and weight decay per tensor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from nextword.training.recipe import OptimizerRecipe

_TABLES = ("embedding.weight", "position_embedding.weight", "output_head.weight")
"""Matrices that hold a vector for each token or position, which AdamW trains also with Muon."""


class Optimizers:
    """One or two optimizers over the same weights, stepped and saved as one."""

    def __init__(self, tensors: Mapping[str, Tensor], recipe: OptimizerRecipe) -> None:
        matrices = {name: tensor for name, tensor in tensors.items() if tensor.ndim == 2}
        vectors = {name: tensor for name, tensor in tensors.items() if tensor.ndim != 2}
        in_muon = {name: tensor for name, tensor in matrices.items() if _uses_muon(name, recipe)}
        in_adamw = {name: tensor for name, tensor in matrices.items() if name not in in_muon}
        groups: list[dict[str, Any]] = [
            {"params": list(in_adamw.values()), "weight_decay": recipe.weight_decay},
            {"params": list(vectors.values()), "weight_decay": 0.0},
        ]
        self._all: list[torch.optim.Optimizer] = []
        if groups := [group for group in groups if group["params"]]:
            betas = recipe.beta1, recipe.beta2
            adamw = torch.optim.AdamW(groups, lr=recipe.lr, betas=betas, eps=recipe.eps, fused=True)
            for tensor in (tensor for group in groups for tensor in group["params"]):
                adamw.state[tensor] = _adamw_state(tensor)
            self._all.append(adamw)
        if in_muon:
            muon = torch.optim.Muon(
                list(in_muon.values()),
                lr=recipe.lr,
                weight_decay=recipe.weight_decay,
                momentum=recipe.momentum,
                adjust_lr_fn="match_rms_adamw",  # scales Muon's update to AdamW's, so that one learning rate suits both
            )
            self._all.append(muon)
        self._names = {id(tensor): name for name, tensor in tensors.items()}

    def step(self, lr: float) -> None:
        """Update the weights by their gradients."""
        for optimizer in self._all:
            for group in optimizer.param_groups:
                group["lr"] = lr
            optimizer.step()

    def state(self) -> dict[str, Tensor]:
        """Return the state to save in a checkpoint, as `<weight>.<key>`."""
        return {
            f"{self._names[id(tensor)]}.{key}": value
            for optimizer in self._all
            for tensor, memory in optimizer.state.items()
            for key, value in memory.items()
        }

    def resume(self, state: Mapping[str, Tensor]) -> None:
        """Restore the state that `state` returned."""
        by_name: dict[str, dict[str, Tensor]] = {}
        for path, value in state.items():
            name, _, key = path.rpartition(".")
            by_name.setdefault(name, {})[key] = value
        for optimizer in self._all:
            for group in optimizer.param_groups:
                for tensor in group["params"]:
                    if memory := by_name.get(self._names[id(tensor)]):
                        optimizer.state[tensor] = {key: value.to(tensor.device) for key, value in memory.items()}


def _adamw_state(tensor: Tensor) -> dict[str, Tensor]:
    """Allocate AdamW's state now: at its first step it would fragment the heap between activations."""
    step = torch.zeros((), dtype=torch.float32, device=tensor.device)
    return {"step": step, "exp_avg": torch.zeros_like(tensor), "exp_avg_sq": torch.zeros_like(tensor)}


def _uses_muon(name: str, recipe: OptimizerRecipe) -> bool:
    return recipe.optimizer == "muon" and name not in _TABLES

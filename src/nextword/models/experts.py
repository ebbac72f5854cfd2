"""`Experts`: the mixture of experts of a model, as numbers: the MLPs of a layer, and how a router weights them."""

from __future__ import annotations

from dataclasses import dataclass

from nextword.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Experts:
    """MLPs of a layer and the router that chooses some of them for each token (arXiv:2101.03961).

    A token's output is the sum of its experts' outputs, weighted by the softmax of the router's logits over all
    experts. Raises ConfigError naming the field, its value and what is allowed.
    """

    count: int
    """Experts of a layer."""
    per_token: int
    """Experts that each token passes through: those with the largest weights."""
    intermediate_size: int
    """Width of each expert."""
    layers: tuple[int, ...]
    """Layers (from 0) with experts; the others have one MLP for all tokens."""
    is_normalized: bool
    """True if the weights of a token's experts are divided by their sum."""
    shared_size: int | None = None
    """Width of one more MLP, which every token passes through; None: there is none."""
    has_shared_gate: bool = False
    """True if the output of that MLP is multiplied by the sigmoid of a projection of the token."""

    @property
    def active_size(self) -> int:
        """Width of all MLPs that one token passes through in a layer."""
        return self.per_token * self.intermediate_size + (self.shared_size or 0)

    def __post_init__(self) -> None:
        for name in ("count", "per_token", "intermediate_size", "shared_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"experts.{name} must be at least 1, is {value}")
        if self.per_token > self.count:
            raise ConfigError(f"experts.per_token = {self.per_token} must be at most experts.count = {self.count}")

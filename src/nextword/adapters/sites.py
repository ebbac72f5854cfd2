"""`Site`: a linear layer as the family publishes it, which adapters change, and the modules of nextword that it holds.

If a family fuses queries, keys and values in one matrix, it has one adapter, as in the peft library; each module of
nextword computes some of its outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nextword.adapters.spec import PROJECTIONS
from nextword.errors import ConfigError
from nextword.models.config import ModelConfig
from nextword.models.families import FAMILIES
from nextword.models.families.family import Rows, WeightRule
from nextword.models.weights import Shape, weight_shapes


@dataclass(frozen=True, kw_only=True)
class Part:
    """Module of nextword and the outputs (rows) of the site that it computes."""

    module: str
    rows: Rows


@dataclass(frozen=True, kw_only=True)
class Site:
    """Published linear layer that an adapter changes."""

    name: str
    """Name of the published module: model.layers.0.self_attn.q_proj."""
    kind: str
    """Name without the layer: self_attn.q_proj."""
    parts: tuple[Part, ...]
    num_inputs: int
    num_outputs: int
    is_transposed: bool
    """True if the family stores the matrix as (inputs, outputs)."""

    @property
    def is_feed_forward(self) -> bool:
        """True for the last linear layer of the MLP, where IA3 multiplies the inputs."""
        return self.parts[0].module.endswith(".down_proj")


def all_sites(config: ModelConfig) -> list[Site]:
    """Return every linear layer of the transformer's layers, in the order of the family's rules."""
    shapes = weight_shapes(config)
    return [
        _site(rule, layer, config, shapes)
        for rule in FAMILIES[config.family].weights
        for layer in range(config.num_layers)
        if rule.ours[0].rpartition(".")[2] in PROJECTIONS and f"{_ours(rule, layer)[0]}.weight" in shapes
    ]


def head_site(config: ModelConfig) -> Site:
    """Return the output head; where it is tied, its matrix is the embedding's."""
    rule = next(rule for rule in FAMILIES[config.family].weights if rule.ours == ("output_head",))
    return Site(
        name=rule.theirs,
        kind=rule.theirs,
        parts=(Part(module="output_head", rows=slice(None)),),
        num_inputs=config.hidden_size,
        num_outputs=config.vocab_size,
        is_transposed=False,
    )


def chosen_sites(config: ModelConfig, targets: tuple[str, ...]) -> list[Site]:
    """Return the sites that hold one of the projections named; a fused site is adapted as a whole.

    Raises ConfigError for a projection that the model lacks.
    """
    sites = all_sites(config)
    projections = {part.module.rpartition(".")[2] for site in sites for part in site.parts}
    for target in targets:
        if target not in projections:
            raise ConfigError(f"target {target}: a {config.family} model has {', '.join(sorted(projections))}")
    return [site for site in sites if any(part.module.rpartition(".")[2] in targets for part in site.parts)]


def _site(rule: WeightRule, layer: int, config: ModelConfig, shapes: dict[str, Shape]) -> Site:
    modules = _ours(rule, layer)
    all_rows: tuple[Rows, ...] = (slice(None),) if rule.rows is None else rule.rows(config)
    num_outputs = sum(shapes[f"{module}.weight"][0] for module in modules)
    return Site(
        name=rule.theirs.replace("{i}", str(layer)),
        kind=rule.theirs.rpartition("{i}.")[2],
        parts=tuple(Part(module=module, rows=rows) for module, rows in zip(modules, all_rows, strict=True)),
        num_inputs=shapes[f"{modules[0]}.weight"][1],
        num_outputs=num_outputs,
        is_transposed=rule.is_transposed,
    )


def _ours(rule: WeightRule, layer: int) -> tuple[str, ...]:
    return tuple(module.replace("{i}", str(layer)) for module in rule.ours)


def whole_matrix(site: Site, parts: Sequence[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
    """Assemble the site's matrix, (outputs, inputs), from those of its parts."""
    matrix = np.empty((site.num_outputs, site.num_inputs), dtype=np.float32)
    for part, values in zip(site.parts, parts, strict=True):
        matrix[part.rows] = values
    return matrix

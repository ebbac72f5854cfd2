"""`Family`: how one published architecture maps to our configuration and weight names, as data.

A family file fills in one `Family`. Weight rules speak of modules ("layers.{i}.attention.q_proj"); their weight and
bias follow. Nothing here opens a file, and nothing here computes with weights beyond moving rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from nextword.models.config import ModelConfig
from nextword.models.families.fields import ConfigFields

Rows = npt.NDArray[np.intp] | slice


@dataclass(frozen=True)
class WeightRule:
    """One module of the published checkpoint and the module or modules of ours it holds.

    `{i}` in a name stands for the layer. Inverting a rule gives the published tensor back bit by bit.
    """

    theirs: str
    ours: tuple[str, ...]
    """One module; or several, fused in one matrix, each with the rows that `rows` names."""
    is_transposed: bool = False
    """Whether their matrix is stored (in_features, out_features)."""
    rows: Callable[[ModelConfig], tuple[Rows, ...]] | None = None
    """Rows of their (out, in) matrix that each of ours takes; together a permutation of all rows."""
    alias: str | None = None
    """Another name of theirs that some releases use; read, never written."""


@dataclass(frozen=True, kw_only=True)
class GGUFMapping:
    """How the family's GGUF files name and change what it publishes."""

    architecture: str
    """Value of general.architecture."""
    weights: tuple[WeightRule, ...]
    """As the family's own rules, with the names of GGUF."""
    norm_offset: float = 0.0
    """What the converter added to the weights of all norms (1 in Gemma)."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Field of config.json -> metadata key (after the architecture), for what only this family has."""
    wide_scale_layers: int | None = None
    """The number of layers of the one size whose attention scale follows hidden_size / num_heads, not head_dim."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """One published architecture."""

    model_type: str
    """`model_type` in config.json; our name of the family."""
    architecture: str
    """Class name in `architectures` of config.json."""
    config_from_hf: Callable[[ConfigFields], ModelConfig]
    """Reads config.json. Raises ConfigError or CheckpointError naming file, field, value and what is supported."""
    config_to_hf: Callable[[ModelConfig], dict[str, object]]
    """The content of config.json, but for the entries common to all families."""
    base_prefix: str
    """What names of weights begin with, but for the output head; files of the bare model leave it out."""
    weights: tuple[WeightRule, ...]
    ignored_weights: tuple[str, ...] = ()
    """Shell patterns of tensors that old checkpoints carry and that are no weights (masks, frequency tables)."""
    gguf: GGUFMapping | None = None

"""`Family`: mapping of a published architecture to the config and weight names of nextword, as data.

A family file fills in one `Family`. Weight rules name modules ("layers.{i}.attention.q_proj"), whose weight and bias
follow. Nothing here opens a file or computes with weights beyond moving rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from nextword.models.config import ModelConfig
from nextword.models.families.fields import ConfigFields

Rows = npt.NDArray[np.intp] | slice


class WeightRule(NamedTuple):
    """Module of the published checkpoint, with the module or modules of nextword that it holds.

    `{i}` in a name stands for the layer, `{e}` for the expert. A published module without `{e}` holds all experts that
    `ours` names, one after the other: (experts, out, in). The inverse of a rule gives the published tensor back bit by
    bit.
    """

    theirs: str
    ours: tuple[str, ...]
    """Names in nextword: one module, or several that are fused in one matrix, each with its rows in `rows`."""
    is_transposed: bool = False
    """True if the published matrix is stored as (in_features, out_features)."""
    rows: Callable[[ModelConfig], tuple[Rows, ...]] | None = None
    """Function that returns, for each of `ours`, its rows in the published matrix (out, in) of one layer or expert."""
    is_vector: bool = False
    """True if a published matrix of one row is stored without the axis of rows."""
    alias: str | None = None
    """Published name in some other releases; read, never written."""

    @property
    def is_of_experts(self) -> bool:
        """True if the rule holds for each expert of a layer."""
        return "{e}" in self.ours[0]

    @property
    def is_stacked(self) -> bool:
        """True if one published tensor holds all experts of a layer."""
        return self.is_of_experts and "{e}" not in self.theirs


@dataclass(frozen=True, kw_only=True)
class GGUFMapping:
    """Names in a family's GGUF files, and changes that the converter makes to its weights."""

    architecture: str
    """Value of general.architecture."""
    weights: tuple[WeightRule, ...]
    """Weight rules with the names of GGUF."""
    norm_offset: float = 0.0
    """Offset that the converter adds to the weights of all norms (1 in Gemma)."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Metadata key (after the architecture) by field of config.json, for settings that only this family has."""
    defaults: Mapping[str, object] = field(default_factory=dict)
    """Value by field of config.json, where the file does not have the key and llama.cpp assumes another value."""
    marker: str | None = None
    """Metadata key (after the architecture) that tells this family's files from another's of that architecture."""
    needs_head: bool = False
    """True if llama.cpp asks for an output head even where it is the embedding."""
    wide_scale_layers: int | None = None
    """Number of layers of the one size whose attention scale depends on hidden_size / num_heads, not on head_dim."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """Published architecture: its names in files, reader and writer of config.json, weight rules."""

    model_type: str
    """`model_type` in config.json, which is the name of the family."""
    architecture: str
    """Class name in `architectures` of config.json."""
    config_from_hf: Callable[[ConfigFields], ModelConfig]
    """Reader of config.json. Raises ConfigError or CheckpointError naming file, field, value and what is supported."""
    config_to_hf: Callable[[ModelConfig], dict[str, object]]
    """Writer of config.json, except for the entries common to all families."""
    base_prefix: str
    """Prefix of the names of weights, except the output head; files of the model without head leave it out."""
    weights: tuple[WeightRule, ...]
    ignored_weights: tuple[str, ...] = ()
    """Shell patterns of tensors in old checkpoints that are no weights (masks, frequency tables)."""
    gguf: GGUFMapping | None = None

"""`LinearChange`: what an adapter of any kind does to one linear layer, as the backends compute it.

A layer computes `output_factor * (W (input_factor * x) + up down x) + bias` in place of W x + b. Merged into W it is
one matrix again; beside W it needs the memory of its own numbers only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nextword.models.families.family import Rows

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class LinearChange:
    """Values of an adapter for one linear layer, float32; what is None changes nothing."""

    down: Array | None = None
    """A of a low-rank update, (rank, inputs)."""
    up: Array | None = None
    """B of a low-rank update with its scale, (outputs, rank)."""
    update: Array | None = None
    """Update of full rank, (outputs, inputs), with its scale."""
    input_factor: Array | None = None
    """Factor on each input of W, (inputs,)."""
    output_factor: Array | None = None
    """Factor on each output before the bias, (outputs,)."""
    bias: Array | None = None
    """Bias in place of the layer's own, (outputs,); None: no bias at all."""

    def of_rows(self, rows: Rows) -> LinearChange:
        """Return the change of some of the outputs."""

        def taken(values: Array | None) -> Array | None:
            return None if values is None else values[rows]

        return dataclasses.replace(
            self,
            up=taken(self.up),
            update=taken(self.update),
            output_factor=taken(self.output_factor),
            bias=taken(self.bias),
        )

    def offset(self, bias: Array | None) -> Array | None:
        """Return what is added to `output_factor * (outputs of the layer with its own bias)`; None for nothing."""
        own = np.float32(0.0) if bias is None else bias
        offset = (np.float32(0.0) if self.bias is None else self.bias) - (
            own if self.output_factor is None else self.output_factor * own
        )
        return np.asarray(offset, dtype=np.float32) if np.any(offset) else None

    def merged_into(self, weight: Array) -> Array:
        """Return the matrix, (outputs, inputs), that computes the same by itself; its bias is `bias`."""
        merged = weight
        if self.input_factor is not None:
            merged = merged * self.input_factor
        if self.down is not None and self.up is not None:
            merged = merged + self.up @ self.down
        if self.update is not None:
            merged = merged + self.update
        return merged if self.output_factor is None else merged * self.output_factor[:, None]


Changes = Mapping[str, Callable[[], LinearChange]]
"""Changes of one adapter by module, each computed when called."""

"""`KINDS`: the kinds of adapters that the peft library saves, each as the `LinearChange` of one layer.

A kind is two functions: the shapes of its tensors, by which they are checked before any is read, and the change that
they make. Names of tensors are those of peft's files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nextword.adapters.sites import Site
from nextword.models.linear_change import LinearChange
from nextword.models.stored_tensor import StoredTensor
from nextword.models.weights import Shape

Array = npt.NDArray[np.float32]
Shapes = Mapping[str, Shape]


@dataclass(frozen=True, kw_only=True)
class AdaptedLayer:
    """One linear layer with the settings that an adapter has for it."""

    site: Site
    rank: int
    scaling: float
    output_scale: float
    """Factor that the model applies to the outputs, to an added bias, too: `logit_scale` of the output head, else 1.

    The backends apply it to the inputs of the head instead, which leaves a bias as it is.
    """
    extras: frozenset[str]
    """Tensors that the settings ask for besides those of the kind, with a number for each output."""
    found: Shapes
    """Shapes of the adapter's tensors for the layer, by name."""
    weight: Callable[[], Array]
    """Function that returns the matrix of the base, (outputs, inputs)."""
    bias: Callable[[], Array | None]
    """Function that returns the bias of the base, (outputs,), if there is one."""
    shared: Mapping[str, StoredTensor]
    """Tensors that an adapter has once for all its layers."""


@dataclass(frozen=True)
class Kind:
    """Kind of adapter."""

    shapes: Callable[[AdaptedLayer], dict[str, Shape]]
    """Function that returns the shape of each tensor that a layer must have."""
    change: Callable[[AdaptedLayer, Mapping[str, Array]], LinearChange]
    """Function that returns the change made by those tensors."""


def _lora_shapes(layer: AdaptedLayer) -> dict[str, Shape]:
    inputs, outputs = layer.site.num_inputs, layer.site.num_outputs
    shapes: dict[str, Shape] = {"lora_A.weight": (layer.rank, inputs), "lora_B.weight": (outputs, layer.rank)}
    return {**shapes, **dict.fromkeys(layer.extras, (outputs,))}


def _lora(layer: AdaptedLayer, tensors: Mapping[str, Array]) -> LinearChange:
    """Low-rank update (arXiv:2106.09685); with magnitudes, of the directions alone (DoRA, arXiv:2402.09353)."""
    down, up = tensors["lora_A.weight"], tensors["lora_B.weight"] * np.float32(layer.scaling)
    factor = None
    if "lora_magnitude_vector" in tensors:
        factor = tensors["lora_magnitude_vector"] / np.linalg.norm(layer.weight() + up @ down, axis=1)
    bias = layer.bias()
    if "lora_B.bias" in tensors:
        offset = tensors["lora_B.bias"] * np.float32(layer.scaling * layer.output_scale)
        bias = offset if bias is None else bias + offset
    return LinearChange(down=down, up=up, output_factor=factor, bias=bias)


def _adalora_shapes(layer: AdaptedLayer) -> dict[str, Shape]:
    # Pruned ranks may have been left out.
    rank = min(layer.found.get("lora_E", (layer.rank,))[0], layer.rank)
    return {"lora_A": (rank, layer.site.num_inputs), "lora_E": (rank, 1), "lora_B": (layer.site.num_outputs, rank)}


def _adalora(layer: AdaptedLayer, tensors: Mapping[str, Array]) -> LinearChange:
    """Low-rank update with singular values (arXiv:2303.10512)."""
    up = tensors["lora_B"] * np.float32(layer.scaling * layer.rank / (layer.rank + 1e-5))
    return LinearChange(down=tensors["lora_A"] * tensors["lora_E"], up=up, bias=layer.bias())


def _vera_shapes(layer: AdaptedLayer) -> dict[str, Shape]:
    return {"vera_lambda_d": (layer.rank,), "vera_lambda_b": (layer.site.num_outputs,)}


def _vera(layer: AdaptedLayer, tensors: Mapping[str, Array]) -> LinearChange:
    """Random matrices that all layers share, with trained factors (arXiv:2310.11454)."""
    down = layer.shared["vera_A"].to_float32()[:, : layer.site.num_inputs] * tensors["vera_lambda_d"][:, None]
    up = layer.shared["vera_B"].to_float32()[: layer.site.num_outputs] * tensors["vera_lambda_b"][:, None]
    return LinearChange(down=down, up=up, bias=layer.bias())


def _loha_shapes(layer: AdaptedLayer) -> dict[str, Shape]:
    outer, inner = (layer.site.num_outputs, layer.rank), (layer.rank, layer.site.num_inputs)
    return {"hada_w1_a": outer, "hada_w1_b": inner, "hada_w2_a": outer, "hada_w2_b": inner}


def _loha(layer: AdaptedLayer, tensors: Mapping[str, Array]) -> LinearChange:
    """Product of two low-rank matrices, element by element (arXiv:2108.06098)."""
    first, second = (tensors[f"hada_{one}_a"] @ tensors[f"hada_{one}_b"] for one in ("w1", "w2"))
    return LinearChange(update=first * second * np.float32(layer.scaling), bias=layer.bias())


def _lokr_shapes(layer: AdaptedLayer) -> dict[str, Shape]:
    """Return shapes that multiply to the layer's; the factors of its sizes are read off the tensors found."""
    found, sizes = layer.found, (layer.site.num_outputs, layer.site.num_inputs)
    first = found.get("lokr_w1") or (*found.get("lokr_w1_a", (1,))[:1], *found.get("lokr_w1_b", (1, 1))[-1:])
    factors = [(part, size // part if part else 0) for part, size in zip(first, sizes, strict=True)]
    shapes: dict[str, Shape] = {}
    for name, at in (("lokr_w1", 0), ("lokr_w2", 1)):
        outputs, inputs = (pair[at] for pair in factors)
        if f"{name}_a" in found:
            shapes |= {f"{name}_a": (outputs, layer.rank), f"{name}_b": (layer.rank, inputs)}
        else:
            shapes[name] = (outputs, inputs)
    return shapes


def _lokr(layer: AdaptedLayer, tensors: Mapping[str, Array]) -> LinearChange:
    """Kronecker product of two matrices, each whole or of low rank (arXiv:2309.14859)."""
    first, second = (
        tensors[name] if name in tensors else tensors[f"{name}_a"] @ tensors[f"{name}_b"]
        for name in ("lokr_w1", "lokr_w2")
    )
    return LinearChange(update=np.kron(first, second) * np.float32(layer.scaling), bias=layer.bias())


def _ia3_shapes(layer: AdaptedLayer) -> dict[str, Shape]:
    """Return the shape of factors on the inputs (a row) or on the outputs (a column), whichever was found."""
    is_row = layer.found.get("ia3_l", (0,))[0] == 1
    return {"ia3_l": (1, layer.site.num_inputs) if is_row else (layer.site.num_outputs, 1)}


def _ia3(layer: AdaptedLayer, tensors: Mapping[str, Array]) -> LinearChange:
    """Factor on each input or output (arXiv:2205.05638)."""
    factors = tensors["ia3_l"].ravel()
    if tensors["ia3_l"].shape[0] == 1:
        return LinearChange(input_factor=factors, bias=layer.bias())
    bias = layer.bias()
    return LinearChange(output_factor=factors, bias=None if bias is None else bias * factors)


KINDS = {
    "LORA": Kind(_lora_shapes, _lora),
    "ADALORA": Kind(_adalora_shapes, _adalora),
    "VERA": Kind(_vera_shapes, _vera),
    "LOHA": Kind(_loha_shapes, _loha),
    "LOKR": Kind(_lokr_shapes, _lokr),
    "IA3": Kind(_ia3_shapes, _ia3),
}
"""Kinds by `peft_type`."""

"""`AdaptedWeights`: a model's weights with an adapter beside them, every tensor of the adapter accounted for.

An adapter changes linear layers (`LinearChange`) and may replace whole weights (`replaced_weights`). Names and shapes
are checked at once; values are read when they are needed.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nextword.adapters.folder import Adapter
from nextword.adapters.kinds import KINDS, AdaptedLayer
from nextword.adapters.replaced_weights import replaced_weights
from nextword.adapters.sites import Site, all_sites, head_site, whole_matrix
from nextword.errors import CheckpointError
from nextword.models.config import ModelConfig
from nextword.models.families.family import Rows
from nextword.models.families.published_weights import LazyTensors
from nextword.models.linear_change import Changes, LinearChange
from nextword.models.stored_tensor import StoredTensor
from nextword.models.weights import require_names, require_shape

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class AdaptedWeights:
    """Weights of a model and what an adapter changes in them."""

    config: ModelConfig
    """Config of the adapted model: the adapter may have grown the vocabulary, or a head of its own."""
    tensors: Mapping[str, StoredTensor]
    """Weights of the base, with those that the adapter replaces."""
    replaced: tuple[str, ...]
    """Names of the weights that the adapter replaces."""
    changes: Changes
    """Change of each linear layer, by module, computed when called."""
    scaled_inputs: frozenset[str]
    """Modules whose inputs the adapter multiplies."""
    biased: frozenset[str]
    """Modules that the adapter gives a bias."""


def adapted_weights(config: ModelConfig, tensors: Mapping[str, StoredTensor], adapter: Adapter) -> AdaptedWeights:
    """Fit an adapter to a model. Raises CheckpointError naming the tensor that is missing, unexpected or mis-shaped."""
    replaced = replaced_weights(config, tensors, adapter)
    makers = {name: functools.partial(tensors.__getitem__, name) for name in tensors}
    weights = LazyTensors({**makers, **replaced.makers})
    used = set(replaced.used)
    shared = _shared(adapter, used)
    changes: dict[str, Callable[[], LinearChange]] = {}
    biased: set[str] = set()
    scaled_inputs: set[str] = set()
    head = dataclasses.replace(head_site(config), num_outputs=replaced.config.vocab_size)
    scales = {head.name: config.logit_scale}
    for site in [*all_sites(config), head]:
        names = [name for name in adapter.tensors if name.startswith(f"{site.name}.") and name not in used]
        if names and adapter.settings.kind in KINDS:
            layer = _layer(site, adapter, weights, shared, names, output_scale=scales.get(site.name, 1.0))
            _check(layer, adapter)
            used |= set(names)
            change = functools.partial(_change, adapter, layer)
            changes |= {part.module: functools.partial(_of_part, change, part.rows) for part in site.parts}
            if layer.found.get("ia3_l", (0,))[0] == 1:
                scaled_inputs |= {part.module for part in site.parts}
            biased |= {part.module for part in site.parts if "lora_B.bias" in layer.found}
    require_names(adapter.tensors, dict.fromkeys(used), source=adapter.source)
    if not used:
        raise CheckpointError(f"{adapter.source}: has no tensors; save the adapter again")
    return AdaptedWeights(
        config=replaced.config,
        tensors=weights,
        replaced=tuple(replaced.makers),
        changes=changes,
        biased=frozenset(biased),
        scaled_inputs=frozenset(scaled_inputs),
    )


def _shared(adapter: Adapter, used: set[str]) -> dict[str, StoredTensor]:
    """Return the matrices that all layers of a VeRA adapter share."""
    if adapter.settings.kind != "VERA":
        return {}
    found = {name: adapter.tensors.get(f"base_model.{name}") for name in ("vera_A", "vera_B")}
    shared = {name: tensor for name, tensor in found.items() if tensor is not None and len(tensor.shape) == 2}
    if len(shared) < len(found):
        raise CheckpointError(f"{adapter.source}: missing tensor vera_A or vera_B; save it with save_projection")
    used |= {f"base_model.{name}" for name in shared}
    return shared


def _layer(
    site: Site,
    adapter: Adapter,
    weights: Mapping[str, StoredTensor],
    shared: Mapping[str, StoredTensor],
    names: list[str],
    *,
    output_scale: float,
) -> AdaptedLayer:
    settings = adapter.settings
    return AdaptedLayer(
        site=site,
        rank=settings.rank_of(site.name),
        scaling=settings.scaling_of(site.name),
        output_scale=output_scale,
        extras=settings.extras,
        found={name.removeprefix(f"{site.name}."): adapter.tensors[name].shape for name in names},
        weight=lambda: whole_matrix(site, [_matrix(weights, part.module) for part in site.parts]),
        bias=lambda: _bias(site, weights),
        shared=shared,
    )


def _check(layer: AdaptedLayer, adapter: Adapter) -> None:
    """Raise CheckpointError unless the layer has the tensors of its kind, each of its shape."""
    name, shapes = layer.site.name, KINDS[adapter.settings.kind].shapes(layer)
    require_names(layer.found, shapes, source=f"{adapter.source}: {name}")
    for key, shape in shapes.items():
        require_shape(f"{name}.{key}", layer.found[key], shape, source=adapter.source)
    for key, tensor in layer.shared.items():
        least = (layer.rank, layer.site.num_inputs) if key == "vera_A" else (layer.site.num_outputs, layer.rank)
        if any(seen < needed for seen, needed in zip(tensor.shape, least, strict=True)):
            raise CheckpointError(
                f"{adapter.source}: tensor {key} has shape {list(tensor.shape)}, {name} asks for {least}"
            )


def _change(adapter: Adapter, layer: AdaptedLayer) -> LinearChange:
    tensors = {name: adapter.tensors[f"{layer.site.name}.{name}"].to_float32() for name in layer.found}
    return KINDS[adapter.settings.kind].change(layer, tensors)


def _of_part(change: Callable[[], LinearChange], rows: Rows) -> LinearChange:
    return change().of_rows(rows)


def _matrix(weights: Mapping[str, StoredTensor], module: str) -> Array:
    name = f"{module}.weight"
    return weights[name if name in weights else "embedding.weight"].to_float32()  # of a tied head


def _bias(site: Site, weights: Mapping[str, StoredTensor]) -> Array | None:
    """Return the bias of all outputs of a site; None if it has none."""
    names = [f"{part.module}.bias" for part in site.parts]
    if not any(name in weights for name in names):
        return None
    bias = np.zeros(site.num_outputs, dtype=np.float32)
    for part, name in zip(site.parts, names, strict=True):
        bias[part.rows] = weights[name].to_float32()
    return bias

"""Conversion of weights between the names and layouts of a family and those of nextword, by its weight rules.

In: stored tensors by one set of names. Out: a mapping by the other set, which splits, joins or transposes a tensor when
it is read. Names and shapes are checked at once, against the config; values are not read.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from nextword.models.config import ModelConfig
from nextword.models.families.family import Family, Rows, WeightRule
from nextword.models.stored_tensor import StoredTensor, join_rows
from nextword.models.weights import Shape, require_names, require_shape, weight_shapes


class LazyTensors(Mapping[str, StoredTensor]):
    """Tensors by name, each computed when it is read."""

    def __init__(self, makers: Mapping[str, Callable[[], StoredTensor]]) -> None:
        self._makers = makers

    def __getitem__(self, name: str) -> StoredTensor:
        return self._makers[name]()

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)


def from_published(
    family: Family, config: ModelConfig, published: Mapping[str, StoredTensor], *, source: str
) -> Mapping[str, StoredTensor]:
    """Return the tensors of a published checkpoint by their names in nextword, in the order of computation.

    Raises CheckpointError, naming `source` and the tensor, if one is missing, unexpected or of another shape.
    """
    parameters = _parameters(family, config)
    found = _by_canonical_name(family, parameters, published)
    require_names(found, {parameter.name: None for parameter in parameters}, source=source)
    makers = from_published_part(family, config, found, source=source)
    return LazyTensors({name: makers[name] for name in weight_shapes(config)})


def from_published_part(
    family: Family, config: ModelConfig, published: Mapping[str, StoredTensor], *, source: str
) -> dict[str, Callable[[], StoredTensor]]:
    """Return makers of the weights that some published tensors hold, by name in nextword; other tensors are left out.

    Raises CheckpointError if one has another shape than the config asks for.
    """
    makers: dict[str, Callable[[], StoredTensor]] = {}
    for parameter in _parameters(family, config):
        tensor = published.get(parameter.name)
        if tensor is None:
            continue
        require_shape(tensor.name, tensor.shape, parameter.shape, source=source)
        for name, rows in zip(parameter.ours, parameter.rows(), strict=True):
            makers[name] = _part(parameter, tensor, name, rows)
    return makers


def to_published(
    family: Family, config: ModelConfig, tensors: Mapping[str, StoredTensor]
) -> Mapping[str, StoredTensor]:
    """Return tensors under the names and in the layout of the family; the inverse of `from_published`."""
    return LazyTensors({parameter.name: _whole(parameter, tensors) for parameter in _parameters(family, config)})


def published_name(family: Family, ours: str) -> str:
    """Return the published name of a parameter that is not part of a fused one and belongs to no layer."""
    stem, _, kind = ours.rpartition(".")
    return next(f"{rule.theirs}.{kind}" for rule in family.weights if rule.ours == (stem,))


def layer_stems(family: Family) -> set[str]:
    """Return what stands before the number of a layer in published names, with the prefix of the family or without."""
    stems = {rule.theirs.partition("{i}")[0] for rule in family.weights if "{i}" in rule.theirs}
    return stems | {stem.removeprefix(family.base_prefix) for stem in stems}


def published_shapes(family: Family, config: ModelConfig) -> dict[str, Shape]:
    """Return the shape of every weight in the published layout, by published name."""
    return {parameter.name: parameter.shape for parameter in _parameters(family, config)}


class _Parameter(NamedTuple):
    """Published tensor (weight or bias) of one layer or expert, with the parameters of nextword that it holds."""

    name: str
    alias: str | None
    shape: Shape
    ours: tuple[str, ...]
    rows: Callable[[], tuple[Rows | None, ...]]
    """Function that returns the rows of each of `ours`; None: all."""
    is_transposed: bool
    is_vector: bool
    num_stacked: int | None
    """Number of experts that the tensor stacks along an axis of its own; None: there is no such axis."""


def _parameters(family: Family, config: ModelConfig) -> list[_Parameter]:
    """Return every published tensor that a checkpoint of this config has."""
    shapes = weight_shapes(config)
    parameters = []
    for rule in family.weights:
        for layer, experts in _places(rule, config):
            for kind in ("weight", "bias"):
                ours = tuple(f"{_numbered(stem, layer, expert)}.{kind}" for expert in experts for stem in rule.ours)
                if ours[0] in shapes:
                    name = f"{_numbered(rule.theirs, layer, experts[0])}.{kind}"
                    parameters.append(_parameter(rule, name, ours, config, shapes))
    return parameters


def _places(rule: WeightRule, config: ModelConfig) -> list[tuple[int, range]]:
    """Return, for each published module of a rule, its layer and the experts that it holds."""
    layers = range(config.num_layers) if "{i}" in rule.theirs else range(1)
    if not rule.is_of_experts:
        return [(layer, range(1)) for layer in layers]
    if config.experts is None:
        return []
    count = config.experts.count
    held = [range(count)] if rule.is_stacked else [range(expert, expert + 1) for expert in range(count)]
    return [(layer, experts) for layer in layers for experts in held]


def _numbered(stem: str, layer: int, expert: int) -> str:
    return stem.replace("{i}", str(layer)).replace("{e}", str(expert))


def _parameter(
    rule: WeightRule, name: str, ours: tuple[str, ...], config: ModelConfig, shapes: Mapping[str, Shape]
) -> _Parameter:
    num_stacked = len(ours) // len(rule.ours) if rule.is_stacked else None
    num_rows = sum(shapes[one][0] for one in ours[: len(rule.ours)])
    shape = (num_rows, *shapes[ours[0]][1:])
    is_transposed = rule.is_transposed and len(shape) == 2
    if is_transposed:
        shape = shape[::-1]
    if rule.is_vector:
        shape = shape[1:]
    return _Parameter(
        name=name,
        alias=None if rule.alias is None else f"{rule.alias}.{name.rpartition('.')[2]}",
        shape=shape if num_stacked is None else (num_stacked, *shape),
        ours=ours,
        rows=lambda: _rows(rule, config, num_rows, num_stacked),
        is_transposed=is_transposed,
        is_vector=rule.is_vector,
        num_stacked=num_stacked,
    )


def _rows(rule: WeightRule, config: ModelConfig, num_rows: int, num_stacked: int | None) -> tuple[Rows | None, ...]:
    """Return the rows of each of a parameter's own, in the matrix of all experts one below the other if stacked."""
    rows: tuple[Rows | None, ...] = (None,) if rule.rows is None else rule.rows(config)
    if num_stacked is None:
        return rows
    return tuple(_below(part, expert * num_rows, num_rows) for expert in range(num_stacked) for part in rows)


def _below(rows: Rows | None, start: int, num_rows: int) -> Rows:
    """Return rows of one expert's matrix as rows of the matrix in which it begins at `start`."""
    if rows is None:
        return slice(start, start + num_rows)
    return slice(start + rows.start, start + rows.stop) if isinstance(rows, slice) else start + rows


def _by_canonical_name(
    family: Family, parameters: list[_Parameter], published: Mapping[str, StoredTensor]
) -> dict[str, StoredTensor]:
    """Rename tensors to the names of the rules: aliases are resolved, tensors that are no weights left out."""
    other_names = {parameter.alias: parameter.name for parameter in parameters if parameter.alias is not None}
    for parameter in parameters:
        if parameter.name.startswith(family.base_prefix):
            other_names[parameter.name.removeprefix(family.base_prefix)] = parameter.name
    return {
        other_names.get(name, name): tensor
        for name, tensor in published.items()
        if not any(fnmatch.fnmatchcase(name, pattern) for pattern in family.ignored_weights)
    }


def _part(parameter: _Parameter, tensor: StoredTensor, name: str, rows: Rows | None) -> Callable[[], StoredTensor]:
    def make() -> StoredTensor:
        matrix = tensor.transposed() if parameter.is_transposed else tensor
        if parameter.num_stacked is not None:
            matrix = matrix.reshaped((-1,))
        if parameter.is_vector:
            matrix = matrix.reshaped((1,))
        return (matrix if rows is None else matrix.take_rows(rows)).renamed(name)

    return make


def _whole(parameter: _Parameter, tensors: Mapping[str, StoredTensor]) -> Callable[[], StoredTensor]:
    def make() -> StoredTensor:
        parts, rows = [tensors[name] for name in parameter.ours], parameter.rows()
        whole = join_rows(parameter.name, parts) if len(parts) > 1 else parts[0].renamed(parameter.name)
        if rows[0] is not None:
            whole = whole.take_rows(_inverse(rows, whole.shape[0]))
        if parameter.num_stacked is not None:
            whole = whole.reshaped((parameter.num_stacked, -1))
        if parameter.is_vector:
            whole = whole.reshaped(())
        return whole.transposed() if parameter.is_transposed else whole

    return make


def _inverse(rows: tuple[Rows | None, ...], count: int) -> Rows:
    """Return the position of each published row in the concatenated parts."""
    if all(isinstance(part, slice) for part in rows):
        return slice(None)  # contiguous parts in their own order
    order = np.concatenate([np.arange(count)[part] for part in rows])
    return np.argsort(order)

"""Weights of the native backend: the kind of panel for each matrix, and the way there from the tensors of a file.

In: stored tensors. Out: a filled `core.Model`. Rows go to the core where they lie in the file, or as copies, some
megabytes at a time.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from nextword.errors import CheckpointError
from nextword.inference.backend import Meanwhile, OnProgress, Weights
from nextword.models.config import ModelConfig
from nextword.models.stored_tensor import StoredTensor
from nextword.models.weights import require_names, require_shape, weight_shapes
from nextword.native import core

_KINDS = {
    "f32": core.WeightKind.F32,
    "f16": core.WeightKind.F16,
    "bf16": core.WeightKind.BF16,
    "q8": core.WeightKind.Q8,
    "q4": core.WeightKind.Q4_MIN,
}
_OWN_KINDS = {
    "F32": core.WeightKind.F32,
    "BF16": core.WeightKind.BF16,
    "F16": core.WeightKind.F16,
    "Q8_0": core.WeightKind.Q8,
    "Q4_0": core.WeightKind.Q4,
    "Q4_1": core.WeightKind.Q4_MIN,
    "Q5_0": core.WeightKind.Q5,
    "Q5_1": core.WeightKind.Q5_MIN,
    "IQ4_NL": core.WeightKind.IQ4,
    "Q2_K": core.WeightKind.Q2_K,
    "Q3_K": core.WeightKind.Q3_K,
    "Q4_K": core.WeightKind.Q4_K,
    "Q5_K": core.WeightKind.Q5_K,
    "Q6_K": core.WeightKind.Q6_K,
    "IQ4_XS": core.WeightKind.IQ4_XS,
}
"""Packed format that holds the values of an encoding exactly."""

ROUNDED = (
    *("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S"),
    *("TQ1_0", "TQ2_0", "MXFP4", "NVFP4", "Q1_0", "Q2_0"),
)
"""The other encodings that can be decoded: their values are rounded to 8 bits."""

_FOUR_BITS = {"Q4_0", "Q4_1", "Q4_K", "IQ4_NL", "IQ4_XS", "Q3_K", "Q2_K"}
"""Encodings of at most 4 bits a value, beside those of the scales."""

_CACHE_KINDS = {
    core.WeightKind.F32: core.CacheKind.F32,
    core.WeightKind.F16: core.CacheKind.F32,
    core.WeightKind.BF16: core.CacheKind.BF16,
}
"""Format of the keys and values, by that of the embedding: as precise as the numbers they are computed from; Q8 by
those that are not listed."""

_PART_BYTES = 2**21
"""Bytes of rows that a thread packs at once, after which a file's pages leave the memory: loading needs little of it
beside the weights."""
_COPIED_BYTES = 2**24
"""Bytes of rows that are in memory at once where they do not lie in the file as the core reads them."""
_AHEAD_BYTES = 2**26
"""Bytes of rows that are packed beside the other work, which may need memory of its own: a tokenizer is built from
lists that are larger than it is."""
_PANEL_ROWS = 32
"""Parts of a matrix begin at multiples of this many rows."""
_SECONDS_BETWEEN = 0.005
"""Between two calls of `on_progress`."""


def choose_kinds(
    config: ModelConfig, tensors: Mapping[str, StoredTensor], weights: Weights
) -> dict[str, core.WeightKind]:
    """Choose the kind that each matrix is packed as. Raises CheckpointError for a missing or misshapen weight."""
    shapes = weight_shapes(config)
    require_names(tensors, shapes, source="weights")
    matrices: dict[str, str] = {}
    rounded: dict[Path | None, set[str]] = {}
    for name, shape in shapes.items():
        tensor = tensors[name]
        require_shape(name, tensor.shape, shape, source="weights")
        if len(shape) == 2:
            matrices[name] = tensor.dtype
            if weights == "auto" and tensor.dtype in ROUNDED:
                rounded.setdefault(tensor.path, set()).add(tensor.dtype)
    for path, dtypes in rounded.items():
        place = "" if path is None else f"{path}: "
        warnings.warn(f"{place}weights of type {', '.join(sorted(dtypes))} are rounded to 8 bits", stacklevel=4)
    return {name: _kind(name, dtype, weights) for name, dtype in matrices.items()}


def cache_kind(kind: core.WeightKind) -> core.CacheKind:
    """Return the format of keys and values for a model whose embedding is of this kind: as precise as it."""
    return _CACHE_KINDS.get(kind, core.CacheKind.Q8)


def load_weights(
    model: core.Model,
    config: ModelConfig,
    tensors: Mapping[str, StoredTensor],
    kinds: Mapping[str, core.WeightKind],
    *,
    on_progress: OnProgress,
    meanwhile: Meanwhile,
) -> None:
    """Pack all weights; the pages of a mapped file leave the memory again.

    One of `meanwhile` is called beside each batch, and those left over at the end. Raises what they raise,
    CheckpointError for numbers beyond the range of a kind, for infinities and NaN where they are rounded, and for a
    file that changes meanwhile.
    """
    for name, kind in kinds.items():
        # All are allocated before any is filled: side by side they lie on huge pages, for which one alone is too small.
        model.make_matrix(name, kind)
    shapes = weight_shapes(config)
    _load_vectors(model, config, {name: tensors[name] for name in shapes.keys() - kinds.keys()})
    works = iter(meanwhile)
    done, total = 0, sum(rows * columns for rows, columns in (shapes[name] for name in kinds))
    for batch in _batches(part for name in kinds for part in _parts(tensors[name])):
        num_values = sum(part.rows.num_elements for part in batch)
        _leave_memory(batch)  # from which some rows were copied
        with contextlib.closing(core.Packing(model, [part.for_core() for part in batch])) as packing:
            for work in itertools.islice(works, 1):
                work()
            if done == 0:
                core.trim_heap()  # of what the first work took, before the rest of the weights is allocated
            while not _run(packing, batch):
                on_progress((done + num_values * packing.num_packed / len(batch)) / total)
        _leave_memory(batch)
        batch.clear()  # before the next one is made
        done += num_values
        on_progress(done / total)
    for work in works:  # more than there were batches
        work()


def _load_vectors(model: core.Model, config: ModelConfig, vectors: Mapping[str, StoredTensor]) -> None:
    for name, vector in vectors.items():
        offset = config.norm_offset if name.endswith("norm.weight") else 0.0
        model.load_vector(name, np.ascontiguousarray(vector.to_float32()) + np.float32(offset))
        vector.require_unchanged()


def _kind(name: str, dtype: str, weights: Weights) -> core.WeightKind:
    if name == "position_embedding.weight" or name.endswith(("mlp.router.weight", "mlp.shared_gate.weight")):
        return core.WeightKind.F32
    if weights == "q4" and dtype in _FOUR_BITS:
        weights = "auto"  # the file's own bits
    if weights != "auto":
        # The output head decides between tokens of similar probability: at 4 bits it costs more accuracy than all
        # layers.
        is_head = name == "output_head.weight" or name == "embedding.weight"
        return _KINDS["q8" if weights == "q4" and is_head else weights]
    return _OWN_KINDS.get(dtype, core.WeightKind.Q8)


class _Part(NamedTuple):
    """Some rows of a matrix."""

    first_row: int
    rows: StoredTensor
    """Encoded as in the file, or, if the core cannot read that, decoded."""
    source: StoredTensor
    """The rows in the file."""

    @property
    def is_mapped(self) -> bool:
        """True if the core reads them where they lie in the file."""
        return self.rows.is_mapped and self.rows.data.flags.c_contiguous

    def for_core(self) -> tuple[str, int, int, core.Encoding, npt.NDArray[np.uint8], bool]:
        """Return name, first row, number of rows, encoding, bytes, and whether they lie in the file."""
        encoded = np.ascontiguousarray(self.rows.data).view(np.uint8).reshape(-1)
        encoding = core.Encoding[self.rows.dtype]
        return self.rows.name, self.first_row, self.rows.shape[0], encoding, encoded, self.is_mapped


def _parts(tensor: StoredTensor) -> Iterator[_Part]:
    """Cut a matrix into parts of about `_PART_BYTES`; blocks that the core cannot read become floats."""
    is_decoded = tensor.dtype not in core.Encoding.__members__
    row_bytes = 4 * tensor.shape[1] if is_decoded else tensor.stored[:1].nbytes
    step = max(1, _PART_BYTES // row_bytes // _PANEL_ROWS) * _PANEL_ROWS
    for first_row in range(0, tensor.shape[0], step):
        source = tensor.take_rows(slice(first_row, first_row + step))
        yield _Part(first_row, source.encoded_as("F32") if is_decoded else source, source)


def _batches(parts: Iterable[_Part]) -> Iterator[list[_Part]]:
    """Collect parts until those that do not lie in the file have `_COPIED_BYTES`, or the first ones `_AHEAD_BYTES`."""
    batch: list[_Part] = []
    copied, all_bytes, limit = 0, 0, float(_AHEAD_BYTES)
    for part in parts:
        batch.append(part)
        copied += 0 if part.is_mapped else part.rows.data.nbytes
        all_bytes += part.rows.data.nbytes
        if copied >= _COPIED_BYTES or all_bytes >= limit:
            yield batch
            batch, copied, limit = [], 0, math.inf
    if batch:
        yield batch


def _leave_memory(batch: Iterable[_Part]) -> None:
    """Release the pages of the files. Raises CheckpointError if one has changed, so that what was read may be wrong."""
    for source in {id(part.source.owner): part.source for part in batch}.values():
        source.require_unchanged()
        source.leave_memory()


def _run(packing: core.Packing, batch: Iterable[_Part]) -> bool:
    """Pack for a while, with all threads; return True if everything is packed."""
    try:
        return packing.run(_SECONDS_BETWEEN)
    except OverflowError as error:
        name, _, problem = str(error).partition(" ")
        place = f"tensor {name}"
        for part in batch:
            part.source.require_unchanged()
            if part.source.name == name:
                place = part.source.place
        is_damaged = problem.startswith("has blocks")  # whose numbers no other format would have either
        advice = "the file is damaged" if is_damaged else "load the model with weights f32 or bf16"
        raise CheckpointError(f"{place} {problem}; {advice}") from None

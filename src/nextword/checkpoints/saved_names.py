"""Tensors as training programs left them: wrapped, with other heads or further layers, in 64-bit floats."""

from __future__ import annotations

import fnmatch
import re
import warnings
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from nextword.errors import CheckpointError
from nextword.models.stored_tensor import FLOAT_DTYPES, StoredTensor

_WRAPPERS = ("_orig_mod.", "module.")
"""Prefixes that torch.compile and DistributedDataParallel put before the names of a model they wrap."""
_OTHER_HEADS = ("v_head.*", "value_head.*", "score.*", "classifier.*")
"""Patterns of the heads that reward models, PPO and classifiers add to a language model."""


def plain_tensors(
    stored: Mapping[str, StoredTensor], *, ignored: Sequence[str], source: str
) -> dict[str, StoredTensor]:
    """Return the tensors by the names that the model itself gives them, without those that are `ignored` (patterns).

    Heads of other tasks are left out with a warning. Raises CheckpointError for values of a type that is not read.
    """
    tensors: dict[str, StoredTensor] = {}
    heads = []
    for name, tensor in _unwrapped(stored, source).items():
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in _OTHER_HEADS):
            heads.append(name)
        elif not any(fnmatch.fnmatchcase(name, pattern) for pattern in ignored):
            tensors[name] = _readable(tensor.renamed(name), source)
    if heads:
        warnings.warn(f"{source}: {', '.join(heads[:3])}: a head of another task, left out", stacklevel=4)
    return tensors


def without_further_layers(
    tensors: Mapping[str, StoredTensor], stems: Collection[str], num_layers: int, *, source: str
) -> dict[str, StoredTensor]:
    """Return the tensors of the first layers, and those of none: further ones are left out with a warning.

    `stems`: what stands before the number of a layer. transformers leaves them out, too: of models that were cut short,
    and layers that predict several tokens at once.
    """
    numbered = re.compile(f"(?:{'|'.join(map(re.escape, stems))})([0-9]{{1,9}})\\.")
    layers = {name: int(found[1]) for name in tensors if (found := numbered.match(name))}
    further = [name for name, layer in layers.items() if layer >= num_layers]
    if further:
        more = f" and {len(further) - 1} more" if len(further) > 1 else ""
        warnings.warn(
            f"{source}: {further[0]}{more}: of layers beyond the {num_layers} of config.json, left out", stacklevel=4
        )
    return {name: tensor for name, tensor in tensors.items() if layers.get(name, 0) < num_layers}


def _unwrapped(stored: Mapping[str, StoredTensor], source: str) -> Mapping[str, StoredTensor]:
    """Take the prefixes of wrappers off all names, wherever they stand; "module." only if every name begins with it."""
    compiled, parallel = _WRAPPERS
    names = {name: name.replace(compiled, "") for name in stored}
    while names and all(name.startswith(parallel) for name in names.values()):
        names = {name: plain.removeprefix(parallel) for name, plain in names.items()}
    if len(set(names.values())) < len(names):
        raise CheckpointError(f"{source}: holds a weight twice, with {compiled} in its name and without; save it again")
    return {names[name]: tensor for name, tensor in stored.items()}


def _readable(tensor: StoredTensor, source: str) -> StoredTensor:
    if tensor.dtype == "F64":
        values = tensor.data.view("<f8").reshape(tensor.shape)
        with np.errstate(over="ignore"):
            rounded = values.astype(np.float32)
        if np.any(np.isinf(rounded) & np.isfinite(values)):
            raise CheckpointError(f"{source}: tensor {tensor.name}: has values beyond the range of F32")
        tensor.require_unchanged()
        return StoredTensor(tensor.name, "F32", tensor.shape, rounded)
    if tensor.dtype not in FLOAT_DTYPES:
        raise CheckpointError(
            f"{source}: tensor {tensor.name} is {tensor.dtype}; weights are read as F64, F32, F16 or BF16: "
            "save the model in one of these"
        )
    return tensor

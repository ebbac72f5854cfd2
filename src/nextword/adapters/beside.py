"""`open_beside`: adapters that share one copy of a base model's weights, each chosen by request.

They are not merged: a backend computes `LinearChange` after the products of the base, which may stay quantised.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from nextword.adapters.adapted_weights import adapted_weights
from nextword.adapters.folder import open_adapter_for
from nextword.adapters.open import adapter_folder, is_prompt
from nextword.checkpoints.model_directory import ModelDirectory
from nextword.errors import CheckpointError
from nextword.models.linear_change import Changes

_DENSE = ("LOHA", "LOKR")
_ALONE = "load it alone, as adapter"


def open_beside(directory: ModelDirectory, adapters: Mapping[str, str | Path]) -> dict[str, Changes]:
    """Open adapters by name for one model; values are read by `LinearChange`'s makers.

    Raises CheckpointError for one that does not fit the model, and for one that changes more than linear layers by
    numbers of its own: it replaces weights, or its update has full rank.
    """
    if adapters and (directory.adapter is not None or directory.num_virtual_tokens):
        raise CheckpointError(f"{directory.path}: has an adapter already; name the base model of all adapters")
    return {name: _open(directory, adapter_folder(str(folder))) for name, folder in adapters.items()}


def _open(directory: ModelDirectory, folder: Path) -> Changes:
    if is_prompt(folder):
        raise CheckpointError(f"{folder}: a trained prompt cannot share a base with other adapters; {_ALONE}")
    adapter = open_adapter_for(directory.config, folder)
    if adapter.settings.kind in _DENSE:
        raise CheckpointError(
            f"{folder}: peft_type {adapter.settings.kind} has updates as large as the base's weights; {_ALONE}"
        )
    adapted = adapted_weights(directory.config, directory.tensors, adapter)
    if adapted.replaced:
        raise CheckpointError(
            f"{folder}: replaces {', '.join(adapted.replaced[:3])} of the base (modules_to_save, bias, trained tokens "
            f"or a grown vocabulary), which its other adapters use; {_ALONE}"
        )
    for module in adapted.scaled_inputs:
        if not module.endswith(".down_proj"):
            raise CheckpointError(
                f"{folder}: feedforward_modules has {module}; beside other adapters only down_proj can be; {_ALONE}"
            )
    return adapted.changes

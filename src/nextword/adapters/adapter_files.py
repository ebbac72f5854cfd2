"""The two files of an adapter folder in the format of the peft library, for all kinds of adapters."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nextword.atomic_file import write_atomically
from nextword.checkpoints.safetensors_file import open_safetensors, write_safetensors
from nextword.errors import CheckpointError, os_reason
from nextword.models.families.fields import ConfigFields
from nextword.models.stored_tensor import StoredTensor

CONFIG_NAME = "adapter_config.json"
WEIGHTS_NAME = "adapter_model.safetensors"


def write_adapter(
    folder: Path, settings: Mapping[str, object], tensors: Mapping[str, npt.NDArray[np.float32]], *, base: str | None
) -> None:
    """Write settings and tensors; `base`: name of the base model. Raises CheckpointError if writing fails."""
    stored = {name: StoredTensor(name, "F32", values.shape, values) for name, values in tensors.items()}
    common = {"base_model_name_or_path": base, "task_type": "CAUSAL_LM", "inference_mode": True}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        shapes = {name: tensor.shape for name, tensor in stored.items()}
        write_safetensors(folder / WEIGHTS_NAME, stored, shapes=shapes, dtype="F32")
        with write_atomically(folder / CONFIG_NAME) as out:
            out.write((json.dumps({**common, **settings}, indent=2) + "\n").encode())
    except OSError as error:
        raise CheckpointError(f"{folder}: cannot be written: {os_reason(error)}") from None


def open_weights(folder: Path) -> dict[str, StoredTensor]:
    """Map the tensors of an adapter folder. Raises CheckpointError if they are missing, damaged, or a pickle."""
    path = folder / WEIGHTS_NAME
    if not path.exists() and (folder / "adapter_model.bin").exists():
        raise CheckpointError(
            f"{folder / 'adapter_model.bin'}: a pickle, which can run any code and is not read; "
            f"save the adapter as {WEIGHTS_NAME}"
        )
    return open_safetensors(path)


def base_name(fields: ConfigFields) -> str | None:
    """Read the name of the base model; None if there is none. Raises CheckpointError if it is no string."""
    value = fields.content.get("base_model_name_or_path")
    if value is not None and not isinstance(value, str):
        fields.refuse("base_model_name_or_path", "a text")
    return value or None

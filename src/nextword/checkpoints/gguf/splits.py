"""`read_gguf_parts`: read a GGUF file, or all parts of a model that was split into several, as one `GGUFFile`.

Parts are named `STEM-00001-of-00003.gguf` and so on. The first has the metadata, each has some of the tensors.
"""

from __future__ import annotations

import re
from pathlib import Path

from nextword.checkpoints.gguf.metadata import GGUFMetadata
from nextword.checkpoints.gguf.reader import GGUFFile, read_gguf
from nextword.errors import CheckpointError
from nextword.models.stored_tensor import StoredTensor

_NAME = re.compile(r"(?P<stem>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf", re.DOTALL)
_MAX_PARTS = 99_999


def read_gguf_parts(path: Path) -> GGUFFile:
    """Read a file; if it is one part of a model, whichever, read all of them.

    Raises CheckpointError as `read_gguf`, and naming the part that is missing or belongs to another model.
    """
    file = read_gguf(path)
    count = _number(file, path, "count", default=1)
    if count <= 1:
        return file
    paths = _part_paths(path, count)
    parts = [file if part == path else read_gguf(part) for part in paths]
    for number, (part, part_path) in enumerate(zip(parts, paths, strict=True)):
        found = _number(part, part_path, "no"), _number(part, part_path, "count")
        if found != (number, count):
            raise CheckpointError(
                f"{part_path}: is part {found[0] + 1} of {found[1]} by its metadata; expected part {number + 1} of "
                f"{count}: it belongs to another model or was renamed"
            )
    return GGUFFile(parts[0].metadata, _joined(parts, paths), sum(part.size_bytes for part in parts))


def _number(file: GGUFFile, path: Path, name: str, default: int | None = None) -> int:
    return GGUFMetadata(file.metadata, path).integer(f"split.{name}", default)


def _part_paths(path: Path, count: int) -> list[Path]:
    """Return the paths of all parts, beside the given one. Raises CheckpointError if some do not exist."""
    name = _NAME.fullmatch(path.name)
    if name is None or int(name["count"]) != count or count > _MAX_PARTS:
        raise CheckpointError(
            f"{path}: is one of {count} parts of a model; to find the others it must be named STEM-00001-of-{count:05d}"
            ".gguf, as when it was published"
        )
    paths = [path.with_name(f"{name['stem']}-{number:05d}-of-{count:05d}.gguf") for number in range(1, count + 1)]
    missing = [part.name for part in paths if not part.exists()]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise CheckpointError(
            f"{path}: is one of {count} parts of a model; missing beside it: {', '.join(missing[:3])}{more}"
        )
    return paths


def _joined(parts: list[GGUFFile], paths: list[Path]) -> dict[str, StoredTensor]:
    """Return the tensors of all parts. Raises CheckpointError if one appears twice, or not all are there."""
    tensors: dict[str, StoredTensor] = {}
    for part, path in zip(parts, paths, strict=True):
        for name, tensor in part.tensors.items():
            if name in tensors:
                raise CheckpointError(f"{path}: tensor {name!r} is in another part, too")
            tensors[name] = tensor
    expected = _number(parts[0], paths[0], "tensors.count", default=len(tensors))
    if len(tensors) != expected:
        raise CheckpointError(
            f"{paths[0]}: split.tensors.count is {expected}, the parts hold {len(tensors)} tensors; fetch them again"
        )
    return tensors

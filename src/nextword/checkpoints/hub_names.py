"""Names of models on the Hugging Face Hub: a repository, one GGUF file in it, or one quantization; and a revision.

hf:owner/name                     safetensors, with config and tokenizer
hf:owner/name:Q4_K_M              the GGUF file of that quantization, all its parts
hf:owner/name/folder/file.gguf    that GGUF file, all its parts
hf:owner/name@revision...         any of these at a branch, tag or commit: hf:owner/name@v1.1:Q8_0
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from nextword.errors import CheckpointError

PREFIX = "hf:"
CACHED = "models--"
"""Beginning of the name of a repository's folder in the cache."""
MAIN = "main"
"""Branch that a name without a revision means."""

_PART = r"[A-Za-z0-9_](?:[A-Za-z0-9_]|[.-](?![.-]))*"
"""Pattern of an owner or a name: letters, digits, underscores, single dots and hyphens; no path leads elsewhere."""
_REVISION = rf"{_PART}(?:/{_PART})*"
_GGUF = r"(?:\w[\w.+-]*/)*\w[\w.+-]*\.gguf"
_QUANTIZATION = r"(?i:(?:UD-)?(?:I?Q|TQ|B?F|MXFP|NVFP)\d\w*)"
"""Pattern of a quantization, such as Q4_K_M, IQ4_XS, F16."""
_NAME = (
    rf"(?P<repository>{_PART}/{_PART})(?:@(?P<revision>{_REVISION}?))?"
    rf"(?:/(?P<file>{_GGUF})|:(?P<quantization>{_QUANTIZATION}))?"
)
"""Compiled when it is used: opening a file of one's own does not wait for it."""
_SPLIT = re.compile(r"-(?P<number>\d{5})-of-(?P<count>\d{5})(?=\.gguf$)")


class HubName(NamedTuple):
    """Name of a repository of the Hub, or of one GGUF model in it, at a revision."""

    repository: str
    """Owner and name, with a slash between them."""
    file: str | None = None
    """Path of a GGUF file in the repository."""
    quantization: str | None = None
    """Quantization of a GGUF file, such as Q4_K_M; its name ends with it."""
    revision: str = MAIN
    """Branch, tag or commit."""

    def __str__(self) -> str:
        revision = "" if self.revision == MAIN else f"@{self.revision}"
        file = f"/{self.file}" if self.file else f":{self.quantization}" if self.quantization else ""
        return PREFIX + self.repository + revision + file

    @property
    def is_gguf(self) -> bool:
        """True if it names a GGUF model, not a folder of safetensors."""
        return bool(self.file or self.quantization)

    @property
    def cache_folder_name(self) -> str:
        """Name of the repository's folder in the cache."""
        return f"{CACHED}{self.repository.replace('/', '--')}"

    def at(self, revision: str) -> HubName:
        """Return the name at a revision. Raises CheckpointError for what is none, or if it names another already."""
        if self.revision not in (MAIN, revision):
            raise CheckpointError(f"{self}: names the revision {self.revision!r}, not {revision!r}: give one of them")
        if not re.fullmatch(_REVISION, revision, re.ASCII):
            raise CheckpointError(f"revision {revision!r}: must be a branch, tag or commit such as main")
        return self._replace(revision=revision)

    def gguf_files(self, files: Iterable[str]) -> list[str]:
        """Select from the paths of a repository those of the named GGUF model, all parts of a split one, in order.

        Returns [] if there are none. Raises CheckpointError if several models have the quantization.
        """
        models = gguf_models(files)
        if self.file:
            return next((parts for parts in models if self.file in parts), [])
        found = [parts for parts in models if self.quantization and _has_quantization(parts[0], self.quantization)]
        if len(found) > 1:
            names = ", ".join(parts[0] for parts in found)
            raise CheckpointError(f"{self}: several files have this quantization: name one of {names}")
        return found[0] if found else []


def parse_hub_name(name: str) -> HubName:
    """Parse a name as the head of this module describes it. Raises CheckpointError for anything else."""
    match = re.fullmatch(_NAME, name.removeprefix(PREFIX), re.ASCII)
    if match is None:
        raise CheckpointError(
            f"{name!r} names no model of the Hub: write hf:owner/name, hf:owner/name:Q4_K_M "
            "or hf:owner/name/file.gguf, with @revision after the name if you want one"
        )
    return HubName(
        match["repository"], file=match["file"], quantization=match["quantization"], revision=match["revision"] or MAIN
    )


def gguf_models(files: Iterable[str]) -> list[list[str]]:
    """Group the paths of GGUF files by model, in order: parts of a split one together, no multimodal projectors."""
    groups: dict[tuple[str, str], list[str]] = {}
    for file in sorted(file for file in files if re.fullmatch(_GGUF, file, re.ASCII)):
        if file.rpartition("/")[2].startswith("mmproj"):
            continue
        split = _SPLIT.search(file)
        groups.setdefault((_SPLIT.sub("", file), split["count"] if split else ""), []).append(file)
    return list(groups.values())


def is_complete(parts: list[str]) -> bool:
    """Return True if the paths of a GGUF model are all parts that their names speak of."""
    split = _SPLIT.search(parts[0])
    return split is None or [int(_SPLIT.search(part)["number"]) for part in parts] == [  # type: ignore[index]
        *range(1, int(split["count"]) + 1)
    ]


def _has_quantization(file: str, quantization: str) -> bool:
    """True if a file's name ends with a quantization, in capitals or not: x-Q4_K_M.gguf, x.q4_k_m.gguf."""
    stem = _SPLIT.sub("", file).removesuffix(".gguf").rpartition("/")[2]
    return re.search(rf"(?:^|[._-]){re.escape(quantization)}$", stem, re.IGNORECASE) is not None

"""Archives of other projects' sources from pip's package index, at pinned versions, unpacked in `build/`."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tarfile
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

FOLDER = Path(__file__).parents[1] / "build" / "peers"
_TIMEOUT_SECONDS = 60


@dataclass(frozen=True)
class Archive:
    """A source archive of the package index."""

    package: str
    version: str
    sha256: str

    @property
    def stem(self) -> str:
        """Name of the folder that the archive holds."""
        return f"{self.package.replace('-', '_')}-{self.version}"


OPENAI = Archive("openai", "3.57.0", "5a0a89d6a542efc85e2a8cec701ca9265b795d578c777828e10fafdf80e333b6")
LLAMA_CPP = Archive("llama-cpp-python", "0.3.36", "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e")
VLLM = Archive("vllm", "0.33.0", "f4c33c2503d52bb411146afa9618a4f48bed68912f617e6803ac8d76e4c74112")


def fetched(archive: Archive) -> Path:
    """Return the path of the archive; fetch it unless it is there.

    Raises OSError where the index cannot be reached, or has another file than the pinned one.
    """
    path = FOLDER / f"{archive.stem}.tar.gz"
    if not path.exists():
        content = _download(archive)
        if hashlib.sha256(content).hexdigest() != archive.sha256:
            raise OSError(f"{path.name}: the package index has other bytes than those of the pinned version")
        FOLDER.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}")
        partial.write_bytes(content)
        partial.rename(path)
    return path


def unpacked(
    archive: Archive,
    folder: str,
    named: Callable[[str], str | None],
    edited: Callable[[str, bytes], bytes] = lambda name, content: content,
) -> Path:
    """Return a folder with those files of the archive that have a name there; unpack them unless it is there.

    `named` gets the path of a member without its first folder; `edited` its new name and its bytes.
    """
    target = FOLDER / folder
    if target.exists():
        return target
    partial = FOLDER / f"{folder}.{os.getpid()}"
    with tarfile.open(fetched(archive)) as members:
        for member in members:
            name = named(str(PurePosixPath(*PurePosixPath(member.name).parts[1:])))
            content = members.extractfile(member) if name else None
            if content is not None and name:
                path = (partial / name).resolve()
                if partial.resolve() not in path.parents:
                    raise OSError(f"{archive.stem}: holds a path outside of its folder")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(edited(name, content.read()))
    partial.rename(target)
    return target


def _download(archive: Archive) -> bytes:
    page = f"{_index_url().rstrip('/')}/{archive.package}/"
    name = f"{archive.stem}.tar.gz"
    with urllib.request.urlopen(page, timeout=_TIMEOUT_SECONDS) as response:
        link = re.search(rf'href="([^"]*{re.escape(name)}[^"]*)"', response.read().decode())
    if link is None:
        raise OSError(f"the package index has no {name}")
    with urllib.request.urlopen(urllib.parse.urljoin(page, link[1]), timeout=_TIMEOUT_SECONDS) as response:
        content: bytes = response.read()
    return content


def _index_url() -> str:
    """The index that pip is configured to use."""
    if "PIP_INDEX_URL" in os.environ:
        return os.environ["PIP_INDEX_URL"]
    asked = [sys.executable, "-m", "pip", "config", "get", "global.index-url"]
    configured = subprocess.run(asked, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS).stdout.strip()
    if configured:
        return configured
    default = "from pip._internal.models.index import PyPI; print(PyPI.simple_url)"
    return subprocess.run(
        [sys.executable, "-c", default], capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=True
    ).stdout.strip()

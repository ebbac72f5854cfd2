"""The vocabularies and templates that llama.cpp is tested on, from the published llama-cpp-python.

Nothing of them is part of this project: they are fetched from pip's own package index when a test asks for them, and
kept in `build/`.
"""

from __future__ import annotations

import functools
import re
import subprocess
from pathlib import Path

import pytest
from acceptance.sources import LLAMA_CPP, unpacked

_VOCABULARY = re.compile(r".*/llama\.cpp/models/(ggml-vocab-[\w.-]+)")
_TEMPLATE = re.compile(r".*/llama\.cpp/(?:models/templates|src)/([^/]+\.jinja|llama-vocab\.cpp)")


@functools.cache
def vocabularies() -> Path:
    """The folder with `ggml-vocab-*.gguf`, their `.inp` and `.out`; skips the test without a package index."""
    return _unpacked("vocabularies", _VOCABULARY)


@functools.cache
def templates() -> Path:
    """The folder with the chat templates, `*.jinja`, and `llama-vocab.cpp`; skips the test without a package index."""
    return _unpacked("templates", _TEMPLATE)


def _unpacked(folder: str, wanted: re.Pattern[str]) -> Path:
    def named(path: str) -> str | None:
        found = wanted.fullmatch(path)
        return found and found[1]

    try:
        return unpacked(LLAMA_CPP, folder, named)
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"the package index cannot be reached: {error}")

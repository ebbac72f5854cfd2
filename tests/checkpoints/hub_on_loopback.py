"""A Hub on this machine with one repository, for the real huggingface_hub in another process (HF_ENDPOINT)."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0123456789" * 4


class Hub(ThreadingHTTPServer):
    """Answer the requests that a download makes: the list of files, and each file's header and content."""

    def __init__(self, repository: str, files: dict[str, bytes], sent: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repository = repository
        self.files = files
        self.sent = sent
        """Content that is sent in place of a file's, under its hash."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        body = self._body(self.path.partition("?")[0])
        self.send_response(200 if body is not None else 404)
        self.send_header("Content-Length", str(len(body or b"")))
        self.send_header("Content-Type", "application/json")
        self.send_header("ETag", f'"{hashlib.sha256(body or b"").hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        if body is None:
            self.send_header("X-Error-Code", "RepoNotFound")
        self.end_headers()
        if with_body:
            self.wfile.write(self.server.sent.get(self.path.rpartition("/")[2], body or b""))

    def _body(self, path: str) -> bytes | None:
        """The answer to a path: of the API a list of files, else a file; None: no such thing."""
        repository, files = self.server.repository, self.server.files
        if path.startswith(f"/api/models/{repository}/tree/"):
            return json.dumps(
                [
                    {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                    for name, content in files.items()
                ]
            ).encode()
        if path.startswith(f"/api/models/{repository}"):
            siblings = [{"rfilename": name} for name in files]
            return json.dumps({"id": repository, "sha": COMMIT, "siblings": siblings}).encode()
        return files.get(path.removeprefix(f"/{repository}/resolve/{COMMIT}/"))

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def hub_on_loopback(repository: str, files: dict[str, bytes], *, sent: dict[str, bytes] | None = None) -> Iterator[Hub]:
    """Serve a repository, its files by name, until the block ends; `sent`: other content of the same length."""
    with Hub(repository, files, sent or {}) as hub:
        thread = threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield hub
        finally:
            hub.shutdown()
            thread.join()

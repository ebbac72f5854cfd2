"""A socket of the tests: bytes out, bytes in, for requests that no client would send."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator, Mapping

from tests.serving.client import Client


@contextlib.contextmanager
def connected(client: Client, *, timeout: float = 20.0) -> Iterator[socket.socket]:
    """Open a connection to the server."""
    host, _, port = client.address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=timeout) as opened:
        yield opened


def request(method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> bytes:
    """Return a request's bytes; its Host is the loopback address unless it is given."""
    lines = {"Host": "127.0.0.1", "Content-Length": str(len(body)), **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body


def exchange(client: Client, data: bytes) -> bytes:
    """Send bytes on a new connection; return all that comes until the server closes it."""
    with connected(client) as opened:
        opened.sendall(data)
        return read_all(opened)


def read_all(opened: socket.socket) -> bytes:
    """Read until the server closes the connection."""
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while part := opened.recv(65_536):
            found += part
    return found

"""Servers as processes of their own: `nextword serve`, and llama.cpp's server from the package xllamacpp."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from typing import Any

_START_SECONDS = 120.0
_END_SECONDS = 40.0


class ServerProcess:
    """A server that listens on a port of this machine."""

    def __init__(self, command: Sequence[str], port: int) -> None:
        """Start it, and wait until it answers. Raises RuntimeError if it ends before."""
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + _START_SECONDS
        while not self._is_healthy():
            if self.process.poll() is not None or time.monotonic() > end:
                self.stop()
                raise RuntimeError(f"{' '.join(command)}: did not start")
            time.sleep(0.02)

    def _is_healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=5) as response:
                return bool(response.status == 200)
        except OSError:
            return False

    def stop(self) -> None:
        """End it, as a system does: by SIGTERM."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def nextword_command(model: str, port: int, *options: str) -> list[str]:
    """Return the command that serves a model, with the fault that a suite is to find, if any."""
    drain = () if "--drain" in options else ("--drain", "1")
    fault = os.environ.get("ACCEPTANCE_FAULT")
    command = ["acceptance.faults", fault] if fault else ["nextword"]
    return [sys.executable, "-m", *command, "serve", model, "--port", str(port), *drain, *options]


def peer_command(model: str, port: int, **settings: Any) -> list[str]:
    """Return the command that serves a model by llama.cpp's own server."""
    given = json.dumps({"model": model, "port": port, **settings})
    return [sys.executable, "-m", "acceptance.llama_cpp_peer", given]


class Servers:
    """The last few servers, by how they were started: what one test did to a server may change nothing for the next."""

    def __init__(self, most: int = 3) -> None:
        self._most = most
        self._running: dict[tuple[str, ...], ServerProcess] = {}

    def nextword(self, model: str, *options: str) -> ServerProcess:
        """Return a server of ours."""
        key = (model, *options)
        if key not in self._running:
            while len(self._running) >= self._most:
                self._running.pop(next(iter(self._running))).stop()
            port = free_port()
            self._running[key] = ServerProcess(nextword_command(model, port, *options), port)
        return self._running[key]

    def stop(self) -> None:
        """End them all."""
        for server in self._running.values():
            server.stop()


def is_peer() -> bool:
    """Return True where the suite is held against llama.cpp's server, to see that it tests something."""
    return os.environ.get("ACCEPTANCE_SERVER") == "xllamacpp"

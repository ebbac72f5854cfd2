"""SIGTERM to a real process, in every state: it ends soon, and whoever waits for an answer is told."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from tests.api_model import load_bytes_model
from tests.serving.client import Client
from tests.serving.raw import connected, read_all, request

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
PATH = "/v1/completions"
LONG = {"prompt": "ab", "max_tokens": 20_000, "logit_bias": {"256": -1000}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("signals") / "tiny"
    load_bytes_model(path)
    return path


@contextlib.contextmanager
def running(
    folder: Path, state: str, stderr: IO[str] | int = subprocess.PIPE
) -> Iterator[tuple[subprocess.Popen[str], Client]]:
    command = [sys.executable, "-m", "tests.serving.slow_process", str(folder), state]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True, cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            yield process, Client(f"http://127.0.0.1:{process.stdout.readline().strip()}")
        finally:
            process.kill()


def end(process: subprocess.Popen[str], *, within: float, by: signal.Signals = signal.SIGTERM) -> None:
    """Send a signal: the process ends in time, without a traceback."""
    begin = time.monotonic()
    process.send_signal(by)
    assert process.wait(30) in (0, -by)
    assert time.monotonic() - begin < within
    assert process.stderr is not None
    assert "Traceback" not in process.stderr.read()


def posted(body: dict[str, Any]) -> bytes:
    headers = {"Content-Type": "application/json", "Connection": "close"}
    return request("POST", PATH, headers, json.dumps(body).encode())


def test_idle(folder: Path) -> None:
    with running(folder, "idle") as (process, client):
        assert client.get("/health").status == 200
        end(process, within=3)


def test_loading(folder: Path) -> None:
    with running(folder, "loading") as (process, client):
        for path in ("/health", "/v1/models"):
            answer = client.get(path)
            assert (answer.status, answer.error["code"]) == (503, "model_loading")
            assert int(answer.headers["retry-after"]) > 0
        assert client.post(PATH, LONG).status == 503
        end(process, within=3)


@pytest.mark.parametrize("state", ["prefill", "streaming"])
def test_with_one_request_that_runs_one_that_waits_and_half_of_one(folder: Path, state: str) -> None:
    with running(folder, state) as (process, client), contextlib.ExitStack() as stack:
        runs, waits, half = (stack.enter_context(connected(client)) for _ in range(3))
        prompt = [1] * 25_000 if state == "prefill" else "ab"
        runs.sendall(posted({**LONG, "prompt": prompt, "max_tokens": 1000, "stream": state == "streaming"}))
        time.sleep(0.2)
        waits.sendall(posted(LONG))
        half.sendall(posted(LONG)[:-10])
        time.sleep(0.3)
        end(process, within=6)
        first, second, third = (read_all(one) for one in (runs, waits, half))
    assert second.startswith(b"HTTP/1.1 503")
    assert b'"shutting_down"' in second
    assert third.startswith(b"HTTP/1.1 503")
    assert first.startswith(b"HTTP/1.1 200" if state == "streaming" else b"HTTP/1.1 503")
    assert b'"code":"shutting_down"' in first
    assert (b"data: [DONE]" in first) == (state == "streaming")


def test_with_a_reader_that_does_not_read_and_a_score_that_is_computed(folder: Path) -> None:
    with running(folder, "streaming") as (process, client), connected(client) as reader, connected(client) as scorer:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.sendall(posted({**LONG, "stream": True, "logprobs": 20}))
        body = json.dumps({"prompt": [1] * 25_000, "continuations": [[1]]}).encode()
        scorer.sendall(request("POST", "/v1/score", {"Content-Type": "application/json"}, body))
        time.sleep(0.5)
        end(process, within=15)
        assert read_all(scorer)[9:12] in (b"200", b"503")


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_it_at_once(folder: Path, by: signal.Signals) -> None:
    """Whoever reads is told; one who does not read holds nothing up."""
    with running(folder, "long-drain") as (process, client), connected(client) as opened, connected(client) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        other.sendall(posted({**LONG, "stream": True, "logprobs": 20}))
        opened.sendall(posted({**LONG, "stream": True}))
        assert opened.recv(20)
        process.send_signal(by)
        time.sleep(0.5)
        assert process.poll() is None
        end(process, within=6, by=by)
        assert b'"code":"shutting_down"' in read_all(opened)


def test_a_log_that_cannot_be_written_ends_no_request(folder: Path) -> None:
    with Path("/dev/full").open("w") as full, running(folder, "idle", stderr=full) as (process, client):
        for _ in range(3):
            assert client.post(PATH, {"prompt": "ab", "max_tokens": 2}).status == 200
            assert client.post(PATH, {"n": 0}).status == 400
        assert process.poll() is None

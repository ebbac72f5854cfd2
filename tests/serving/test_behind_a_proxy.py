"""What docs/serving.md says of running the server as a service: systemd reads the unit, nginx passes streams on."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from acceptance.servers import free_port

import nextword as nw
from nextword.inference.engine import Engine
from nextword.serving.security import Access
from nextword.serving.server import ServerThread
from nextword.serving.service import Service
from tests.serving.client import Client
from tests.serving.faults import FaultyBackend, wait_until

PAGE = Path(__file__).parents[2] / "docs" / "serving.md"
NAME = "model.example.org"


def block(first_words: str) -> str:
    """Return the indented block of the page that begins with these words."""
    blocks = re.findall(r"(?:^ {4}.*\n|^\n(?= {4}))+", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    (found,) = (one for one in blocks if one.strip().startswith(first_words))
    return re.sub(r"^ {4}", "", found, flags=re.MULTILINE)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_reads_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "nextword.service"
    command = shutil.which("true") or "/bin/true"
    unit.write_text(block("[Unit]").replace("/opt/nextword/bin/nextword", command))
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, str(unit) in done.stderr) == (0, False), done.stderr


@contextlib.contextmanager
def nginx_before(server: str, folder: Path) -> Iterator[int]:
    """Run nginx with the page's settings in front of a server; yield its port."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None:
        pytest.skip("nginx is not installed")
    port = free_port()
    location = block("location /").replace("127.0.0.1:8080", server)
    paths = "".join(
        f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log; events {{}} "
        f"http {{ access_log off; {paths} server {{ listen 127.0.0.1:{port}; server_name {NAME}; {location} }} }}"
    )
    command = [program, "-e", f"{folder}/error.log", "-c", f"{folder}/nginx.conf", "-p", str(folder)]
    process = subprocess.Popen(command)
    try:
        yield port
    finally:
        process.terminate()
        process.wait(20)


def test_nginx_passes_each_token_on_at_once(lm: nw.LanguageModel, tmp_path: Path) -> None:
    faulty = nw.LanguageModel(lm.directory, Engine(FaultyBackend(delay=0.02), lm.tokenizer), name="faulty")
    service = Service(faulty)
    body = json.dumps({"prompt": "ab", "max_tokens": 400, "stream": True, "ignore_eos": True})
    access = Access(allowed_hosts=(NAME,))
    with ServerThread(service, access) as server, nginx_before(Client(server.url).address, tmp_path) as port:
        wait_until(lambda: not refuses(port))
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("POST", "/v1/completions", body, {"Host": NAME, "Content-Type": "application/json"})
        response = connection.getresponse()
        assert (response.status, response.getheader("content-type")) == (200, "text/event-stream; charset=utf-8")
        assert response.readline().startswith(b"data: ")
        (job,) = service.jobs  # the first token is here, and the last is not computed
        assert 0 < len(job.requests[0].sequences[0].tokens) < 400
        connection.close()
        wait_until(lambda: not service.jobs)  # the client's end reaches the server, too


def refuses(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0

"""`open_lab` and `nextword lab`: what is opened, and one line for what cannot be."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import nextword as nw
from nextword.serving.service import Service
from tests.api_model import load_bytes_model


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> tuple[list[Service], list[str]]:
    """The services that are served, for no time at all, and the pages that a browser is told to open."""
    services: list[Service] = []
    pages: list[str] = []

    def run(open_service: Callable[[], Service], bound: socket.socket, *others: Any, **routes: Any) -> None:
        with bound:
            services.append(open_service())
            others[1]()

    monkeypatch.setattr("nextword.serving.server.run", run)
    monkeypatch.setattr("nextword.lab.open_lab._open_page", pages.append)
    return services, pages


def test_the_page_is_opened_unless_it_shall_not(lm: nw.LanguageModel, opened: tuple[list[Service], list[str]]) -> None:
    _, pages = opened
    urls: list[str] = []
    nw.open_lab(lm, port=0, on_ready=urls.append)
    nw.open_lab(lm, port=0, on_ready=urls.append, no_browser=True)
    assert pages == urls[:1]
    assert all(url.startswith("http://127.0.0.1:") and url.endswith("/lab/") for url in urls)


def test_a_second_model_is_opened_as_the_first(
    lm: nw.LanguageModel, tmp_path: Path, opened: tuple[list[Service], list[str]]
) -> None:
    load_bytes_model(tmp_path / "other")
    nw.open_lab(tmp_path / "other", compare=lm, port=0, weights="q8", no_browser=True)
    nw.open_lab(lm.directory.path, compare=tmp_path / "other", port=0, weights="q8", no_browser=True)
    kinds = [
        [f"{one.model} {'Q8' if 'q8' in repr(one.lm) else 'F32'}" for one in service.services] for service in opened[0]
    ]
    assert kinds == [["other Q8", "tiny F32"], ["tiny Q8", "other Q8"]]


def test_what_cannot_be_opened_is_said_in_one_line(lm: nw.LanguageModel, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(nw.RequestError, match=f"^port = {port}: cannot be opened on 127.0.0.1: .*in use$"):
            nw.open_lab(lm, port=port, no_browser=True)
    with pytest.raises(nw.RequestError, match=r"^compare: is the model itself; choose another one$"):
        nw.open_lab(lm, compare=lm, port=0, no_browser=True)
    for model, compare in ((tmp_path / "none", None), (lm, tmp_path / "none")):
        with pytest.raises(nw.NextwordError, match=r"^no model at .*none'"):
            nw.open_lab(model, compare=compare, port=0, no_browser=True)


def test_without_the_extra_the_command_says_how_to_install_it(lm: nw.LanguageModel) -> None:
    code = "import sys; sys.modules['uvicorn'] = None; from nextword.cli import main; main()"
    command = [sys.executable, "-c", code, "lab", str(lm.directory.path), "--no-browser"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == "nextword: uvicorn is not installed: pip install 'nextword[serve]'\n"

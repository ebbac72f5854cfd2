"""The lab of a model of bytes with random weights, and a client of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import nextword as nw
from nextword.lab.routes import lab_routes
from nextword.serving.server import ServerThread
from nextword.serving.service import Service
from tests.api_model import load_bytes_model
from tests.serving.client import Client


@pytest.fixture(scope="session")
def lm(tmp_path_factory: pytest.TempPathFactory) -> nw.LanguageModel:
    """The model that is looked at; it may be used in process at the same time."""
    return load_bytes_model(tmp_path_factory.mktemp("lab") / "tiny")


@pytest.fixture(scope="session")
def client(lm: nw.LanguageModel) -> Iterator[Client]:
    """A client of the running lab."""
    with ServerThread(Service(lm), routes=lab_routes()) as server:
        yield Client(server.url)

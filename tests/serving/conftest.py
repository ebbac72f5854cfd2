"""A served model of bytes with random weights, and a client of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import nextword as nw
from nextword.serving.server import ServerThread
from nextword.serving.service import Service
from tests.api_model import load_bytes_model
from tests.serving.client import Client


@pytest.fixture(scope="session")
def lm(tmp_path_factory: pytest.TempPathFactory) -> nw.LanguageModel:
    """The model that is served; it may be used in process at the same time."""
    return load_bytes_model(tmp_path_factory.mktemp("served") / "tiny")


@pytest.fixture(scope="session")
def service(lm: nw.LanguageModel) -> Service:
    """The service of that model."""
    return Service(lm)


@pytest.fixture(scope="session")
def client(service: Service) -> Iterator[Client]:
    """A client of a running server."""
    with ServerThread(service) as server:
        yield Client(server.url)


@pytest.fixture
def alive(client: Client) -> Iterator[Client]:
    """The client; after the test the server must still answer."""
    yield client
    assert client.complete("ab", max_tokens=2)["usage"]["completion_tokens"] >= 1

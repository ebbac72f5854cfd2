"""`/lab/summarize`: the summary of Python, the prompt it continues, and the scores of both."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

import nextword as nw
from nextword.lab.routes import lab_routes
from nextword.serving.server import ServerThread
from nextword.serving.service import Service
from tests.api_model import load_bytes_model
from tests.serving.client import Client

TEXT = "The river rose. It took the bridge."


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> nw.LanguageModel:
    """A model whose context has room for a summary."""
    folder = tmp_path_factory.mktemp("summarize") / "wide"
    load_bytes_model(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 1024}))
    return nw.load(folder)


@pytest.fixture(scope="module")
def client(wide: nw.LanguageModel) -> Iterator[Client]:
    with ServerThread(Service(wide), routes=lab_routes()) as server:
        yield Client(server.url)


def test_a_summary_is_that_of_python(client: Client, wide: nw.LanguageModel) -> None:
    expected = wide.summarize(TEXT, length="short")
    found = client.post("/lab/summarize", {"text": TEXT, "length": "short"}).json
    assert (found["text"], found["num_parts"]) == (expected.text, expected.num_parts)
    assert found["is_complete"] == expected.is_complete
    prompt, rows = found["token_ids"][: found["prompt_length"]], found["tokens"]
    assert [row["token_id"] for row in rows] == found["token_ids"]
    assert wide.tokenizer.decode(found["token_ids"][len(prompt) :]) == expected.text
    assert TEXT in wide.tokenizer.decode(prompt)
    read = client.post("/lab/read", {"token_ids": found["token_ids"]}).json["tokens"]
    assert rows == read

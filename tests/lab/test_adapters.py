"""Adapters in the lab: beside the model for whatever goes token by token, and merged, as a second model, for all."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("torch")

import nextword as nw
from nextword.lab.routes import lab_routes
from nextword.serving.server import ServerThread
from nextword.serving.service import Service
from tests.api_model import load_bytes_model
from tests.inference.test_adapters_beside import SPECS, save_adapter
from tests.serving.client import Client

TEXT = "abc def"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A lab of a model with an adapter beside it, and of the model with the same one merged."""
    folder = tmp_path_factory.mktemp("adapters")
    load_bytes_model(folder / "base")
    save_adapter(folder / "base", folder / "merged", SPECS["low"], 1)
    service = Service(nw.load(folder / "base", adapters={"beside": folder / "merged"}))
    service.serve_beside(nw.load(folder / "merged"))
    with ServerThread(service, routes=lab_routes()) as server:
        yield Client(server.url)


def test_an_adapter_reads_beside_the_model_as_it_does_merged(client: Client) -> None:
    assert client.get("/lab/info").json["models"] == ["base", "beside", "merged"]
    rows = {
        name: client.post("/lab/read", {"model": name, "text": TEXT}).json["tokens"]
        for name in ("base", "beside", "merged")
    }
    log_probs = {name: [row["log_prob"] for row in of_model[1:]] for name, of_model in rows.items()}
    assert log_probs["beside"] == pytest.approx(log_probs["merged"], abs=1e-4)
    assert log_probs["base"] != pytest.approx(log_probs["merged"], abs=1e-2)
    compared = client.post("/lab/compare", {"models": ["base", "beside"], "text": TEXT}).json
    assert [one["log_probs"] for one in compared["spans"][1:]] == [
        list(pair) for pair in zip(log_probs["base"], log_probs["beside"], strict=True)
    ]


@pytest.mark.parametrize(
    ("path", "body"), [("measure", {"text": TEXT}), ("inside", {"token_ids": [97, 98]}), ("summarize", {"text": TEXT})]
)
def test_what_the_model_alone_does_is_refused_for_an_adapter_beside_it(
    client: Client, path: str, body: dict[str, object]
) -> None:
    refused = client.post(f"/lab/{path}", {**body, "model": "beside"})
    assert (refused.status, refused.error["param"]) == (400, "model")
    assert refused.error["message"].endswith("; open the adapter's folder as the model, or as the one to --compare")
    if path != "summarize":  # the tiny model has no room for a summary
        assert client.post(f"/lab/{path}", {**body, "model": "merged"}).status == 200

"""`/lab/inside`: attention that sums to 1, and a last layer that says what the model says."""

from __future__ import annotations

from typing import Any

import pytest

import nextword as nw
from tests.serving.client import Client


def test_the_last_layer_is_the_model(client: Client, lm: nw.LanguageModel) -> None:
    pytest.importorskip("torch")
    token_ids = list(b"some text")
    found = client.post("/lab/inside", {"token_ids": token_ids, "position": 5}).json
    config = lm.directory.config
    assert (found["num_layers"], found["num_heads"]) == (config.num_layers, config.num_heads)
    for layer in found["attention"]:
        for head in layer:
            assert len(head) == 6
            assert sum(head) == pytest.approx(1.0, abs=1e-5)
    assert [one["layer"] for one in found["lens"]] == list(range(config.num_layers + 1))
    last = found["lens"][-1]
    assert last["rank_of_final"] == 1
    expected = lm.next("some t")
    for guess in last["top"]:
        assert guess["probability"] == pytest.approx(expected.probabilities()[guess["token_id"]], rel=1e-4)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "token_ids"),
        ({"token_ids": [1, 257]}, "token_ids"),
        ({"token_ids": [1, 2], "position": 2}, "position"),
        ({"token_ids": [1] * 300, "position": 64}, "position"),
        ({"token_ids": [1, 2], "layer": 0}, "layer"),
    ],
)
def test_a_bad_field_is_named(client: Client, body: dict[str, Any], param: str) -> None:
    answer = client.post("/lab/inside", body)
    assert (answer.status, answer.error["param"]) == (400, param), answer.body


def test_without_pytorch_it_is_refused_in_one_line(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    answer = client.post("/lab/inside", {"token_ids": [1]})
    assert answer.status == 400
    assert "PyTorch is not installed: pip install 'nextword[train]'" in answer.error["message"]
    assert client.get("/lab/info").json["can_look_inside"] is False

"""Training in the page's view: it learns, stops, goes on with the same bits, and leaves nothing behind."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import nextword as nw
from nextword.lab.routes import lab_routes
from nextword.serving.server import ServerThread
from nextword.serving.service import Service
from tests.serving.client import Client

pytest.importorskip("torch")


@pytest.fixture
def trainer(lm: nw.LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """A client of a lab whose temporary files lie in `tmp_path`."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with ServerThread(Service(lm), routes=lab_routes()) as server:
        yield Client(server.url)
    assert list(tmp_path.iterdir()) == []


def events(client: Client, *, until: int | None = None) -> list[dict[str, Any]]:
    """The events of the run, to its end or to a step."""
    connection = client.connect()
    found: list[dict[str, Any]] = []
    try:
        connection.request("GET", "/lab/training/events")
        response = connection.getresponse()
        while line := response.readline():
            if line.startswith(b"data: "):
                found.append(json.loads(line.removeprefix(b"data: ")))
                if until is not None and found[-1].get("step", -1) >= until:
                    break
    finally:
        connection.close()
    return found


def losses(found: list[dict[str, Any]]) -> dict[int, float]:
    """Loss by step."""
    return {one["step"]: one["loss"] for one in found if one["kind"] == "step"}


def test_a_tiny_model_learns_stops_and_goes_on(trainer: Client, lm: nw.LanguageModel) -> None:
    assert events(trainer) == []
    assert trainer.get("/lab/info").json["can_train"]
    assert trainer.post("/lab/training/stop", {}).status == 409
    assert trainer.post("/lab/training", {"steps": 60, "seed": 3}).json["state"] == "running"
    assert trainer.post("/lab/training", {}).status == 409
    begun = events(trainer, until=15)
    assert (begun[0]["kind"], begun[0]["num_steps"]) == ("begin", 60)
    assert (
        trainer.complete("abc", max_tokens=8, seed=1)["choices"][0]["text"]
        == lm.generate("abc", max_tokens=8, seed=1).text
    )
    assert trainer.post("/lab/training/stop", {}).json["state"] == "stopped"
    stopped = events(trainer)
    assert stopped[-1] == {"kind": "end", "state": "stopped"}
    assert trainer.post("/lab/training/continue", {}).json["state"] == "running"
    found = events(trainer)
    assert found[-1] == {"kind": "end", "state": "finished"}
    assert found[: len(stopped) - 1] == stopped[:-1]
    by_step = losses(found)
    assert list(by_step) == list(range(1, 61))
    assert by_step[60] < by_step[1] - 1.0
    assert [one["step"] for one in found if one["kind"] == "validation"] == [0, 50, 60]
    assert {one["step"] for one in found if one["kind"] == "sample"} >= {50, 60}
    assert trainer.post("/lab/training/continue", {}).status == 409


def test_the_end_of_the_server_ends_the_training(trainer: Client) -> None:
    text = "To be, or not to be, that is the question.\n" * 100
    trainer.post("/lab/training", {"text": text, "steps": 2000})
    watching = threading.Thread(target=lambda: events(trainer))
    watching.start()
    events(trainer, until=1)


def test_a_failure_is_told_in_one_line(trainer: Client) -> None:
    trainer.post("/lab/training", {"text": " " * 3000, "steps": 1})
    found = events(trainer)
    assert found[-1]["kind"] == "end"
    assert found[-1]["state"] in ("failed", "finished")
    assert "\n" not in found[-1].get("message", "")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"steps": 0}, "steps"),
        ({"steps": 2001}, "steps"),
        ({"seed": -1}, "seed"),
        ({"lr": 2}, "lr"),
        ({"text": "short"}, "text"),
        ({"text": "a" * 2_000_001}, "text"),
        ({"layers": 3}, "layers"),
    ],
)
def test_a_bad_field_is_named(client: Client, body: dict[str, Any], param: str) -> None:
    answer = client.post("/lab/training", body)
    assert (answer.status, answer.error["param"]) == (400, param), answer.body


def test_without_pytorch_it_is_refused_in_one_line(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    answer = client.post("/lab/training", {})
    assert answer.status == 400
    assert answer.error["message"] == "training needs PyTorch: pip install 'nextword[train]'"

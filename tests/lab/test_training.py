"""Training in the page's view: it learns, stops, goes on with the same bits, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import nextword as nw
from nextword.lab.routes import lab_routes
from nextword.lab.training_files import folder_prefix, remove_orphans
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


def test_orders_that_come_at_the_same_time_are_carried_out_or_refused(trainer: Client) -> None:
    statuses: list[int] = []

    def order(path: str, body: dict[str, Any]) -> None:
        statuses.append(trainer.post(path, body).status)

    orders = [("/lab/training", {"steps": 2000}), ("/lab/training/stop", {}), ("/lab/training/continue", {})]
    threads = [threading.Thread(target=order, args=one) for one in orders * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(statuses) <= {200, 409}
    assert statuses.count(200) >= 1


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_nothing_outlives_a_server_that_trains(lm: nw.LanguageModel, tmp_path: Path, number: int) -> None:
    code = "import nextword, sys; nextword.open_lab(sys.argv[1], port=0, no_browser=True, on_ready=print)"
    command = [sys.executable, "-u", "-c", code, str(lm.directory.path)]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as lab:
        assert lab.stdout is not None
        url = lab.stdout.readline().strip()
        client = Client(url.removesuffix("/lab/"))
        client.post("/lab/training", {"steps": 2000})
        events(client, until=1)
        (trainer,) = children(lab.pid)
        assert list(tmp_path.iterdir()) != []
        lab.send_signal(number)
        lab.wait(60)
    deadline = time.monotonic() + 60
    while list(tmp_path.iterdir()) or is_running(trainer):
        assert time.monotonic() < deadline, list(tmp_path.iterdir())
        time.sleep(0.05)


def children(process_id: int) -> list[int]:
    """Processes that a process has started."""
    return [int(one) for one in Path(f"/proc/{process_id}/task/{process_id}/children").read_text().split()]


def is_running(process_id: int) -> bool:
    """True until a process has ended, also if nobody has asked how."""
    stat = Path(f"/proc/{process_id}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def test_folders_of_servers_that_are_gone_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    kept = {folder_prefix(os.getpid()) + "abc", "nextword-lab-", "nextword-lab-x-abc", "other"}
    for name in (*kept, folder_prefix(ended.pid) + "abc"):
        (tmp_path / name).mkdir()
    remove_orphans()
    assert {path.name for path in tmp_path.iterdir()} == kept


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"steps": 0}, "steps"),
        ({"steps": 2001}, "steps"),
        ({"seed": -1}, "seed"),
        ({"lr": 2}, "lr"),
        ({"text": "short"}, "text"),
        ({"text": "a" * 2_000_001}, "text"),
        ({"text": "".join(map(chr, range(0x4E00, 0x4E00 + 8193)))}, "text"),
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

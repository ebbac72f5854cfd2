"""`/v1/requests`: what runs and waits is listed without its text, and can be ended from outside."""

from __future__ import annotations

import threading

import nextword as nw
from tests.serving.client import Answer
from tests.serving.faults import FaultyBackend, is_idle, serving, wait_until
from tests.serving.test_lifecycle import LONG, PATH


def test_requests_are_listed_and_cancelled(lm: nw.LanguageModel) -> None:
    backend = FaultyBackend(delay=0.005)
    with serving(lm, backend) as (service, client):
        found: dict[str, Answer] = {}

        def ask(name: str, n: int) -> None:
            found[name] = client.post(PATH, {**LONG, "n": n, "stream": name == "wait"}, x_request_id=name)

        threads = [threading.Thread(target=ask, args=pair) for pair in (("run", 16), ("wait", 2))]
        for thread in threads:
            thread.start()
            wait_until(lambda thread=thread: len(service.jobs) == threads.index(thread) + 1)  # type: ignore[misc]
        wait_until(lambda: len(backend.caches) == 16)
        answer = client.get("/v1/requests")
        first, second = answer.json["data"]
        assert (first["id"], first["num_running"], second["id"], second["num_waiting"]) == ("run", 1, "wait", 1)
        assert (first["prompt_tokens"], second["completion_tokens"]) == (2, 0)
        assert b"ab" not in answer.body
        for name in ("wait", "run"):
            assert client.send("DELETE", f"/v1/requests/{name}", None, {}).status == 200
        for thread in threads:
            thread.join()
        assert (found["run"].status, found["run"].error["code"]) == (503, "request_cancelled")
        assert found["run"].headers["x-should-retry"] == "false"
        assert b"request_cancelled" in found["wait"].body
        wait_until(lambda: is_idle(service, backend))
        assert client.get("/v1/requests").json["data"] == []
        assert client.send("DELETE", "/v1/requests/run", None, {}).status == 404

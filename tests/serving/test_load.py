"""Many requests at once and one after the other: none is lost, none is mixed up, nothing of them stays behind."""

from __future__ import annotations

import asyncio
import gc
import json
import re
import threading
import time
import tracemalloc
from typing import Any

import pytest
from benchmarks.serving_load import Answer, ask, by_streams, quantile

import nextword as nw
from nextword.serving import event_stream
from nextword.serving.limits import Limits
from tests.serving.client import Client
from tests.serving.faults import FaultyBackend, StoringBackend, is_idle, serving, wait_until

PATH = "/v1/completions"
NUM_STREAMS = 256
PROMPTS = ["the mill", "été", "a", "by the river " * 4]
LONG = {"prompt": "ab", "max_tokens": 40, "logit_bias": {"256": -1000}, "stream": True}


def port_of(client: Client) -> int:
    return int(client.address.rpartition(":")[2])


def test_of_256_streams_each_has_the_text_of_its_seed(client: Client, lm: nw.LanguageModel) -> None:
    params: dict[str, Any] = {"max_tokens": 12, "temperature": 1.0}
    asked = [{"prompt": PROMPTS[seed % 4], "seed": seed, "stream": True, **params} for seed in range(NUM_STREAMS)]

    async def all_at_once() -> list[Answer]:
        return await asyncio.gather(*(ask(port_of(client), body) for body in asked))

    answers = asyncio.run(all_at_once())
    assert [answer.status for answer in answers] == [200] * NUM_STREAMS
    expected = [lm.generate(body["prompt"], seed=body["seed"], **params).text for body in asked]
    assert [answer.text for answer in answers] == expected
    assert len(set(expected)) > NUM_STREAMS // 2


def test_open_ended_texts_share_a_memory_that_holds_few_of_them(lm: nw.LanguageModel) -> None:
    """Each may become as long as the context, of which the memory holds one and a half."""
    backend = FaultyBackend(max_seq_len=256)
    backend.max_positions = 384
    with serving(lm, backend) as (service, client):
        asked = {**LONG, "temperature": 1.0, "max_tokens": 250}
        together = asyncio.run(by_streams(port_of(client), [{**asked, "seed": seed} for seed in range(6)], 6))
        wait_until(lambda: is_idle(service, backend))
        assert b"nextword:num_preemptions_total 0.0" not in client.get("/metrics").body
        alone = asyncio.run(by_streams(port_of(client), [{**asked, "seed": seed} for seed in range(6)], 1))
        assert sorted(answer.text for answer in together) == sorted(answer.text for answer in alone)


def test_at_twice_the_capacity_the_rest_is_refused_at_once(lm: nw.LanguageModel) -> None:
    backend = FaultyBackend(delay=0.005)
    with serving(lm, backend, Limits(max_queue=16)) as (service, client):
        begin = time.monotonic()
        asyncio.run(by_streams(port_of(client), [LONG] * 16, 16))
        seconds_of_sixteen = time.monotonic() - begin
        answers = asyncio.run(by_streams(port_of(client), [LONG] * 120, 48))
        served = [answer for answer in answers if answer.status == 200]
        refused = [answer for answer in answers if answer.status == 429]
        assert len(served) + len(refused) == len(answers)
        assert len(served) >= 32, "what runs and what waits"
        assert len(refused) >= 16
        # The queue holds as many as run at once, so one that waits is computed after these.
        assert max(one.first for one in served) < 4 * seconds_of_sixteen
        assert quantile((one.end - one.begin for one in refused), 0.5) < seconds_of_sixteen / 2
        assert all(b"retry-after" in one.data.lower() for one in refused)
        wait_until(lambda: is_idle(service, backend))


@pytest.mark.parametrize("leak", [False, True])
def test_requests_leave_no_memory_behind(lm: nw.LanguageModel, leak: bool) -> None:
    """Six hundred requests of four kinds; the bar, 500 bytes for each, is that of 5 MB after 10,000."""
    with serving(lm, FaultyBackend()) as (service, client):
        kept: list[Any] = []
        if leak:  # what the test must find
            service.metrics.finished = lambda job: kept.append(job)  # type: ignore[method-assign]
        kinds: list[dict[str, Any]] = [{"stream": True}, {"logprobs": 2}, {"n": 2}, {"unknown": 1}]
        bodies = [{"prompt": "ab", "max_tokens": 3, **kind} for kind in kinds] * 25

        def used() -> int:
            asyncio.run(by_streams(port_of(client), bodies, 8))
            wait_until(lambda: not service.jobs)
            gc.collect()
            return tracemalloc.get_traced_memory()[0]

        tracemalloc.start()
        try:
            used()
            growth = -used() + max(used() for _ in range(2))
        finally:
            tracemalloc.stop()
        assert (growth > 500 * 2 * len(bodies)) == leak, growth


@pytest.mark.parametrize(
    ("path", "body"), [("/v1/score", {"continuations": [[1], [2, 3]]}), ("/v1/distribution", {"top": 3})]
)
def test_long_prompts_of_scores_hold_up_no_text(lm: nw.LanguageModel, path: str, body: dict[str, Any]) -> None:
    """A prompt of eight chunks lets a stream have a token after each; the figures are those of the whole prompt."""
    asked = {"prompt": [1, 2] * 2000, **body}
    with serving(lm, FaultyBackend()) as (_, client):
        expected = client.post(path, asked).json
    with serving(lm, StoringBackend(delay=0.02)) as (service, client):
        thread = threading.Thread(target=lambda: client.post(PATH, {**LONG, "max_tokens": 60}))
        thread.start()
        wait_until(lambda: any(one.sequences for job in list(service.jobs) for one in job.requests))
        (running,) = [one for job in service.jobs for one in job.requests]
        before = len(running.sequences[0].tokens)
        assert client.post(path, asked).json == expected
        assert len(running.sequences[0].tokens) - before >= 7
        thread.join()


def num_tokens_in_chunks(answer: Answer) -> int:
    lines = re.findall(rb"^data: (\{.*)$", answer.data, re.MULTILINE)
    choices = [choice for line in lines for choice in json.loads(line).get("choices", ())]
    return sum(len(choice["logprobs"]["tokens"]) for choice in choices if choice["logprobs"])


def test_texts_of_steps_that_follow_soon_are_written_together_and_none_is_lost(lm: nw.LanguageModel) -> None:
    """When the engine dies, what it had computed is there, and so is the error."""
    backend, num_steps, asked = FaultyBackend(delay=0.001), 60, {**LONG, "logprobs": 0}

    def dying() -> None:
        if backend.steps == num_steps:
            raise SystemExit

    with serving(lm, backend) as (_, client):
        (whole,) = asyncio.run(by_streams(port_of(client), [{**asked, "max_tokens": 200}], 1))
        assert num_tokens_in_chunks(whole) == 200
        assert len(whole.arrivals) < 120
        backend.steps, backend.fault = 0, dying
        (begun,) = asyncio.run(by_streams(port_of(client), [{**asked, "max_tokens": 200}], 1))
        assert num_tokens_in_chunks(begun) == num_steps
        assert b'"code":"internal_error"' in begun.data


def test_a_comment_is_written_in_times_of_silence(lm: nw.LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "PING_SECONDS", 0.05)
    backend = FaultyBackend(delay=0.3)
    with serving(lm, backend) as (_, client):
        data = client.post(PATH, {**LONG, "max_tokens": 3}).body
        assert b": ping\n\n" in data
        backend.delay = 0.0
        assert client.post(PATH, {**LONG, "max_tokens": 3}).body.endswith(b"data: [DONE]\n\n")


def test_the_event_loop_answers_while_the_engine_computes(lm: nw.LanguageModel) -> None:
    """A step of a second holds up no other request."""
    backend = FaultyBackend(delay=1.0)
    with serving(lm, backend) as (_, client):
        thread = threading.Thread(target=lambda: client.post(PATH, {**LONG, "max_tokens": 2}))
        thread.start()
        wait_until(lambda: bool(backend.caches))
        waits = []
        for _ in range(10):
            begin = time.monotonic()
            assert client.get("/health").status == 200
            waits.append(time.monotonic() - begin)
        thread.join()
        assert quantile(waits, 0.5) < 0.5

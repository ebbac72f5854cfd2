"""One request has the same bytes among five hundred random ones that come and go, after restarts, on any threads."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from benchmarks.serving_load import ask
from benchmarks.serving_sides import OURS, ServerProcess

import nextword as nw
from tests.api_model import load_bytes_model
from tests.serving.client import Client
from tests.serving.test_needle import NEEDLE, PATH, digest, streamed_choices

NUM_NEIGHBOURS = 500
NUM_CALLERS = 12
NUM_LIVES = 4
"""Times that the server starts: twice with each number of threads."""
TEXTS = ["abcabcabcabc", "abcabcabc", "a", "é b c", "by the river"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("needle") / "tiny"
    load_bytes_model(path)
    return path


def neighbour(draw: random.Random) -> dict[str, Any]:
    """A random request, which often begins as the needle does."""
    prompt: Any = draw.choice(TEXTS) + "".join(draw.choices("abc é", k=draw.randint(0, 20)))
    if draw.random() < 0.2:
        prompt = [prompt, "a" * draw.randint(1, 30)]
    asked: dict[str, Any] = {"prompt": prompt, "max_tokens": draw.randint(1, 24), "n": draw.randint(1, 3)}
    asked |= {"stream": draw.random() < 0.5, "echo": draw.random() < 0.2, "logprobs": draw.choice([None, 0, 5])}
    asked |= {"temperature": draw.choice([0.0, 0.7, 1.5]), "seed": draw.randint(0, 2**63)}
    kinds: list[dict[str, Any]] = [{}, {"top_k": 5}, {"repetition_penalty": 1.3}, {"regex": "[abc]+"}, {"stop": ["ab"]}]
    return {**asked, **draw.choice(kinds)}


async def neighbours(port: int, seed: int, count: int) -> None:
    """Send random requests; of every third the client may go before its answer has come."""
    draw = random.Random(seed)
    for _ in range(count):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(draw.uniform(0.0, 0.05) if draw.random() < 0.3 else 60.0):
                answer = await ask(port, neighbour(draw))
                assert answer.status == 200 or b'"request_cancelled"' in answer.data, answer.data


async def ended(client: Client, stop: threading.Event) -> None:
    """End others' requests by their ids, now and then."""
    while not stop.is_set():
        listed = await asyncio.to_thread(client.get, "/v1/requests")
        for one in [one for one in listed.json["data"] if one["id"] != "needle"][::3]:
            await asyncio.to_thread(client.send, "DELETE", f"/v1/requests/{one['id']}", None, {})
        await asyncio.sleep(0.1)


@contextlib.contextmanager
def crowd(client: Client, seed: int) -> Iterator[threading.Thread]:
    """Keep a server busy with its share of the neighbours; those of one seed are the same in each run."""
    port, stop = int(client.address.rpartition(":")[2]), threading.Event()
    failures: list[BaseException] = []

    async def all_of_them() -> None:
        ending = asyncio.create_task(ended(client, stop))
        count = NUM_NEIGHBOURS // NUM_LIVES // NUM_CALLERS + 1
        try:
            await asyncio.gather(*(neighbours(port, 100 * seed + caller, count) for caller in range(NUM_CALLERS)))
        finally:
            stop.set()
            await ending

    def run() -> None:
        try:
            asyncio.run(all_of_them())
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield thread
    finally:
        thread.join()
    assert not failures, failures


def as_second_prompt(client: Client) -> list[Any]:
    """The choices of the needle that is asked for together with another prompt."""
    answer = client.post(PATH, {**NEEDLE, "prompt": ["ab", NEEDLE["prompt"]]}, x_request_id="needle")
    return [{**choice, "index": choice["index"] - 2} for choice in answer.json["choices"][2:]]


@pytest.mark.slow
def test_a_needle_has_the_same_bytes_among_five_hundred_neighbours(folder: Path) -> None:
    expected = set()
    for life in range(NUM_LIVES):
        server = ServerProcess(OURS, folder, threads=1 + life % 2)
        try:
            client = Client(f"http://127.0.0.1:{server.port}")
            with crowd(client, seed=life // 2) as others:
                num_among = 0
                while others.is_alive():
                    whole = client.post(PATH, NEEDLE, x_request_id="needle").json["choices"]
                    expected |= {digest(whole), digest(streamed_choices(client)), digest(as_second_prompt(client))}
                    num_among += others.is_alive()
            assert num_among >= 1
            expected.add(digest(client.post(PATH, NEEDLE).json["choices"]))
        finally:
            server.close()
    assert len(expected) == 1
    lm = nw.load(folder, num_threads=1)
    params: dict[str, Any] = {name: NEEDLE[name] for name in NEEDLE if name != "prompt"}
    alone = lm.generate(NEEDLE["prompt"], **params)
    assert [choice["text"] for choice in whole] == [one.text for one in alone.completions]
    log_probs = [[token.log_prob for token in one.tokens] for one in alone.completions]
    assert [choice["logprobs"]["token_logprobs"] for choice in whole] == log_probs

"""One request's bytes are the same whatever else the server computes, streamed or not, cached or not."""

from __future__ import annotations

import hashlib
import json
import random
import threading
from typing import Any

import nextword as nw
from nextword.serving.server import ServerThread
from nextword.serving.service import Service
from tests.serving.client import Client, events

PATH = "/v1/completions"
NEEDLE: dict[str, Any] = {
    "prompt": "abcabcabcabc",
    "max_tokens": 30,
    "seed": 7,
    "logprobs": 3,
    "n": 2,
    "temperature": 1.2,
}


def digest(choices: list[Any]) -> str:
    return hashlib.sha256(json.dumps(choices, sort_keys=True).encode()).hexdigest()


def streamed_choices(client: Client) -> list[Any]:
    """The choices of a stream, put together in the form of an answer that is not streamed."""
    found: dict[int, Any] = {}
    for chunk in events(client.post(PATH, {**NEEDLE, "stream": True}, x_request_id="needle").body):
        (choice,) = chunk["choices"]
        if choice["index"] not in found:
            found[choice["index"]] = choice
            continue
        whole = found[choice["index"]]
        whole["text"] += choice["text"]
        for name, values in (choice["logprobs"] or {}).items():
            whole["logprobs"][name] += values
        whole |= {name: value for name, value in choice.items() if name not in ("text", "logprobs")}
    return [found[index] for index in sorted(found)]


def disturb(client: Client, seed: int, stop: threading.Event) -> None:
    """Send random requests: long and short, with n, echo and streams, read to the end or not."""
    draw = random.Random(seed)
    while not stop.is_set():
        prompt = "".join(draw.choices("abc é", k=draw.randint(1, 30)))
        if draw.random() < 0.3:
            prompt = "abcabcabcabc"[: draw.randint(1, 12)]
        asked: dict[str, Any] = {
            "max_tokens": draw.randint(1, 20),
            "n": draw.randint(1, 3),
            "echo": draw.random() < 0.3,
        }
        asked |= {"temperature": draw.choice([0.0, 1.0]), "stream": draw.random() < 0.5}
        asked |= {"logprobs": draw.choice([None, 2])}
        connection = client.connect()
        connection.request("POST", PATH, json.dumps({"prompt": prompt, **asked}), {"content-type": "application/json"})
        if draw.random() < 0.3:
            connection.close()
            continue
        answer = connection.getresponse()
        assert answer.status == 200
        if asked["stream"]:
            assert all("error" not in event for event in events(answer.read()))
        connection.close()


def test_a_needle_has_the_same_bytes_among_random_requests(lm: nw.LanguageModel) -> None:
    expected = set()
    for run in range(2):  # the second after a restart, with a cache that is warm
        with ServerThread(Service(lm)) as server:
            client = Client(server.url)
            stop = threading.Event()
            others = [threading.Thread(target=disturb, args=(client, 10 * run + one, stop)) for one in range(6)]
            expected.add(digest(client.post(PATH, NEEDLE).json["choices"]))
            for other in others:
                other.start()
            for _ in range(15):
                expected.add(digest(client.post(PATH, NEEDLE).json["choices"]))
                expected.add(digest(streamed_choices(client)))
            stop.set()
            for other in others:
                other.join()
            expected.add(digest(streamed_choices(client)))
    assert len(expected) == 1

"""A backend that is slow, fails or has no memory when a test says so, and servers on it."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator, Sequence

import nextword as nw
from nextword.inference.backend import Chunk, Logits
from nextword.inference.engine import Engine
from nextword.serving.limits import Limits
from nextword.serving.server import ServerThread
from nextword.serving.service import Service
from tests.fakes import HashBackend
from tests.serving.client import Answer, Client


class FaultyBackend(HashBackend):
    """Logits of bytes, after `delay` seconds a step, unless `fault` raises first."""

    def __init__(self, *, delay: float = 0.0, max_seq_len: int = 4096) -> None:
        super().__init__(vocab_size=257, max_seq_len=max_seq_len)
        self.delay = delay
        self.fault: Callable[[], None] = lambda: None
        """Called before each step; what it raises, the step raises."""

    def step(self, chunks: Sequence[Chunk]) -> list[Logits]:
        """Compute, late or not at all."""
        self.fault()
        time.sleep(self.delay)
        return super().step(chunks)


class StoringBackend(FaultyBackend):
    """Keeps the texts of closed caches, with which later ones may begin."""

    def __init__(self, *, delay: float = 0.0) -> None:
        super().__init__(delay=delay)
        self._stored: list[list[int]] = []

    def open_cache(self, prompt: Sequence[int] = (), *, adapter: str | None = None) -> int:
        """Begin with the longest stored text that the prompt begins with."""
        fitting = [text for text in self._stored if list(prompt[: len(text)]) == text and len(text) < len(prompt)]
        return self._keep(max([list[int](), *map(list, fitting)], key=lambda text: len(text)))

    def close_cache(self, cache_id: int) -> None:
        """Store the text."""
        self._stored.append(list(self.caches[cache_id]))
        super().close_cache(cache_id)


@contextlib.contextmanager
def serving(
    lm: nw.LanguageModel, backend: FaultyBackend, limits: Limits | None = None
) -> Iterator[tuple[Service, Client]]:
    """Serve another backend under the tokenizer of a model."""
    faulty = nw.LanguageModel(lm.directory, Engine(backend, lm.tokenizer), name="faulty")
    service = Service(faulty, limits=limits)
    with ServerThread(service) as server:
        yield service, Client(server.url)


def wait_until(holds: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for something that other threads do."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def is_idle(service: Service, backend: HashBackend) -> bool:
    """Return True if nothing runs or waits, and every cache is closed."""
    admission = service.admission
    return not (service.jobs or backend.caches or admission.num_sequences or admission.num_tokens)


def refused(answer: Answer, status: int = 400) -> None:
    """Check that an answer is a short error in form which says nothing of the server's inside."""
    assert (answer.status, answer.error["type"]) == (status, answer.error["type"]), answer.body[:300]
    assert len(answer.body) < 2000
    assert not re.search(rb"Traceback|/src/|\.py|site-packages|0x[0-9a-f]{6}|Error\(", answer.body), answer.body

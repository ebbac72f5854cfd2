"""`Service`: what the routes share: the model, the engine's thread, the queue, and the limits."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePath
from typing import Any, TypeVar

from starlette.datastructures import State

from nextword.checks import shown
from nextword.errors import RequestError
from nextword.inference.sequence import Request
from nextword.language_model import LanguageModel
from nextword.serving.admission import Admission
from nextword.serving.asked import Reader
from nextword.serving.engine_thread import EngineThread
from nextword.serving.errors import (
    ApiError,
    model_not_found,
    not_running,
    shutting_down,
    too_late,
    too_much_at_once,
)
from nextword.serving.fingerprint import fingerprint
from nextword.serving.job import Job
from nextword.serving.limits import Limits
from nextword.serving.logit_rows import LogitRows
from nextword.serving.metrics import Metrics
from nextword.serving.vocabulary import Vocabulary

T = TypeVar("T")

_SHORT_BODY = 65_536
"""Bytes of a body up to which it is read beside the short ones."""


class Service:
    """One model that is served. Lives on the event loop; only `in_thread` leaves it."""

    def __init__(
        self,
        lm: LanguageModel,
        *,
        limits: Limits | None = None,
        alias: str | None = None,
        lenient: bool = False,
        first: Service | None = None,
    ) -> None:
        """Serve a model by its name or an alias, and its adapters. Raises RequestError for one of the model's name."""
        self.lm = lm
        self.limits = limits or Limits()
        self.model = alias or served_name(lm.name)
        self.models = _names(self.model, lm.adapters)
        self._first = first or self
        self.services: list[Service] = [self]
        """This one, and those of the models beside it."""
        self.created = int(time.time())
        self.fingerprint = fingerprint(lm)
        self.reader, self.lenient = Reader(lm, self.models, self.limits), lenient
        self.metrics: Metrics = Metrics() if first is None else first.metrics
        self.thread = EngineThread(lm.engine, on_step=self._tell_progress, count_step=self.metrics.steps.inc)
        self.admission = Admission(self.limits, lm.engine)
        self.jobs: set[Job] = set() if first is None else first.jobs
        """Those of the server that run or wait."""
        self._readings: set[asyncio.Timeout] = set()
        """Time limits of the bodies that are being read."""
        self.num_body_bytes = 0
        """Bytes of the bodies of all requests that are read or answered."""
        self._is_ending = False
        self.at_end: list[Callable[[], Awaitable[None]]] = []
        """Called when the server ends."""
        self.vocabulary = Vocabulary(lm.tokenizer, lm.engine.backend.vocab_size)
        self.logit_rows = LogitRows(lm.engine.backend.vocab_size)
        if first is None:
            self._show_gauges()
        self._pools: list[ThreadPoolExecutor] = first._pools if first else _preparing_threads()

    def serve_beside(self, lm: LanguageModel) -> None:
        """Serve a further model, with a queue and a thread of its own, before the server starts.

        A name that is taken gets a number behind it.
        """
        wanted = served_name(lm.name)
        numbered = itertools.chain([wanted], (f"{wanted}-{number}" for number in itertools.count(2)))
        name = next(name for name in numbered if name not in self.names)
        self.services.append(Service(lm, limits=self.limits, alias=name, lenient=self.lenient, first=self))

    @property
    def names(self) -> list[str]:
        """Names of all models of the server."""
        return [name for service in self.services for name in service.models]

    @property
    def is_ending(self) -> bool:
        """True once the server takes nothing new."""
        return self._first._is_ending

    @property
    def is_alive(self) -> bool:
        """True while requests for all models can be computed."""
        return all(service.thread.is_alive for service in self.services)

    def of(self, body: Mapping[str, Any]) -> Service:
        """Return the service of the model that a body names. Raises ApiError with status 404 if there is none.

        A body without a model's name is for the first one. Raises ApiError for what is no name, too.
        """
        name = body.get("model")
        if name is None:
            return self
        if not isinstance(name, str):
            raise ApiError(f"model = {shown(name)}: must be a string", param="model")
        for service in self.services:
            if name in service.models:
                return service
        raise model_not_found(name, self.names)

    def start(self) -> None:
        """Start the threads of the engines; the event loop runs."""
        for service in self.services:
            service.thread.start(asyncio.get_running_loop())

    async def stop(self) -> None:
        """End the threads of the engines, and with them whatever runs."""
        self.end()
        for close in self.at_end:
            await close()
        for service in self.services:
            service.thread.stop()
        for service in self.services:
            await asyncio.to_thread(service.thread.join, 10.0)
        for pool in self._pools:
            pool.shutdown(wait=False, cancel_futures=True)

    async def in_thread(self, function: Callable[[], T], *, num_bytes: int = 0) -> T:
        """Run something that takes long beside the event loop.

        `num_bytes`: of a body that it reads. Long ones have a thread of their own, so that no short one waits for them.
        """
        pool = self._pools[num_bytes > _SHORT_BODY]
        return await asyncio.get_running_loop().run_in_executor(pool, function)

    def submit(self, requests: Sequence[Request], request_id: str) -> Job:
        """Let the engine run prepared requests. Raises ApiError if the queue is full or the server ends."""
        self._check_running()
        job = Job(self.thread, self.admission, requests, request_id=request_id, on_finish=self._finished)
        self.jobs.add(job)
        job.expire_after(self.limits.deadline)
        return job

    def _tell_progress(self) -> None:
        for job in self.jobs:
            if job.tells_progress and job.first_token is None:
                job.nudge()

    @contextlib.asynccontextmanager
    async def reading(self) -> AsyncIterator[None]:
        """Read a body. Raises TimeoutError if that takes long, or the server ends."""
        async with asyncio.timeout(self.limits.read_timeout) as limit:
            self._readings.add(limit)
            try:
                yield
            finally:
                self._readings.discard(limit)

    def hold_body(self, state: State, num_bytes: int) -> None:
        """Count bytes of a body, up to the end of its request. Raises ApiError where all together are too many."""
        if self.num_body_bytes + num_bytes > self.limits.max_bodies_bytes:
            raise too_much_at_once()
        self.num_body_bytes += num_bytes
        state.num_body_bytes = getattr(state, "num_body_bytes", 0) + num_bytes

    def end(self) -> None:
        """Take nothing new, and nothing of which only a part is there."""
        self._is_ending = True
        for limit in self._readings:
            limit.reschedule(0.0)

    def end_jobs(self, error: ApiError) -> None:
        """End all that runs and waits with an error."""
        for job in self.jobs:
            job.cancel(error)

    async def compute(self, pieces: Callable[[], Iterator[T | None]], num_tokens: int) -> list[T]:
        """Run the model for something else than text, one piece between two steps; return what the pieces make.

        `num_tokens`: of its prompts, which count as those of requests that wait. Raises ApiError as `submit`.
        """
        self._check_running()
        self.admission.check(1, num_tokens)
        place = self.admission.enter(1, num_tokens)
        loop = asyncio.get_running_loop()

        def begun() -> Iterator[T | None]:
            loop.call_soon_threadsafe(functools.partial(place.leave, is_served=False))  # others run between the pieces
            yield from pieces()

        try:
            async with asyncio.timeout(self.limits.deadline):
                found = await self.thread.work(begun)
        except TimeoutError:
            raise too_late(self.limits.deadline) from None
        finally:
            place.leave(is_served=False)
        return [one for one in found if one is not None]

    def _check_running(self) -> None:
        if self.is_ending:
            raise shutting_down()
        if self.thread.has_ended:
            raise not_running()

    def _finished(self, job: Job) -> None:
        self.jobs.discard(job)
        self.metrics.finished(job)

    def _show_gauges(self) -> None:
        gauge = self.metrics.gauge
        gauge("num_requests_running", "Prompts that run.", lambda: sum(job.num_running for job in self.jobs))
        gauge("num_requests_waiting", "Prompts that wait.", lambda: sum(job.num_waiting for job in self.jobs))
        gauge("kv_cache_usage_perc", "Share of the KV cache that is reserved.", self._cache_share)

    def _cache_share(self) -> float:
        """Return the share of the KV cache of that model that has least left."""
        return max(service.lm.engine.cache_share for service in self.services)


def _names(model: str, adapters: Sequence[str]) -> Mapping[str, str | None]:
    """Return the adapter by the name of a served model; None: the base model."""
    if model in adapters:
        raise RequestError(f"adapters: {model!r} is the name of the model itself; give another, or an alias")
    wrong = next((name for name in adapters if not name.isprintable() or name != name.strip()), None)
    if wrong is not None:
        raise RequestError(
            f"adapters: {wrong!r} is no name for clients: it has white space at an end, or control characters"
        )
    return {model: None, **{name: name for name in adapters}}


def _preparing_threads() -> list[ThreadPoolExecutor]:
    """Return two threads for short bodies, since one may compile a grammar, and one for long ones."""
    return [ThreadPoolExecutor(2, "nextword-short"), ThreadPoolExecutor(1, "nextword-long")]


def served_name(name: str) -> str:
    """Return the name under which a model is served: of a path, its last part; of any name, what fits a header."""
    last = PurePath(name).name if PurePath(name).is_absolute() or name.startswith((".", "~")) else name
    return re.sub(r"[^\w.:/-]+", "-", last.removesuffix(".gguf")) or "model"

"""One model that four threads use at once gives bitwise what each of them would get alone, whatever they ask for."""

from __future__ import annotations

import dataclasses
import faulthandler
import random
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

pytest.importorskip("nextword._native")

from nextword.adapters.open import open_adapted
from nextword.errors import RequestError
from nextword.evaluation.surprise import surprise_pieces
from nextword.inference.backend import PAGE_POSITIONS, Backend
from nextword.inference.engine import Engine
from nextword.inference.torch_backend import TorchBackend
from nextword.language_model import LanguageModel
from nextword.models.build import build_transformer
from tests.checkpoints.tiny_folder import write_folder
from tests.inference.native import CONFIG, native, random_weights
from tests.text.test_tokenizer import TOKENIZER

Job = tuple[str, int]
"""The kind of a call, and the seed of its arguments."""

SECONDS = 120
"""Time after which threads are taken to wait for each other for ever."""
CONTEXT = 600
PAGES = 20
"""Pages of keys and values that all threads share: one long request leaves none to others."""

TINY = dataclasses.replace(CONFIG, vocab_size=TOKENIZER.vocab_size, max_seq_len=CONTEXT)
WORDS = ["the", "river", "ran", "to", "the", "sea", "and", "the", "sea", "ran", "back", ""]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "tiny")


@pytest.fixture(autouse=True)
def _frequent_switches() -> Iterator[None]:
    """Let threads take turns more often than they do by themselves."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def native_backend(num_pages: int | None) -> Backend:
    """A tiny model with so many pages; None: with more than it could need."""
    roomy = native(TINY)
    if num_pages is None:
        return roomy
    page_bytes = 2**26 // (roomy.max_positions // PAGE_POSITIONS)
    backend = native(TINY, max_cache_bytes=num_pages * page_bytes)
    assert backend.max_positions == num_pages * PAGE_POSITIONS
    return backend


def torch_backend(num_pages: int | None) -> Backend:
    return TorchBackend(build_transformer(TINY, random_weights(TINY)))


def language_model(folder: Path, backend: Backend) -> LanguageModel:
    return LanguageModel(open_adapted(str(folder)), Engine(backend, TOKENIZER, max_sequences=6))


def text_of(draw: random.Random, most_words: int) -> str:
    return " ".join(draw.choice(WORDS) for _ in range(draw.randint(3, most_words)))


def answer(lm: LanguageModel, job: Job) -> object:
    """Make the call; return its result, to the last bit."""
    kind, seed = job
    draw = random.Random(seed)
    text, short = text_of(draw, 150), text_of(draw, 12)
    match kind:
        case "generate":
            return lm.generate(short, n=draw.randint(1, 3), max_tokens=draw.randint(1, 60), seed=seed, logprobs=2)
        case "stream":
            return list(lm.stream(short, max_tokens=draw.randint(1, 60), seed=seed))
        case "chat":
            return lm.chat([{"role": "user", "content": short}], max_tokens=draw.randint(1, 30), seed=seed)
        case "perplexity":
            report = lm.perplexity([text, short], context=draw.choice([16, 100, 300]))
            return report.sums, report.nats_interval
        case "classify":
            return lm.classify_batch([short, text_of(draw, 12), short], ["good", "bad news", "the sea"])
        case "score":
            return lm.score(text, alternatives=1)
        case "next":
            return lm.next(text).probabilities().tobytes()
        case "summarize":
            try:
                return lm.summarize(text * 3, length="short")
            except RequestError as error:  # a random model's summaries of the parts are no shorter than these
                return str(error)
        case "surprise":
            return lm.surprise(text, context=draw.choice([20, 150])).pieces
        case "compare":
            comparison = lm.compare(lm, text, context=draw.choice([20, 150]))
            return comparison.total_nats_a, comparison.total_divergence, comparison.differences
    raise AssertionError(kind)


KINDS = ("generate", "stream", "chat", "perplexity", "classify", "score", "next", "summarize", "surprise", "compare")


def run_threads(works: list[Callable[[], None]]) -> None:
    """Run each in a thread of its own. Raises the first error; fails if they do not end in time."""
    errors: list[BaseException] = []

    def guarded(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    if any(thread.is_alive() for thread in threads):
        faulthandler.dump_traceback(all_threads=True)
        pytest.fail("the threads wait for each other")
    if errors:
        raise errors[0]


def require_idle(lm: LanguageModel) -> None:
    """Fail unless all room was given back."""
    with lm.engine.reserve(lm.engine.backend.max_positions):
        pass


@pytest.mark.parametrize("seed", range(5))
def test_four_threads_get_what_each_gets_alone(folder: Path, seed: int) -> None:
    compare_with_alone(folder, native_backend, seed=seed, num_jobs=8)


def test_four_threads_get_what_each_gets_alone_in_torch(folder: Path) -> None:
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)  # for matrices so small, more would only wait for each other
    try:
        compare_with_alone(folder, torch_backend, seed=7, num_jobs=5)
    finally:
        torch.set_num_threads(num_threads)


def compare_with_alone(folder: Path, make: Callable[[int | None], Backend], *, seed: int, num_jobs: int) -> None:
    """Give each of four threads jobs of all kinds in a random order, on a model with little room."""
    draw = random.Random(seed)
    kinds = [draw.sample(KINDS, num_jobs) for _ in range(4)]
    jobs = [[(kind, draw.randrange(1000)) for kind in of_thread] for of_thread in kinds]
    together = language_model(folder, make(PAGES))
    found: dict[tuple[int, Job], object] = {}

    def work(thread: int) -> None:
        for job in jobs[thread]:
            found[thread, job] = answer(together, job)

    run_threads([lambda thread=thread: work(thread) for thread in range(4)])  # type: ignore[misc]
    alone = language_model(folder, make(None))
    for (_, job), given in found.items():
        assert given == answer(alone, job), job
    assert len(found) == 4 * num_jobs
    require_idle(together)


def test_two_threads_that_compare_two_models_in_either_order_do_not_wait_for_each_other(folder: Path) -> None:
    first, second = (language_model(folder, native_backend(PAGES)) for _ in range(2))
    text = text_of(random.Random(1), 150)
    expected = first.compare(second, text, context=50).bits_per_byte_a

    def work(a: LanguageModel, b: LanguageModel) -> None:
        for _ in range(5):
            assert a.compare(b, text, context=50).bits_per_byte_a == expected

    run_threads([lambda: work(first, second), lambda: work(second, first), lambda: work(first, first)])


def test_a_scorer_beside_a_stream_that_is_half_read_makes_its_own_room(folder: Path) -> None:
    lm = language_model(folder, native_backend(PAGES))
    asked = {"max_tokens": PAGES * PAGE_POSITIONS - 100, "min_tokens": 300, "seed": 3}
    expected = list(lm.stream("the river", **asked))  # type: ignore[arg-type]
    report = lm.perplexity("the sea ran back " * 100)

    stream = iter(lm.stream("the river", **asked))  # type: ignore[arg-type]
    beginning = next(stream)
    assert lm.perplexity("the sea ran back " * 100).sums == report.sums
    assert "".join([beginning, *stream]) == "".join(expected)


def test_an_abandoned_scorer_gives_its_room_back(folder: Path) -> None:
    lm = language_model(folder, native_backend(PAGES))
    for pieces in (
        surprise_pieces(lm.engine, "the river ran to the sea " * 40, context=40),
        lm.classifier(["good", "bad"]).classify(iter(["the river", "the sea"] * 40)),
    ):
        next(pieces)
        require_idle(lm)  # also between two pieces
        del pieces
        require_idle(lm)


def test_a_scorer_that_fails_gives_its_room_back(folder: Path) -> None:
    lm = language_model(folder, native_backend(PAGES))
    with pytest.raises(KeyboardInterrupt), lm.engine.reserve(PAGE_POSITIONS):
        raise KeyboardInterrupt
    require_idle(lm)


def test_more_than_the_whole_memory_is_refused_with_what_to_lower(folder: Path) -> None:
    lm = language_model(folder, native_backend(4))
    text = "the river ran to the sea " * 60
    for ask in (lm.perplexity, lm.surprise):
        with pytest.raises(RequestError, match=r"room for \d+ tokens.* holds 128: shorten the text, or lower context"):
            ask(text)
    assert lm.perplexity(text, context=100).num_tokens > 100
    with pytest.raises(RequestError, match="holds 128: lower max_tokens or n"):
        lm.generate("the river", max_tokens=200)
    for ask_long in (lm.generate, lm.next, lm.score):
        with pytest.raises(RequestError, match="holds 128: shorten the prompt"):
            ask_long(text)

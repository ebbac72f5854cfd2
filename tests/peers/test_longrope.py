"""LongRoPE on both sides of the original context: at every length transformers' logits and greedy text, however a text
came in, and whether it outgrew the original context while it was written."""

from __future__ import annotations

import random as python_random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("nextword._native")

from nextword.checkpoints.open_directory import open_model_directory  # noqa: E402
from nextword.decoding.params import SamplingParams  # noqa: E402
from nextword.errors import RequestError  # noqa: E402
from nextword.inference.backend import PAGE_POSITIONS, Backend, Chunk, Logits, TokenScores  # noqa: E402
from nextword.inference.engine import Engine  # noqa: E402
from nextword.inference.longrope_backend import LongRopeBackend  # noqa: E402
from nextword.inference.open_backend import open_backend  # noqa: E402
from tests.fakes import score_rows  # noqa: E402
from tests.inference.native import logits_of, random_text  # noqa: E402
from tests.peers.test_families import LLAMA, LONGROPE_SCALING, random_model  # noqa: E402
from tests.text.test_tokenizer import TOKENIZER  # noqa: E402

pytestmark = pytest.mark.peer

TOLERANCE = 1e-4
ORIGINAL = 70
LENGTH = 110
BACKENDS = ["native", "torch"]


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """A tiny Phi-3 of transformers that has two kinds of angles, and the folder it saved itself to."""
    settings = {
        **LLAMA,
        "vocab_size": TOKENIZER.vocab_size,
        "max_position_embeddings": 128,
        "original_max_position_embeddings": ORIGINAL,
        "rope_parameters": {**LONGROPE_SCALING, "partial_rotary_factor": 0.75},
    }
    model = random_model("phi3", settings)
    folder = tmp_path_factory.mktemp("phi3")
    model.save_pretrained(folder)
    return model, folder


@pytest.fixture(scope="module")
def expected(theirs: tuple[Any, Path]) -> Logits:
    """(LENGTH, V): after each position, the logits of a text that ends there."""
    token_ids = torch.tensor([text()])
    with torch.inference_mode():
        rows = [theirs[0](token_ids[:, : end + 1]).logits[0, -1] for end in range(LENGTH)]
    array: Logits = torch.stack(rows).numpy()
    return array


def text() -> list[int]:
    return random_text(LENGTH, vocab_size=TOKENIZER.vocab_size)


def opened(folder: Path, backend: str) -> LongRopeBackend:
    directory = open_model_directory(folder)
    found = open_backend(directory.config, directory.tensors, backend=backend, weights="f32", num_threads=2)  # type: ignore[arg-type]
    assert isinstance(found, LongRopeBackend)
    return found


@pytest.fixture(scope="module", params=BACKENDS)
def ours(request: pytest.FixtureRequest, theirs: tuple[Any, Path]) -> LongRopeBackend:
    return opened(theirs[1], request.param)


@pytest.mark.parametrize(
    "chunks",
    [[], [1] * LENGTH, [ORIGINAL], [ORIGINAL - 1, 2], [40, 60]],
    ids=["whole", "tokens", "at", "over", "pieces"],
)
def test_a_text_has_at_every_length_the_logits_of_transformers(
    ours: LongRopeBackend, expected: Logits, chunks: list[int]
) -> None:
    assert np.abs(expected[ORIGINAL:] - logits_of_one_kind(ours)[ORIGINAL:]).max() > 0.1, "the angles matter"
    np.testing.assert_allclose(logits_of(ours, text(), chunks=chunks), expected, rtol=0, atol=TOLERANCE)


def logits_of_one_kind(backend: LongRopeBackend) -> Logits:
    """All logits of a text that goes on by the angles of short ones."""
    return logits_of(backend._inner, text())


def test_a_prompt_that_is_long_from_the_start_has_them_too_and_earlier_ones_when_asked(
    ours: LongRopeBackend, expected: Logits
) -> None:
    for first in (20, 69, 70, 71, 100):
        cache_id = ours.open_cache(text())
        start = ours.cache_length(cache_id)
        if start < first:
            ours.step([Chunk(cache_id, text()[start:first], 0)])
            start = first
        (rows,) = ours.step([Chunk(cache_id, text()[start:], LENGTH - start)])
        np.testing.assert_allclose(rows, expected[start:], rtol=0, atol=TOLERANCE)
        ours.close_cache(cache_id)


def test_scores_are_those_of_the_logits(ours: LongRopeBackend, expected: Logits) -> None:
    targets = random_text(LENGTH, seed=3, vocab_size=TOKENIZER.vocab_size)
    first, second = ours.open_cache(), ours.open_cache()
    seen = ours.score([Chunk(first, text(), LENGTH), Chunk(second, text()[:30], 10)], [targets, targets[20:30]])
    for scores, rows, of_chunk in zip(seen, (expected, expected[20:30]), (targets, targets[20:30]), strict=True):
        wanted = score_rows(rows, of_chunk)
        np.testing.assert_allclose(scores.nats, wanted.nats, atol=1e-3)
        np.testing.assert_array_equal(scores.ranks, wanted.ranks)
    ours.close_cache(first)
    ours.close_cache(second)


@pytest.mark.parametrize("length", [10, ORIGINAL - 3, ORIGINAL, ORIGINAL + 20])
@pytest.mark.parametrize("num_samples", [1, 3])
def test_greedy_text_is_that_of_transformers(
    ours: LongRopeBackend, theirs: tuple[Any, Path], length: int, num_samples: int
) -> None:
    model, prompt, count = theirs[0], text()[:length], 100 - length
    token_ids = torch.tensor([prompt])
    settings: dict[str, Any] = {"do_sample": False, "max_new_tokens": count, "eos_token_id": None, "pad_token_id": 0}
    settings["suppress_tokens"] = sorted(TOKENIZER.eos_token_ids)
    with torch.inference_mode():
        output = model.generate(token_ids, attention_mask=torch.ones_like(token_ids), **settings)
    engine = Engine(ours, TOKENIZER)
    params = SamplingParams(temperature=0, max_tokens=count, min_tokens=count, n=num_samples)
    request = engine.submit(prompt, params)
    engine.run([request])
    for sequence in request.sequences:
        assert [*prompt, *sequence.token_ids] == output[0].tolist()
    assert ours._sequences == {}


def test_no_schedule_changes_a_bit(theirs: tuple[Any, Path]) -> None:
    reference = opened(theirs[1], "native")
    expected = logits_of(reference, text())
    backend = opened(theirs[1], "native")
    random = python_random.Random(4)
    for _ in range(60):
        beginning = random.randint(1, LENGTH)
        places = [backend.open_cache(text()[:beginning] if random.random() < 0.7 else ())]
        while places:
            if random.random() < 0.2 and len(places) < 4:
                places.append(backend.fork_cache(random.choice(places)))
            chunks = []
            for cache_id in random.sample(places, random.randint(1, len(places))):
                done = backend.cache_length(cache_id)
                count = min(LENGTH - done, random.choice([1, 1, 7, 40, LENGTH]))
                num_logits = random.choice([0, 0, min(1, count), random.randint(0, count)])
                chunks.append(Chunk(cache_id, text()[done : done + count], num_logits))
            for chunk, logits in zip(chunks, backend.step(chunks), strict=True):
                end = backend.cache_length(chunk.cache_id)
                np.testing.assert_array_equal(logits, expected[end - chunk.num_logits : end])
                if end == LENGTH or random.random() < 0.05:
                    backend.close_cache(chunk.cache_id)
                    places.remove(chunk.cache_id)
    assert backend._inner.cache_bytes == 0  # type: ignore[attr-defined]


def test_a_long_prompt_that_comes_again_is_found_in_the_cache(theirs: tuple[Any, Path]) -> None:
    backend = opened(theirs[1], "native")
    for reused in (0, (LENGTH - 1) // PAGE_POSITIONS * PAGE_POSITIONS):
        cache_id = backend.open_cache(text())
        assert backend.cache_length(cache_id) == reused
        backend.step([Chunk(cache_id, text()[reused:], 1)])
        backend.close_cache(cache_id)


def test_a_step_that_fails_leaves_all_texts_as_they_were(theirs: tuple[Any, Path], expected: Logits) -> None:
    backend = opened(theirs[1], "torch")
    inner = backend._inner
    first, second = backend.open_cache(), backend.open_cache()
    backend.step([Chunk(first, text()[:60], 0), Chunk(second, text()[:20], 0)])
    backend._inner = Refusing(inner)  # type: ignore[assignment]
    with pytest.raises(RequestError):
        backend.step([Chunk(first, text()[60:90], 30), Chunk(second, text()[20:30], 10)])
    backend._inner = inner
    assert len(inner._caches) == 2  # type: ignore[attr-defined]
    rows = backend.step([Chunk(first, text()[60:90], 30), Chunk(second, text()[20:30], 10)])
    np.testing.assert_allclose(rows[0], expected[60:90], rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(rows[1], expected[20:30], rtol=0, atol=TOLERANCE)


class Refusing:
    """A backend without memory for logits."""

    def __init__(self, inner: Backend) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def step(self, chunks: Sequence[Chunk]) -> list[Logits] | list[TokenScores]:
        if any(chunk.num_logits for chunk in chunks):
            raise RequestError("no memory")
        return self.inner.step(chunks)

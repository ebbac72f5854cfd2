"""Keys and values of the native backend: shared, counted, limited, reused, and never another text's."""

from __future__ import annotations

import dataclasses
from random import Random

import numpy as np
import pytest

pytest.importorskip("nextword._native")

from nextword.decoding.params import SamplingParams
from nextword.errors import RequestError
from nextword.inference.backend import PAGE_POSITIONS, Chunk
from nextword.inference.engine import Engine
from nextword.inference.native_backend import NativeBackend
from nextword.models.config import ModelConfig
from tests.inference.native import ALL_SLIDING, CONFIG, WINDOW, logits_of, native, random_text
from tests.text.test_tokenizer import TOKENIZER


def page_bytes(config: ModelConfig = CONFIG) -> int:
    """Of a page in all layers."""
    backend = native(config)
    write(backend, backend.open_cache(), [1])
    return backend.cache_bytes


def write(
    backend: NativeBackend, cache_id: int, token_ids: list[int]
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Append tokens; all their logits."""
    return backend.step([Chunk(cache_id, token_ids, len(token_ids))])[0]


def test_a_fork_shares_its_pages_until_one_of_the_two_writes() -> None:
    backend, page, text = native(), page_bytes(), random_text(70)
    first = backend.open_cache()
    write(backend, first, text)
    assert backend.cache_bytes == 3 * page
    forks = [backend.fork_cache(first) for _ in range(3)]
    assert backend.cache_bytes == 3 * page
    write(backend, forks[0], [1])
    assert backend.cache_bytes == 4 * page
    for cache_id in (first, *forks):
        backend.close_cache(cache_id)
    assert backend.cache_bytes == 0


def test_forks_that_write_at_once_leave_each_other_alone() -> None:
    backend, text = native(), random_text(70)
    expected = {token_id: logits_of(native(), [*text, token_id, 9])[-1] for token_id in range(5)}
    first = backend.open_cache()
    write(backend, first, text)
    forks = [first, *(backend.fork_cache(first) for _ in range(4))]
    backend.step([Chunk(cache_id, [token_id], 0) for token_id, cache_id in enumerate(forks)])
    rows = backend.step([Chunk(cache_id, [9], 1) for cache_id in forks])
    for token_id, logits in enumerate(rows):
        np.testing.assert_array_equal(logits[0], expected[token_id])


def test_a_full_cache_refuses_in_one_line_and_changes_nothing() -> None:
    page, text = page_bytes(), random_text(100)
    backend = native(max_cache_bytes=4 * page)
    expected = logits_of(native(), text)
    assert backend.max_positions == 4 * PAGE_POSITIONS
    first, second = backend.open_cache(), backend.open_cache()
    write(backend, first, text[:90])
    with pytest.raises(RequestError, match=r"the KV cache is full: 0 MiB are in use; ask for fewer or shorter"):
        backend.step([Chunk(first, text[90:], 1), Chunk(second, text[:40], 1)])
    assert (backend.cache_bytes, backend.cache_length(first), backend.cache_length(second)) == (3 * page, 90, 0)
    np.testing.assert_array_equal(write(backend, first, text[90:]), expected[90:])
    backend.close_cache(first)
    np.testing.assert_array_equal(write(backend, second, text), expected)


@pytest.mark.parametrize("num_samples", [1, 2, 5])
@pytest.mark.parametrize("length", [1, 31, 32, 40, 64])
@pytest.mark.parametrize("max_tokens", [1, 2, 3, 32, 33, 34])
def test_a_request_runs_in_the_room_it_is_said_to_need(length: int, max_tokens: int, num_samples: int) -> None:
    config = dataclasses.replace(CONFIG, vocab_size=TOKENIZER.vocab_size)
    params = SamplingParams(n=num_samples, max_tokens=max_tokens, min_tokens=max_tokens, seed=3)
    pages = length // PAGE_POSITIONS + num_samples * -(-(length % PAGE_POSITIONS + max_tokens - 1) // PAGE_POSITIONS)
    backend = native(config, max_cache_bytes=pages * page_bytes(config))
    engine = Engine(backend, TOKENIZER, max_sequences=8)
    for seed in range(2):  # the second finds what the first has left in the cache
        request = engine.submit(random_text(length, seed=seed), params)
        assert request.num_positions == backend.max_positions
        engine.run([request])
        assert all(len(sequence.tokens) == max_tokens for sequence in request.sequences)


@pytest.mark.parametrize("config", [CONFIG, WINDOW, ALL_SLIDING], ids=["full", "window", "all-sliding"])
@pytest.mark.parametrize("length", [32, 33, 64, 100, 300])
def test_a_reused_beginning_gives_the_same_bits(config: ModelConfig, length: int) -> None:
    backend, text = native(config), random_text(length)
    expected = logits_of(native(config), text)
    first = backend.open_cache(text)
    assert backend.cache_length(first) == 0
    for start in range(0, length, 50):  # in pieces, as an engine prefills, so that windows leave pages on the way
        write(backend, first, text[start : start + 50])
    for is_open in (True, False):
        if not is_open:
            backend.close_cache(first)
        second = backend.open_cache(text)
        reused = backend.cache_length(second)
        assert reused == (length - 1) // PAGE_POSITIONS * PAGE_POSITIONS, "all but the last token's page"
        np.testing.assert_array_equal(write(backend, second, text[reused:]), expected[reused:])
        backend.close_cache(second)
    assert backend.cache_bytes == 0


@pytest.mark.parametrize("config", [CONFIG, WINDOW, ALL_SLIDING], ids=["full", "window", "all-sliding"])
def test_only_an_equal_beginning_is_reused(config: ModelConfig) -> None:
    backend, text = native(config), random_text(200)
    write(backend, backend.open_cache(), text)
    for changed, expected in [(0, 0), (31, 0), (32, 32), (100, 96), (199, 192)]:
        other = list(text)
        other[changed] = (other[changed] + 1) % config.vocab_size
        assert backend.cache_length(backend.open_cache(other)) == expected
    assert backend.cache_length(backend.open_cache(text[32:])) == 0, "at other positions keys are others"


def test_unused_beginnings_give_way_the_oldest_first_and_are_computed_again() -> None:
    page = page_bytes()
    backend = native(max_cache_bytes=6 * page)
    texts = [random_text(70, seed=seed) for seed in range(3)]
    expected = [logits_of(native(), text) for text in texts]

    def run(index: int) -> int:
        """How much was reused."""
        cache_id = backend.open_cache(texts[index])
        reused = backend.cache_length(cache_id)
        np.testing.assert_array_equal(write(backend, cache_id, texts[index][reused:]), expected[index][reused:])
        backend.close_cache(cache_id)
        return reused

    assert [run(0), run(1), run(0)] == [0, 0, 64]
    in_use = backend.open_cache()
    write(backend, in_use, texts[2])
    assert run(0) == 64, "used last, so still here"
    assert run(1) == 0, "given up for the third text"
    np.testing.assert_array_equal(write(backend, in_use, [4]), logits_of(native(), [*texts[2], 4])[-1:])


def test_pages_that_no_window_reaches_go_back() -> None:
    backend, text = native(ALL_SLIDING), random_text(390)
    page = page_bytes(ALL_SLIDING)
    cache_id = backend.open_cache()
    for token_id in text:
        write(backend, cache_id, [token_id])
        assert backend.cache_bytes <= 3 * page, "a window of 37 positions lies in three pages at most"


def test_texts_much_longer_than_the_memory_fit_where_all_layers_slide() -> None:
    text = random_text(390)
    backend = native(ALL_SLIDING, max_cache_bytes=5 * page_bytes(ALL_SLIDING))
    expected = logits_of(native(ALL_SLIDING), text)
    np.testing.assert_array_equal(logits_of(backend, text, chunks=[30] * 12), expected)


@pytest.mark.parametrize("config", [CONFIG, WINDOW], ids=["full", "window"])
def test_a_crowded_cache_never_gives_another_texts_logits(config: ModelConfig) -> None:
    """Many texts with common beginnings come and go through a cache that holds few of them."""
    backend = native(config, max_cache_bytes=9 * page_bytes(config))
    reference = native(config)
    random = Random(6)
    beginnings = [random_text(96, seed=seed) for seed in range(3)]
    for _ in range(60):
        text = random.choice(beginnings)[: random.randint(20, 96)] + random_text(random.randint(1, 39))
        cache_id = backend.open_cache(text)
        start = backend.cache_length(cache_id)
        np.testing.assert_array_equal(write(backend, cache_id, text[start:]), logits_of(reference, text)[start:])
        backend.close_cache(cache_id)


def test_a_draft_is_taken_back_and_serves_no_other_prompt() -> None:
    backend, text = native(), random_text(100)
    expected = logits_of(native(), text)
    cache_id = backend.open_cache()
    draft = [(token_id + 1) % CONFIG.vocab_size for token_id in text[41:80]]
    backend.step([Chunk(cache_id, [*text[:41], *draft], 40, len(draft))])
    assert backend.cache_length(backend.open_cache([*text[:41], *draft, 0])) == 32, "the page of the draft is not kept"
    backend.truncate_cache(cache_id, 41)
    np.testing.assert_array_equal(write(backend, cache_id, text[41:]), expected[41:])
    with pytest.raises(ValueError, match="cannot end at 40"):
        backend.truncate_cache(cache_id, 40)

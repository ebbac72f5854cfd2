"""What Python gives the native core: whatever it is, the answer is an exception or a result, and the model goes on."""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
import pytest

pytest.importorskip("nextword._native")

import nextword._native as core
from tests.inference.native import CONFIG, logits_of, native, random_text, random_weights

WIDTH = CONFIG.vocab_size
REFUSALS = (TypeError, ValueError, IndexError, MemoryError, OverflowError)
NUMBERS: list[Any] = [0, 1, 2, -1, 44, 45, 400, 401, 2**31 - 1, 2**31, -(2**31) - 1, 2**63, 2**64, 1.5, None, "1"]
ROWS: list[Any] = [
    np.zeros((1, WIDTH), np.float32),
    np.zeros((2, WIDTH), np.float32),
    np.zeros((1, WIDTH), np.float64),
    np.zeros((1, WIDTH - 1), np.float32),
    np.zeros((2, 2 * WIDTH), np.float32)[:, ::2],
    np.zeros(WIDTH, np.float32),
    np.zeros((0, WIDTH), np.float32),
    np.frombuffer(bytes(4 * WIDTH), np.float32).reshape(1, WIDTH),
    [[0.0] * WIDTH],
    None,
]


def test_steps_of_nonsense_are_refused_and_change_nothing() -> None:
    backend, text = native(), random_text(60)
    expected = logits_of(native(), text)
    model, random = backend._model, Random(3)
    place, other, closed = (backend.open_cache() for _ in range(3))
    backend.close_cache(closed)
    model.step([core.Chunk(place, text[:40], 0)], np.zeros((0, WIDTH), np.float32))
    num_refused = 0
    for _ in range(3000):
        try:
            chunks = [
                core.Chunk(
                    random.choice([other, closed, place, *NUMBERS]),
                    random.choice([[random.choice(NUMBERS) for _ in range(random.randint(0, 3))], text, [1] * 500]),
                    random.choice(NUMBERS),
                )
                for _ in range(random.choice([1, 1, 1, 2]))
            ]
            copy = model.fork_cache(place)
            model.step(chunks, random.choice(ROWS))
        except REFUSALS:
            num_refused += 1
        else:
            for written in (place, other):
                model.close_cache(written)
            place, other = copy, model.open_cache([], False)
            continue
        assert (model.cache_length(place), model.cache_length(other)) == (40, 0)
    assert 2000 < num_refused < 3000
    logits = np.empty((20, WIDTH), np.float32)
    model.step([core.Chunk(place, text[40:], 20)], logits)
    np.testing.assert_array_equal(logits, expected[40:])


def test_scores_of_nonsense_are_refused() -> None:
    model = native()._model
    place = model.open_cache([], False)
    doubles, ints = np.zeros(1), np.zeros(1, np.int32)
    for targets, columns in [
        ([45], [doubles, doubles, ints, ints]),
        ([-1], [doubles, doubles, ints, ints]),
        ([], [doubles, doubles, ints, ints]),
        ([1, 2], [doubles, doubles, ints, ints]),
        ([1], [np.zeros(2), doubles, ints, ints]),
        ([1], [np.zeros(1, np.float32), doubles, ints, ints]),
        ([1], [doubles, doubles, np.zeros(1, np.int64), ints]),
        ([1], [doubles, doubles, ints, None]),
    ]:
        with pytest.raises(REFUSALS):
            model.score([core.Chunk(place, [1], 1)], targets, *columns)  # type: ignore[arg-type]
    assert model.cache_length(place) == 0


def test_a_handle_that_is_not_open_is_refused_by_name() -> None:
    model = native()._model
    for call in (model.fork_cache, model.close_cache, model.cache_length):
        with pytest.raises(IndexError, match="no open sequence has the handle 99"):
            call(99)


def test_weights_of_nonsense_are_refused() -> None:
    model = native(tensors=random_weights(CONFIG))._model
    rows = np.zeros(40 * 4, np.uint8)
    for part in [
        ("embedding.weight", 0, 2, core.Encoding.F32, rows),
        ("embedding.weight", 45, 1, core.Encoding.F32, rows),
        ("embedding.weight", -1, 1, core.Encoding.F32, rows),
        ("embedding.weight", 1, 1, core.Encoding.F32, rows),
        ("embedding.weight", 0, -1, core.Encoding.F32, rows),
        ("embedding.weight", 2**31 - 1, 1, core.Encoding.F32, rows),
        ("embedding.weight", 0, 1, core.Encoding.Q4_1, rows),
        ("embedding.weight", 0, 1, core.Encoding.F32, rows[::2]),
        ("nothing.weight", 0, 1, core.Encoding.F32, rows),
    ]:
        with pytest.raises(REFUSALS):
            core.Packing(model, [(*part, False)])
    with pytest.raises(REFUSALS):
        model.load_vector("final_norm.weight", np.zeros(39, np.float32))
    with pytest.raises(REFUSALS):
        model.make_matrix("final_norm.weight", core.WeightKind.F32)


def test_choices_from_nonsense_are_refused_or_made() -> None:
    random = Random(5)
    rows: list[Any] = [
        np.random.default_rng(1).standard_normal(100).astype(np.float32),
        *(np.full(33, value, np.float32) for value in (0.0, np.nan, np.inf, -np.inf, 1e38)),
        np.zeros(0, np.float32),
        np.zeros((3, 3), np.float32),
        np.zeros(9),
        np.full(13, 0xA5, np.uint8),
        np.full(5, 0xFF, np.uint8),
        None,
    ]
    numbers = [0, 1, -1, 50, 2**62, 0.0, -1.0, 1e-45, 1e38, float("nan"), float("inf"), 0.5]
    calls: list[tuple[Any, str]] = [
        (core.softmax_weights, "rnnnr"),
        (core.largest, "rn"),
        (core.smallest_set, "rrnn"),
        (core.argmax, "rr"),
        (core.keep_allowed, "rrr"),
        (core.draw, "rnnnnnnr"),
        (core.position_at, "rn"),
    ]
    for _ in range(4000):
        function, kinds = random.choice(calls)
        same = random.choice(rows)
        arguments = [random.choice([same, same, *rows]) if kind == "r" else random.choice(numbers) for kind in kinds]
        try:
            function(*(argument.copy() if isinstance(argument, np.ndarray) else argument for argument in arguments))
        except REFUSALS:
            continue

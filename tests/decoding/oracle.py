"""The plain sorted versions of what `nextword.decoding` finds without sorting: the judges of the fast ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32] | NDArray[np.float64]


def in_order(keys: Vector) -> list[int]:
    """Positions by falling key, equal keys by rising position."""
    values = keys.tolist()
    return sorted(range(len(values)), key=lambda position: (-values[position], position))


def largest(keys: Vector, k: int) -> list[int]:
    return sorted(in_order(keys)[:k])


def smallest_set(keys: Vector, weights: Vector, wanted: float) -> list[int]:
    kept, weight = [], 0
    for position in in_order(keys):
        if weight >= wanted:
            break
        kept.append(position)
        weight += int(weights[position])
    return sorted(kept)


def softmax(logits: Vector, temperature: float = 1.0) -> NDArray[np.float64]:
    """In float64; -inf gives 0."""
    exponentials: NDArray[np.float64] = np.exp((logits.astype(np.float64) - float(logits.max())) / temperature)
    exponentials /= exponentials.sum()
    return exponentials


def rows_of_logits(rng: np.random.Generator, size: int) -> dict[str, NDArray[np.float32]]:
    """Rows of every difficult kind, by name."""
    normal = rng.normal(size=size)
    outlier = normal.copy()
    outlier[rng.integers(size)] = 1e30
    removed = np.where(rng.random(size) < 0.7, -np.inf, normal)
    removed[rng.integers(size)] = 0.0
    rows = {
        "flat": normal,
        "as a model's": 2.5 * normal,
        "peaked": 12 * normal,
        "all equal": np.full(size, 3.0),
        "two values": rng.integers(2, size=size),
        "many ties": rng.integers(-3, 9, size=size),
        "ties of quarters": np.round(4 * normal) / 4,
        "huge": 1e37 * normal,
        "tiny": 1e-40 * normal,
        "outlier": outlier,
        "geometric": -np.exp2(rng.integers(-90, 90, size=size)),
        "mostly removed": removed,
    }
    return {name: row.astype(np.float32) for name, row in rows.items()}


ROW_KINDS = tuple(rows_of_logits(np.random.default_rng(0), 8))

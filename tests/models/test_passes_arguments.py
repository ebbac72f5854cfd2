"""The C++ kernels of training refuse arrays of another type, shape or layout, in words, and touch nothing then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("nextword._native", reason="the C++ core was not built")

from nextword.native import core

X = np.ones((3, 8), np.float32)
WEIGHT, INVERSE = np.ones(8, np.float32), np.ones(3, np.float32)
FIRST, LAST = np.zeros(3, np.int32), np.full(3, 8, np.int32)
TARGETS = np.array([0, 1, 7])


def rms_norm(**changed: Any) -> None:
    fitting: dict[str, Any] = {"x": X, "weight": WEIGHT, "eps": 1e-5, "out": X.copy(), "inverse": INVERSE.copy()}
    core.rms_norm(**(fitting | changed))


def activate_backward(**changed: Any) -> None:
    fitting: dict[str, Any] = {name: X.copy() for name in ("x", "gated", "grad", "x_grad", "gated_grad")}
    core.activate_backward(**(fitting | {"activation": core.Activation.SILU} | changed))


def rotate(**changed: Any) -> None:
    fitting: dict[str, Any] = {"heads": X, "cosine": np.ones((3, 8), np.float32), "sine": np.ones((3, 8), np.float32)}
    core.rotate(**(fitting | {"num_heads": 1, "is_backward": False, "out": X.copy()} | changed))


def softmax(**changed: Any) -> None:
    fitting: dict[str, Any] = {"scores": X.copy(), "first": FIRST, "last": LAST, "scale": 1.0}
    core.softmax(**(fitting | changed))


def cross_entropy(**changed: Any) -> None:
    fitting: dict[str, Any] = {"logits": X.copy(), "targets": TARGETS, "z_loss": 0.0, "has_grad": True}
    fitting |= {"log_sums": INVERSE.copy(), "target_logits": INVERSE.copy()}
    core.cross_entropy(**(fitting | changed))


@pytest.mark.parametrize("call", [rms_norm, activate_backward, rotate, softmax, cross_entropy])
def test_arrays_that_fit_are_taken(call: Callable[..., None]) -> None:
    call()


@pytest.mark.parametrize(
    ("call", "changed", "message"),
    [
        (rms_norm, {"x": X.astype(np.float64)}, "x has another dtype than float32"),
        (rms_norm, {"weight": WEIGHT.astype(np.uint16)}, "weight has another dtype than float32"),
        (rms_norm, {"x": X.astype(np.uint16)}, "weight has another dtype than uint16, which stands for bfloat16"),
        (rms_norm, {"inverse": INVERSE.astype(np.float64)}, "inverse has another dtype than float32"),
        (activate_backward, {"gated": X.astype(np.int32)}, "gated has another dtype than float32"),
        (softmax, {"first": FIRST.astype(np.int64)}, "first has another dtype than int32"),
        (cross_entropy, {"targets": TARGETS.astype(np.int32)}, "targets has another dtype than int64"),
        (rms_norm, {"x": 140_000_000}, "incompatible function arguments"),
    ],
)
def test_another_dtype_is_a_type_error(call: Callable[..., None], changed: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        call(**changed)


@pytest.mark.parametrize(
    ("call", "changed", "message"),
    [
        (rms_norm, {"weight": WEIGHT[:7]}, "weight has 7 elements instead of 8"),
        (rms_norm, {"out": np.ones((2, 8), np.float32)}, "out has 16 elements instead of 24"),
        (rms_norm, {"x": np.ones((8, 3), np.float32).T}, "x is not contiguous"),
        (rms_norm, {"out": np.ones((3, 16), np.float32)[:, ::2]}, "out is not contiguous"),
        (activate_backward, {"gated": None}, "gated_grad and gated come together"),
        (activate_backward, {"grad": X[:2]}, "grad has 16 elements instead of 24"),
        (rotate, {"num_heads": 2}, "heads are not of that many heads for each token"),
        (rotate, {"num_heads": 0}, "heads are not of that many heads for each token"),
        (rotate, {"cosine": X[:, :7].copy(), "sine": X[:, :7].copy()}, "cosine does not fit the dimensions of a head"),
        (rotate, {"cosine": X[:2], "sine": X[:2]}, "cosine does not divide the tokens"),
        (rotate, {"sine": X[:2]}, "sine has 16 elements instead of 24"),
        (rotate, {"cosine": X[:0], "sine": X[:0]}, "cosine does not divide the tokens"),
        (softmax, {"first": FIRST[:2], "last": LAST[:2]}, "first does not divide the rows of the scores"),
        (softmax, {"last": LAST + 1}, "first and last name no range of keys for a query"),
        (softmax, {"first": FIRST - 1}, "first and last name no range of keys for a query"),
        (cross_entropy, {"targets": TARGETS + 1}, "targets are not all in the vocabulary"),
        (cross_entropy, {"log_sums": INVERSE[:2].copy()}, "log_sums has 2 elements instead of 3"),
    ],
)
def test_another_shape_layout_or_value_is_a_value_error(
    call: Callable[..., None], changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        call(**changed)

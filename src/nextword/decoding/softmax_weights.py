"""`softmax_weights`: the numerators of a softmax as whole numbers, the same on every machine.

In: logits and a temperature. Out: exp((u - max u) / temperature) of each, in units so small that the sum over the
vocabulary just fits the 53 bits of a float64, held in float32; and their sum, which is exact in any order of summation.
Computed in C++ where it was built, else by numpy in the same single operations of IEEE 754 (no product is fused with a
sum, no library's exp is called), so that both give the same bits.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from nextword.native import native

Row = NDArray[np.float32]

LOWEST = np.float32(-64)
"""Exponent below which exp rounds to a weight of 0 in any unit."""

# Those of `scaled_exp` in native/select_impl.h.
ONE_BY_LN_2 = np.float32(float.fromhex("0x1.715476p+0"))
LN_2_HIGH = np.float32(float.fromhex("0x1.63p-1"))  # few bits, so that its products are exact
LN_2_LOW = np.float32(float.fromhex("-0x1.bd0106p-13"))
COEFFICIENTS = tuple(
    np.float32(float.fromhex(digits))
    for digits in ("0x1.6a21acp-10", "0x1.123b6ap-7", "0x1.5558fap-5", "0x1.555490p-3", "0x1.fffffcp-2", "1", "1")
)
"""Coefficients of a polynomial that is e^r for |r| <= ln(2) / 2, the highest power first."""


def softmax_weights(logits: Row, *, highest: float, divisor: float, vocab_size: int) -> tuple[Row, float]:
    """Return the softmax weights of finite logits, (n,), and their sum.

    `highest`: the largest of the logits. `divisor`: the temperature, more than 0. `vocab_size`: the number of weights
    whose sum must fit 53 bits, at least n.
    """
    bits = 53 - vocab_size.bit_length()
    if native is None:
        weights = _weights_by_numpy(logits, np.float32(highest), np.float32(divisor), bits)
        return weights, float(weights.sum(dtype=np.float64))
    weights = np.empty(len(logits), dtype=np.float32)
    return weights, native.softmax_weights(np.ascontiguousarray(logits), highest, divisor, bits, weights)


def log_total(logits: Row, *, highest: float) -> float:
    """Return log sum exp(logits - highest), good to some 1e-7; `highest` is the largest of them, and finite."""
    _, total = softmax_weights(logits, highest=highest, divisor=1.0, vocab_size=len(logits))
    return math.log(total) - (53 - len(logits).bit_length()) * math.log(2.0)


def _weights_by_numpy(logits: Row, highest: np.float32, divisor: np.float32, bits: int) -> Row:
    with np.errstate(over="ignore"):
        x = logits - highest
        if divisor != 1.0:
            x /= divisor
    np.maximum(x, LOWEST, out=x)
    exponent = np.rint(x * ONE_BY_LN_2)
    x -= exponent * LN_2_HIGH
    x -= exponent * LN_2_LOW
    power = np.full_like(x, COEFFICIENTS[0])
    for coefficient in COEFFICIENTS[1:]:
        power *= x
        power += coefficient
    weights: Row = np.ldexp(power, exponent.astype(np.int32) + bits)
    return np.rint(weights, out=weights)

"""`random_numbers`: random numbers that depend on a seed, a sample index and a position, and on nothing else.

In: those three numbers. Out: numbers of 53 random bits. A counter-based generator (Philox 4x64, Salmon et al. 2011) has
no state to carry, so a token's random number is the same alone, in a batch, streamed, or after a restart.
"""

from __future__ import annotations

import os

import numpy as np

RANDOM_BITS = 53
"""Bits of one random number: what a float64 in [0, 1) can hold exactly."""


def random_numbers(seed: int, *, sample_index: int, position: int) -> tuple[int, int]:
    """Return two independent numbers, uniform over 0 .. 2**53 - 1.

    The first samples the token, the second decides whether XTC is applied.

    Args:
        seed: 0 .. 2**64 - 1, one half of the generator's key.
        sample_index: which of the n completions of a prompt, from 0; the other half of the key.
        position: index of the token in its sequence (prompt included); the counter.
    """
    key = np.array([seed, sample_index], dtype=np.uint64)  # a list would pass through float64 and merge large seeds
    generator = np.random.Philox(key=key, counter=[position, 0, 0, 0])
    draw, coin = generator.random_raw(2)
    return int(draw) >> (64 - RANDOM_BITS), int(coin) >> (64 - RANDOM_BITS)


def fresh_seed() -> int:
    """Return a seed from the system's entropy for a call without one; 53 bits, so that JSON carries it exactly."""
    return int.from_bytes(os.urandom(8)) >> (64 - RANDOM_BITS)

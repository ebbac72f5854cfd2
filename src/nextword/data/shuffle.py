"""`shuffled_index`: a shuffle that is a function of seed, epoch and index, so that no state has to be kept.

A Feistel network permutes the numbers of 2k bits; results beyond the size are permuted again until they are below it
(cycle walking). All arithmetic is on integers: every machine and version of a library gives the same order.
"""

from __future__ import annotations

_NUM_ROUNDS = 6
_MASK = (1 << 64) - 1


def shuffled_index(index: int, size: int, *, seed: int, epoch: int) -> int:
    """Return the item at `index` of a shuffle of 0 .. size - 1; each epoch has another order."""
    half = max((size - 1).bit_length() + 1, 2) // 2
    value = index
    while True:
        value = _permute(value, half, mix(seed, epoch))
        if value < size:
            return value


def mix(*numbers: int) -> int:
    """Hash integers into one of 64 bits, each bit of which depends on all of them."""
    state = 0
    for number in numbers:
        state = _scramble((state + number + 0x9E3779B97F4A7C15) & _MASK)
    return state


def _permute(value: int, half: int, key: int) -> int:
    left, right = value >> half, value & ((1 << half) - 1)
    for step in range(_NUM_ROUNDS):
        left, right = right, left ^ (mix(key, step, right) & ((1 << half) - 1))
    return left << half | right


def _scramble(state: int) -> int:
    """Mix 64 bits by the finaliser of SplitMix64 (Steele, Lea and Flood, 2014)."""
    state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    state = (state ^ state >> 27) * 0x94D049BB133111EB & _MASK
    return state ^ state >> 31

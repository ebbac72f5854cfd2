"""`shuffled_index`: a shuffle that is a function of seed, epoch and place, so that nothing has to be remembered of it.

A Feistel network permutes the numbers of 2k bits; those beyond the size walk on until they are below it. All arithmetic
is on whole numbers: every machine and every version of every library gives the same order.
"""

from __future__ import annotations

_NUM_ROUNDS = 6
_MASK = (1 << 64) - 1


def shuffled_index(index: int, size: int, *, seed: int, epoch: int) -> int:
    """What stands at place `index` of 0 .. size - 1 shuffled; each epoch has another order."""
    half = max((size - 1).bit_length() + 1, 2) // 2
    value = index
    while True:
        value = _permute(value, half, mix(seed, epoch))
        if value < size:
            return value


def mix(*numbers: int) -> int:
    """A number of 64 bits in which each bit depends on all of the numbers."""
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
    """The finaliser of SplitMix64 (Steele, Lea and Flood, 2014)."""
    state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    state = (state ^ state >> 27) * 0x94D049BB133111EB & _MASK
    return state ^ state >> 31

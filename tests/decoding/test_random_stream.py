from __future__ import annotations

import numpy as np

from nextword.decoding.random_stream import fresh_seed, random_numbers


def test_philox_gives_the_published_known_answer() -> None:
    # Random123's known-answer test of philox4x64-10: counter and key 0. numpy counts up before it generates.
    words = np.random.Philox(key=[0, 0], counter=[2**64 - 1] * 4).random_raw(4)
    assert [f"{int(word):016x}" for word in words] == [
        "16554d9eca36314c",
        "db20fe9d672d0fdc",
        "d7e772cee186176b",
        "7e68b68aec7ba23b",
    ]


def test_numbers_are_the_same_on_every_machine_and_in_every_version() -> None:
    assert random_numbers(7, sample_index=0, position=0) == (7854939372338495, 2660414844247240)


def test_numbers_depend_on_seed_sample_index_and_position() -> None:
    triples = [(seed, index, position) for seed in range(3) for index in range(3) for position in range(3)]
    drawn = {random_numbers(seed, sample_index=index, position=position) for seed, index, position in triples}
    assert len(drawn) == len(triples)


def test_numbers_of_neighbouring_positions_are_uniform_and_uncorrelated() -> None:
    pairs = np.array([random_numbers(5, sample_index=0, position=position) for position in range(4000)]) / 2**53
    assert np.abs(np.histogram(pairs[:, 0], bins=10, range=(0, 1))[0] / 400 - 1).max() < 0.2  # 4 standard deviations
    assert np.abs(np.histogram(pairs[:, 1], bins=10, range=(0, 1))[0] / 400 - 1).max() < 0.2
    assert abs(np.corrcoef(pairs[:-1, 0], pairs[1:, 0])[0, 1]) < 0.07
    assert abs(np.corrcoef(pairs[:, 0], pairs[:, 1])[0, 1]) < 0.07


def test_fresh_seeds_differ() -> None:
    assert fresh_seed() != fresh_seed()


def test_large_seeds_differ() -> None:
    seeds = [2**63 + 1, 2**63 + 2, 2**64 - 3, 2**64 - 1]
    assert len({random_numbers(seed, sample_index=0, position=0) for seed in seeds}) == len(seeds)

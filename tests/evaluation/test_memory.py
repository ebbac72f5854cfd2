"""Memory that a measurement takes does not depend on how long the text is."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from nextword.data.documents import read_documents
from nextword.evaluation.conventions import CONVENTION_NAMES, ConventionName, choose_convention
from nextword.evaluation.perplexity import measure_perplexity
from nextword.inference.backend import Chunk, TokenScores
from tests.data.byte_tokenizer import byte_tokenizer
from tests.fakes import HashBackend


class Indifferent(HashBackend):
    """Finds every token alike, at no cost."""

    def score(self, chunks: Sequence[Chunk], targets: Sequence[Sequence[int]]) -> list[TokenScores]:
        return [
            TokenScores(
                np.ones(len(of_chunk)),
                np.ones(len(of_chunk)),
                np.ones(len(of_chunk), np.int32),
                np.ones(len(of_chunk), np.int32),
            )
            for of_chunk in targets
        ]


def peak_of(path: Path, name: ConventionName) -> int:
    """Bytes, of measuring the file."""
    convention = choose_convention(name, context=2048, max_seq_len=2048)
    backend = Indifferent(vocab_size=300, max_seq_len=2048)
    tracemalloc.start()
    try:
        measure_perplexity(backend, byte_tokenizer(), documents(path), convention)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def documents(path: Path) -> Iterator:  # type: ignore[type-arg]
    return read_documents([path], longest_piece=1 << 15)


def test_memory_does_not_grow_with_the_text(tmp_path: Path) -> None:
    line = "The river ran past the mill, and on to the sea.\n"
    (tmp_path / "short.txt").write_text(line * 25_000)
    (tmp_path / "long.txt").write_text(line * 100_000)
    for name in CONVENTION_NAMES:
        short, long = (peak_of(tmp_path / f"{length}.txt", name) for length in ("short", "long"))
        assert long < 1.1 * short

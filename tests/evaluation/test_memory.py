"""Memory that a measurement takes does not depend on how long the text is."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest

from nextword.data.documents import Document, read_documents
from nextword.evaluation.conventions import CONVENTION_NAMES, ConventionName, choose_convention
from nextword.evaluation.perplexity import measure_perplexity
from nextword.inference.backend import Chunk, TokenScores
from nextword.inference.engine import Engine
from tests.data.byte_tokenizer import byte_tokenizer
from tests.fakes import HashBackend

LINE = "The river ran past the mill, and on to the sea.\n"


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


def peak_of(documents: Iterable[Document], name: ConventionName) -> int:
    """Bytes, of measuring them, beside what they take themselves."""
    convention = choose_convention(name, context=2048, max_seq_len=2048)
    backend = Indifferent(vocab_size=300, max_seq_len=2048)
    tracemalloc.start()
    try:
        measure_perplexity(Engine(backend, byte_tokenizer()), documents, convention)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.slow
def test_memory_does_not_grow_with_the_text(tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_text(LINE * 25_000)
    (tmp_path / "long.txt").write_text(LINE * 100_000)
    for name in CONVENTION_NAMES:
        short, long = (
            peak_of(read_documents([tmp_path / f"{length}.txt"], longest_piece=1 << 15), name)
            for length in ("short", "long")
        )
        assert long < 1.1 * short


@pytest.mark.slow
def test_a_huge_record_is_not_copied_whole() -> None:
    short, long = (peak_of([Document(LINE * count, Path("text"), 1)], "sliding") for count in (3_000, 12_000))
    assert long < 1.1 * short


@pytest.mark.slow
def test_memory_does_not_grow_with_documents_that_are_too_short_to_score() -> None:
    few, many = (
        peak_of((Document(LINE * (100 if line == 0 else 1), Path("text"), line) for line in range(count)), "llama.cpp")
        for count in (2_000, 8_000)
    )
    assert many < 1.1 * few

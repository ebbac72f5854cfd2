"""Files of many kinds of blocks by llama.cpp's convention: our tokens and our perplexity are llama.cpp's.

Both round activations to 8 bits, each in its own way, so a token's surprisal differs by 0.1 nats; that evens out over
many. Who rounds less is told by float32: PyTorch's, on what the gguf package makes of the same blocks.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("nextword._native")
pytest.importorskip("xllamacpp")
pytest.importorskip("torch")

from benchmarks.gemma import GEMMA

import nextword
from nextword.checkpoints.catalogue import CATALOGUE, is_pulled, model_path
from nextword.inference.backend import BackendName, Weights
from tests.peers.requantize import requantize
from tests.peers.surprisals import beginning_of_text, of_backend, of_llama_cpp

pytestmark = [pytest.mark.slow, pytest.mark.model, pytest.mark.peer]

TOLERANCE = 0.003
"""Of the perplexity."""
NUM_CHUNKS = 24
"""Enough that the random difference of both roundings is 0.0015 of the perplexity."""

Scored = dict[str, npt.NDArray[np.generic]]

SIDES: tuple[tuple[BackendName, Weights], ...] = (("torch", "auto"), ("native", "f32"), ("native", "auto"))

NARROW_KINDS = ("Q5_0", "Q5_1", "Q4_0", "Q8_0", "Q4_1")
WIDE_KINDS = ("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_XS", "IQ4_NL")
"""Kinds for the matrices of SmolLM2's layers in turn: only those with 1,536 columns have whole blocks of 256."""


@pytest.fixture(scope="module")
def smollm2() -> Path:
    """SmolLM2's Q4_1 file."""
    if not is_pulled(CATALOGUE["smollm2-135m"]):
        pytest.skip("smollm2-135m is not in the cache: nextword pull smollm2-135m")
    return model_path(CATALOGUE["smollm2-135m"])


def error_of(nats: npt.NDArray[Any], judge: npt.NDArray[Any]) -> float:
    """Root mean square, in nats for a token."""
    return float(np.sqrt(np.mean((nats - judge) ** 2)))


@pytest.fixture(scope="module")
def mixed(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SmolLM2 with all kinds of blocks in one file."""
    kinds = {}
    for layer in range(30):
        narrow = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up")
        for place, name in enumerate(narrow):
            kinds[f"blk.{layer}.{name}.weight"] = NARROW_KINDS[(layer + place) % len(NARROW_KINDS)]
        kinds[f"blk.{layer}.ffn_down.weight"] = WIDE_KINDS[layer % len(WIDE_KINDS)]
    path = tmp_path_factory.mktemp("mixed") / "mixed.gguf"
    requantize(smollm2, path, kinds)
    return path


@pytest.fixture(scope="module")
def gemma() -> Path:
    """Gemma 3 270M in Q4_K_M."""
    if not GEMMA.exists():
        pytest.skip('Gemma is not here: python -m benchmarks.inference --workloads "270M Q4_K_M" fetches it')
    return GEMMA


@pytest.fixture(scope="module", params=["mixed", "gemma"])
def scored(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Scored]:
    """A file of several kinds of blocks, and what llama.cpp makes of a text with it."""
    path: Path = request.getfixturevalue(request.param)
    folder = tmp_path_factory.mktemp("llama_cpp")
    return path, of_llama_cpp(path, beginning_of_text(NUM_CHUNKS), folder, num_chunks=NUM_CHUNKS)


def test_tokens_and_perplexity_are_those_of_llama_cpp(smollm2: Path, tmp_path: Path) -> None:
    text = beginning_of_text(8)
    compare_with_llama_cpp(smollm2, text, of_llama_cpp(smollm2, text, tmp_path, num_chunks=8))


def test_so_they_are_with_several_kinds_in_one_file(scored: tuple[Path, Scored]) -> None:
    compare_with_llama_cpp(scored[0], beginning_of_text(NUM_CHUNKS), scored[1])


def compare_with_llama_cpp(path: Path, text: str, theirs: Scored) -> None:
    """Same tokens of the text, and the same perplexity of its chunks."""
    ours = nextword.load(path, backend="native", num_threads=2)
    assert ours.tokenizer.encode(text) == theirs["token_ids"].tolist()
    nats = of_backend(ours.engine.backend, theirs["chunks"])
    assert abs(float(np.exp(nats.mean() - theirs["nats"].mean())) - 1) < TOLERANCE


def test_several_kinds_in_one_file_are_nearer_to_float32_than_llama_cpp(scored: tuple[Path, Scored]) -> None:
    """Ours are exactly the file's values; with rounded activations ours are the nearer ones, and without a bias."""
    path, theirs = scored
    chunks = theirs["chunks"][:2]
    judge, exact, ours = (
        of_backend(nextword.load(path, backend=backend, weights=weights).engine.backend, chunks)
        for backend, weights in SIDES
    )
    assert error_of(exact, judge) < 1e-4
    assert error_of(ours, judge) < error_of(theirs["nats"][: len(judge)], judge)
    by_chance = error_of(ours, judge) / len(judge) ** 0.5
    assert abs(ours.mean() - judge.mean()) < 3 * by_chance

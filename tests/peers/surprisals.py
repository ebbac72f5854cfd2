"""Surprisals of a text in nats by llama-perplexity's convention: llama.cpp's, and those of a backend of ours.

The text is cut into chunks of 512 tokens, and the second half of each is scored with the first as context. Where texts
begin with BOS, it takes the place of each chunk's first token.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from nextword.inference.backend import Backend, Chunk

ROOT = Path(__file__).parents[2]
TEXT = ROOT / ".." / "shared" / "data" / "wikitext2-valid.txt"
CHARACTERS_IN_CHUNK = 512 * 5


def beginning_of_text(num_chunks: int) -> str:
    """A little more than so many chunks of WikiText-2; skips the test where it is not here."""
    if not TEXT.exists():
        pytest.skip("../shared/data/wikitext2-valid.txt is not here")
    return TEXT.read_text(encoding="utf-8")[: num_chunks * CHARACTERS_IN_CHUNK]


def of_llama_cpp(path: Path, text: str, folder: Path, *, num_chunks: int) -> dict[str, npt.NDArray[np.generic]]:
    """Return llama.cpp's token_ids of the whole text, the chunks, and the nats of what it scores of them."""
    (folder / "text.txt").write_text(text, encoding="utf-8")
    arguments = [str(path), str(folder / "text.txt"), str(folder / "out.npz"), str(num_chunks)]
    command = [sys.executable, "-m", "tests.peers.run_llama_cpp", *arguments]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    return dict(np.load(folder / "out.npz"))


def of_backend(backend: Backend, chunks: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
    """Score the second half of each chunk but its first token, whose logits llama.cpp leaves out."""
    return np.concatenate([_of_chunk(backend, chunk) for chunk in chunks.tolist()])


def _of_chunk(backend: Backend, chunk: list[int]) -> npt.NDArray[np.float64]:
    cache_id = backend.open_cache()
    middle = len(chunk) // 2
    backend.step([Chunk(cache_id, chunk[:middle], 0)])
    (scores,) = backend.score([Chunk(cache_id, chunk[middle:-1], len(chunk) - middle - 1)], [chunk[middle + 1 :]])
    backend.close_cache(cache_id)
    return scores.nats

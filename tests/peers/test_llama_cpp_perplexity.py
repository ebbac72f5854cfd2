"""SmolLM2's Q4_1 file by llama.cpp's convention: our tokens and our perplexity of a text are llama.cpp's.

The text is cut into chunks of 512 tokens, and the second half of each is scored with the first as context. Both round
activations to 8 bits, each in its own way, so a token's surprisal differs by 0.1 nats; that evens out over many.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("nextword._native")
pytest.importorskip("xllamacpp")

import nextword
from nextword.checkpoints.catalogue import CATALOGUE, is_pulled, model_path
from nextword.inference.backend import Backend, Chunk
from nextword.language_model import LanguageModel
from tests.peers.run_llama_cpp import CHUNK

pytestmark = [pytest.mark.slow, pytest.mark.model, pytest.mark.peer]

ROOT = Path(__file__).parents[2]
TEXT = ROOT / ".." / "shared" / "data" / "wikitext2-valid.txt"
NUM_CHUNKS = 8
TOLERANCE = 0.003
"""Of the perplexity."""


@pytest.fixture(scope="module")
def text() -> str:
    """The beginning of the file, of a little more than so many chunks."""
    if not TEXT.exists():
        pytest.skip("../shared/data/wikitext2-valid.txt is not here")
    return TEXT.read_text(encoding="utf-8")[: NUM_CHUNKS * CHUNK * 5]


@pytest.fixture(scope="module")
def theirs(text: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, npt.NDArray[np.generic]]:
    """llama.cpp's token ids, and the surprisals of those that it scores."""
    if not is_pulled(CATALOGUE["smollm2-135m"]):
        pytest.skip("smollm2-135m is not in the cache: nextword pull smollm2-135m")
    folder = tmp_path_factory.mktemp("llama_cpp")
    (folder / "text.txt").write_text(text, encoding="utf-8")
    path = model_path(CATALOGUE["smollm2-135m"])
    arguments = [str(path), str(folder / "text.txt"), str(folder / "out.npz"), str(NUM_CHUNKS)]
    command = [sys.executable, "-m", "tests.peers.run_llama_cpp", *arguments]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    return dict(np.load(folder / "out.npz"))


@pytest.fixture(scope="module")
def ours(theirs: object) -> LanguageModel:
    return nextword.load("smollm2-135m", backend="native", num_threads=2)


def scored(backend: Backend, chunk: list[int]) -> npt.NDArray[np.float64]:
    """The surprisals of the second half of a chunk but its first token, whose logits llama.cpp leaves out."""
    cache_id = backend.open_cache()
    middle = len(chunk) // 2
    backend.step([Chunk(cache_id, chunk[:middle], 0)])
    (scores,) = backend.score([Chunk(cache_id, chunk[middle:-1], len(chunk) - middle - 1)], [chunk[middle + 1 :]])
    backend.close_cache(cache_id)
    return scores.nats


def test_tokens_of_a_text_are_those_of_llama_cpp(
    ours: LanguageModel, theirs: dict[str, npt.NDArray[np.generic]], text: str
) -> None:
    assert ours.tokenizer.encode(text) == theirs["token_ids"].tolist()


def test_perplexity_is_that_of_llama_cpp(ours: LanguageModel, theirs: dict[str, npt.NDArray[np.generic]]) -> None:
    token_ids = theirs["token_ids"].tolist()
    chunks = [token_ids[start : start + CHUNK] for start in range(0, NUM_CHUNKS * CHUNK, CHUNK)]
    nats = np.concatenate([scored(ours.engine.backend, chunk) for chunk in chunks])
    assert nats.shape == theirs["nats"].shape
    assert abs(float(np.exp(nats.mean() - theirs["nats"].mean())) - 1) < TOLERANCE

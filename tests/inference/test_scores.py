"""`Backend.score`: of each backend, what its own logits say, written out in float64."""

from __future__ import annotations

import numpy as np
import pytest

from nextword.inference.backend import Backend, Chunk, TokenScores
from nextword.models.build import build_transformer
from tests.fakes import score_rows
from tests.inference.native import CONFIG, native, random_weights

torch = pytest.importorskip("torch")
FIELDS = ("nats", "entropies", "ranks", "largest")


@pytest.fixture(params=["native", "torch"])
def backend(request: pytest.FixtureRequest) -> Backend:
    if request.param == "native":
        return native()
    from nextword.inference.torch_backend import TorchBackend

    return TorchBackend(build_transformer(CONFIG, random_weights(CONFIG)))


def texts() -> list[list[int]]:
    random = np.random.default_rng(3)
    return [random.integers(CONFIG.vocab_size, size=length).tolist() for length in (390, 7)]


def test_scores_are_those_of_the_logits(backend: Backend) -> None:
    chunks = [Chunk(backend.open_cache(), text, count) for text, count in zip(texts(), (350, 7), strict=True)]
    targets = [[(7 * i) % CONFIG.vocab_size for i in range(chunk.num_logits)] for chunk in chunks]
    scores = backend.score(chunks, targets)
    again = [Chunk(backend.open_cache(), chunk.token_ids, chunk.num_logits) for chunk in chunks]
    for found, logits, of_chunk in zip(scores, backend.step(again), targets, strict=True):
        expected = score_rows(logits, of_chunk)
        np.testing.assert_allclose(found.nats, expected.nats, rtol=2e-6)
        np.testing.assert_allclose(found.entropies, expected.entropies, rtol=2e-6)
        np.testing.assert_array_equal(found.largest, expected.largest)
        assert (found.ranks != expected.ranks).mean() < 0.01  # where rounding makes a tie


def test_a_text_goes_on_after_it_was_scored(backend: Backend) -> None:
    text = texts()[0]
    whole, parted = backend.open_cache(), backend.open_cache()
    (expected,) = backend.score([Chunk(whole, text[:-1], 100)], [text[-100:]])
    backend.score([Chunk(parted, text[:-51], 1)], [[text[-51]]])
    (found,) = backend.score([Chunk(parted, text[-51:-1], 50)], [text[-50:]])
    assert isinstance(found, TokenScores)
    np.testing.assert_allclose(found.nats, expected.nats[50:], rtol=1e-5)
    assert backend.cache_length(parted) == len(text) - 1


def test_equal_logits_rank_by_token_id() -> None:
    from nextword.inference.torch_backend import _score_rows

    columns = _score_rows(torch.tensor([[1.0, 2.0, 1.0, 2.0]] * 4), torch.tensor([1, 3, 0, 2]))
    assert columns[2].tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_row_that_is_no_distribution_has_no_score(bad: float) -> None:
    from nextword.inference.torch_backend import _score_rows

    nats, entropies, *_ = _score_rows(torch.tensor([[1.0, bad]]), torch.tensor([0]))
    assert bool(nats.isnan().all())
    assert bool(entropies.isnan().all())

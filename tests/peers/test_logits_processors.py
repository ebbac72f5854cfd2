"""Our chain beside transformers' own logits processors, on the same random logits.

Equal sets, and equal probabilities to float32's accuracy. The seeds are fixed: in a rare row the edge of a
mass falls within the rounding of transformers' float32 sums, and the sets may then differ by the token on that edge.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from nextword.decoding.distribution import Distribution
from nextword.decoding.params import SamplingParams
from nextword.decoding.processors import penalized_logits, processed_distribution, seen_tokens

torch = pytest.importorskip("torch")
processors = pytest.importorskip("transformers.generation.logits_process")
pytestmark = pytest.mark.peer

VOCAB_SIZE = 2000
ROWS = [
    np.random.default_rng(seed).normal(scale=scale, size=VOCAB_SIZE).astype(np.float32)
    for seed in range(8)
    for scale in (1.0, 2.5, 6.0)
]
PROMPT = [3, 14, 15, 92, 65, 3, 14]
OUTPUT = [15, 3, 14, 500, 3]


def transformers_scores(row: NDArray[np.float32], chain: list[object]) -> NDArray[np.float64]:
    """What transformers' chain makes of the row."""
    scores = torch.from_numpy(row.copy())[None]
    token_ids = torch.tensor([[*PROMPT, *OUTPUT]])
    for processor in chain:
        scores = processor(token_ids, scores)  # type: ignore[operator]
    return scores[0].double().numpy()  # type: ignore[no-any-return]


def softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    return torch.softmax(torch.from_numpy(scores), dim=-1).numpy()  # type: ignore[no-any-return]


TRUNCATIONS: dict[str, tuple[Callable[[Distribution], Distribution], Callable[[], object]]] = {
    "temperature": (lambda d: d.temperature(0.7), lambda: processors.TemperatureLogitsWarper(0.7)),
    "top-k": (lambda d: d.top_k(40), lambda: processors.TopKLogitsWarper(40)),
    "top-p 0.9": (lambda d: d.top_p(0.9), lambda: processors.TopPLogitsWarper(0.9)),
    "top-p 0.3": (lambda d: d.top_p(0.3), lambda: processors.TopPLogitsWarper(0.3)),
    "min-p": (lambda d: d.min_p(0.05), lambda: processors.MinPLogitsWarper(0.05)),
    "typical": (lambda d: d.typical(0.8), lambda: processors.TypicalLogitsWarper(0.8)),
    "epsilon": (lambda d: d.epsilon(0.002), lambda: processors.EpsilonLogitsWarper(0.002)),
    "eta": (lambda d: d.eta(0.002), lambda: processors.EtaLogitsWarper(0.002)),
}


@pytest.mark.parametrize("name", list(TRUNCATIONS))
@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"std {row.std():.1f}")
def test_each_truncation_agrees(name: str, row: NDArray[np.float32]) -> None:
    ours, theirs = TRUNCATIONS[name]
    assert_same(ours(Distribution.from_logits(row)), transformers_scores(row, [theirs()]))


def assert_same(ours: Distribution, scores: NDArray[np.float64]) -> None:
    np.testing.assert_array_equal(ours.token_ids, np.flatnonzero(scores > -np.inf))
    np.testing.assert_allclose(ours.probabilities(), softmax(scores), rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("order", ["nextword", "transformers"])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"std {row.std():.1f}")
def test_the_whole_chain_agrees(row: NDArray[np.float32], order: str) -> None:
    params = SamplingParams(
        logit_bias={7: 2.0, 9: -3.0}, repetition_penalty=1.3, no_repeat_ngram_size=2, temperature=0.8, top_k=100,
        top_p=0.95, min_p=0.01, typical_p=0.95, epsilon_cutoff=0.001, eta_cutoff=0.002, order=order,  # type: ignore[arg-type]
    )  # fmt: skip
    chain = [
        processors.SequenceBiasLogitsProcessor({(7,): 2.0, (9,): -3.0}),
        processors.RepetitionPenaltyLogitsProcessor(1.3),
        processors.NoRepeatNGramLogitsProcessor(2),
        processors.TemperatureLogitsWarper(0.8),
        processors.TopKLogitsWarper(100),
        processors.TopPLogitsWarper(0.95),
        processors.MinPLogitsWarper(0.01),
        processors.TypicalLogitsWarper(0.95),
        processors.EpsilonLogitsWarper(0.001),
        processors.EtaLogitsWarper(0.002),
    ]
    seen = seen_tokens(PROMPT, params)
    for token_id in OUTPUT:
        seen.append(token_id)
    assert_same(processed_distribution(row, params, seen), transformers_scores(row, chain))


PENALTIES: dict[str, tuple[SamplingParams, Callable[[], object]]] = {
    "repetition": (
        SamplingParams(repetition_penalty=1.7),
        lambda: processors.RepetitionPenaltyLogitsProcessor(1.7),
    ),
    "repetition below 1": (
        SamplingParams(repetition_penalty=0.6),
        lambda: processors.RepetitionPenaltyLogitsProcessor(0.6),
    ),
    "no repeated 2-gram": (SamplingParams(no_repeat_ngram_size=2), lambda: processors.NoRepeatNGramLogitsProcessor(2)),
    "no repeated 3-gram": (SamplingParams(no_repeat_ngram_size=3), lambda: processors.NoRepeatNGramLogitsProcessor(3)),
    "min tokens, not reached": (
        SamplingParams(min_tokens=6),
        lambda: processors.MinNewTokensLengthLogitsProcessor(len(PROMPT), 6, [1, 2]),
    ),
    "min tokens, reached": (
        SamplingParams(min_tokens=5),
        lambda: processors.MinNewTokensLengthLogitsProcessor(len(PROMPT), 5, [1, 2]),
    ),
    "bias": (SamplingParams(logit_bias={3: 2.5}), lambda: processors.SequenceBiasLogitsProcessor({(3,): 2.5})),
}


@pytest.mark.parametrize("name", list(PENALTIES))
def test_each_penalty_agrees(name: str) -> None:
    params, theirs = PENALTIES[name]
    seen = seen_tokens(PROMPT, params)
    for token_id in OUTPUT:
        seen.append(token_id)
    for row in ROWS:
        ours = penalized_logits(row, params, seen, end_token_ids=(1, 2))
        np.testing.assert_allclose(ours, transformers_scores(row, [theirs()]), rtol=1e-6)


def test_with_ties_top_k_keeps_exactly_k_where_transformers_keeps_them_all() -> None:
    row = np.array([1, 2, 2, 2, 0], dtype=np.float32)
    theirs = np.flatnonzero(transformers_scores(row, [processors.TopKLogitsWarper(2)]) > -np.inf)
    assert theirs.tolist() == [1, 2, 3]
    assert Distribution.from_logits(row).top_k(2).token_ids.tolist() == [1, 2]

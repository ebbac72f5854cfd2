"""Classifier-free guidance against transformers' on the same weights: the same texts, and log-probabilities."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from nextword.decoding.guidance import away_from, contrasted  # noqa: E402
from nextword.decoding.params import SamplingParams  # noqa: E402
from nextword.inference.engine import Engine  # noqa: E402
from tests.peers.test_beam_search import PROMPTS, VOCAB_SIZE, engine, theirs  # noqa: E402, F401

pytestmark = pytest.mark.peer


@pytest.mark.parametrize("negative", [None, [8, 2], [30, 31, 3, 3, 9, 12, 4]])
@pytest.mark.parametrize("scale", [0.0, 0.5, 1.5, 3.0])
def test_greedy_texts_and_their_scores_are_theirs(
    theirs: Any,  # noqa: F811
    engine: Engine,  # noqa: F811
    scale: float,
    negative: list[int] | None,
) -> None:
    for prompt in PROMPTS:
        params = SamplingParams(temperature=0.0, max_tokens=12, guidance_scale=scale, logprobs=0)
        request = engine.submit(prompt, params, end_token_ids=(1,), negative_prompt=negative)
        engine.run([request])
        text, scores = expected(theirs, prompt, scale, negative)
        assert request.sequences[0].token_ids == text
        assert [token.log_prob for token in request.sequences[0].tokens] == pytest.approx(scores, abs=1e-4)


def expected(model: Any, prompt: list[int], scale: float, negative: list[int] | None) -> tuple[list[int], list[float]]:
    """Their greedy text, and the log-probabilities of its tokens after guidance."""
    token_ids = torch.tensor([prompt])
    with torch.inference_mode():
        result = model.generate(
            token_ids,
            attention_mask=torch.ones_like(token_ids),
            do_sample=False,
            max_new_tokens=12,
            eos_token_id=1,
            pad_token_id=0,
            guidance_scale=scale,
            negative_prompt_ids=None if negative is None else torch.tensor([negative]),
            return_dict_in_generate=True,
            output_scores=True,
        )
    text = result.sequences[0, len(prompt) :].tolist()
    scores = [float(row[0].log_softmax(-1)[token]) for row, token in zip(result.scores, text, strict=True)]
    return text, scores


def test_guidance_is_that_of_their_processor() -> None:
    processors = transformers.generation.logits_process
    for seed in range(20):
        logits, other = np.random.default_rng(seed).normal(scale=4, size=(2, VOCAB_SIZE)).astype(np.float32)
        processor = processors.UnbatchedClassifierFreeGuidanceLogitsProcessor(1.7, None)
        processor.get_unconditional_logits = lambda token_ids, row=other: torch.from_numpy(row)[None, None]
        wanted = processor(torch.zeros(1, 1), torch.from_numpy(logits)[None])[0]
        np.testing.assert_allclose(away_from(logits, other, scale=1.7), wanted.numpy(), atol=1e-5)


def test_contrast_is_the_definition_of_its_paper() -> None:
    for seed in range(20):
        logits, other = np.random.default_rng(seed).normal(scale=4, size=(2, VOCAB_SIZE)).astype(np.float32)
        expert, amateur = torch.from_numpy(logits).softmax(0), (torch.from_numpy(other) / 0.5).softmax(0)
        wanted = torch.where(expert < 0.1 * expert.max(), -math.inf, (expert / amateur).log())
        found = contrasted(logits, other, alpha=0.1, temperature=0.5)
        np.testing.assert_allclose(found, wanted.numpy(), atol=1e-4)

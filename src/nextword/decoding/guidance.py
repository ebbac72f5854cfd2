"""Guidance: the logits of a model and those of a guide in, the logits of the guided model out.

A guide is the same model after another prompt (classifier-free guidance, Sanchez et al. 2023) or a weaker model after
the same one (contrastive decoding, Li et al. 2023). What it would say, too, counts less.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from nextword.decoding.log_softmax import log_normalizers, log_softmax
from nextword.decoding.params import SamplingParams

Row = NDArray[np.float32]
Guidance = Callable[[Row, Row], Row]
"""Function of the logits of the model and of the guide, each (V,), that gives those of the guided model, (V,)."""


def away_from(logits: Row, unconditional: Row, *, scale: float) -> Row:
    """Return ln Q + scale * (ln P - ln Q), with P after the prompt, and Q after the guide's; scale 1 gives ln P."""
    log_probs, others = _log_probs(logits), _log_probs(unconditional)
    with np.errstate(invalid="ignore"):  # the sampler refuses what is not finite
        return (others + scale * (log_probs - others)).astype(np.float32)


def contrasted(logits: Row, amateur: Row, *, alpha: float, temperature: float) -> Row:
    """Return ln P - ln A of the tokens that are at least `alpha` times as probable as the first; -inf for the others.

    `amateur`: logits of the weaker model, which are divided by `temperature`; it may have fewer or more tokens of
    padding at the end of its vocabulary than the model.
    """
    log_probs = _log_probs(logits)
    others = log_softmax(amateur, temperature=temperature)[: len(logits)]
    scores = np.full(len(logits), -np.inf, dtype=np.float32)
    plausible = np.flatnonzero(log_probs[: len(others)] >= math.log(alpha) + log_probs.max())
    scores[plausible] = log_probs[plausible] - others[plausible]
    return scores


def guidance_of(params: SamplingParams) -> Guidance | None:
    """Return how a guide changes the logits; None if these parameters ask for none."""
    if params.contrastive_alpha > 0.0:
        alpha, temperature = params.contrastive_alpha, params.amateur_temperature
        return lambda logits, amateur: contrasted(logits, amateur, alpha=alpha, temperature=temperature)
    if params.guidance_scale != 1.0:
        return lambda logits, unconditional: away_from(logits, unconditional, scale=params.guidance_scale)
    return None


def _log_probs(logits: Row) -> NDArray[np.float64]:
    log_probs: NDArray[np.float64] = logits.astype(np.float64) - log_normalizers(logits[None])[0]
    return log_probs

"""`processed_distribution`: the chain from a model's logits to the distribution that the next token is drawn from.

In: one row of logits, the parameters, the tokens seen. Out: a `Distribution`. Each penalty is a small pure function
(tokens, logits) -> logits; `processed_distribution` is the one place where they, the temperature and the truncations
are put in order. Knows nothing of text, stop strings or models.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from nextword.decoding.biases import Biases
from nextword.decoding.distribution import Distribution
from nextword.decoding.mask import Mask, unpacked
from nextword.decoding.params import ProcessorOrder, SamplingParams
from nextword.decoding.random_stream import RANDOM_BITS
from nextword.decoding.seen_tokens import SeenTokens, TokenCounts
from nextword.errors import RequestError
from nextword.native import native

Logits = NDArray[np.float32]
TextOfToken = Callable[[int], str]

# Each of these returns new logits, shape (vocab_size,), and leaves those it was given as they are.


def keep_allowed(logits: Logits, mask: Mask) -> Logits:
    """Set the logits of all but the tokens that a mask allows to -inf, which removes them."""
    if native is None or logits.dtype != np.float32 or not logits.flags.c_contiguous:
        return np.where(unpacked(mask, logits.size), logits, np.float32(-np.inf))
    kept = np.empty_like(logits)
    native.keep_allowed(logits, mask, kept)  # many times faster than numpy's loop
    return kept


def add_logit_bias(logits: Logits, biases: Biases) -> Logits:
    """Add to the logits of some tokens. Raises RequestError for a token id outside the vocabulary."""
    largest = int(biases.token_ids.max(initial=0))
    if largest >= logits.size:
        raise RequestError(f"logit_bias for token id {largest}: the vocabulary ends at {logits.size - 1}")
    biased = logits.copy()
    biased[biases.token_ids] += biases.values
    return biased


def penalize_repetition(logits: Logits, seen: TokenCounts, penalty: float) -> Logits:
    """Divide positive and multiply negative logits of the seen tokens by `penalty` (CTRL, Keskar et al. 2019)."""
    penalized = logits.copy()
    of_seen = logits[seen.token_ids]
    factor = np.float32(penalty)
    penalized[seen.token_ids] = np.where(of_seen > 0, of_seen / factor, of_seen * factor)
    return penalized


def penalize_presence_and_frequency(
    logits: Logits, output: TokenCounts, *, presence: float, frequency: float
) -> Logits:
    """Subtract `presence` once and `frequency` for each occurrence from logits of output tokens (as OpenAI does)."""
    penalized = logits.copy()
    penalized[output.token_ids] -= np.float32(presence) + np.float32(frequency) * output.counts
    return penalized


def penalize_repeated_sequences(
    logits: Logits, lengths: Mapping[int, int], *, multiplier: float, base: float, allowed_length: int
) -> Logits:
    """Subtract multiplier * base ** (length - allowed_length) from tokens that would prolong a repetition (DRY).

    `lengths`: token id -> length of the longest repetition that it would prolong, at least the allowed one.
    """
    if not lengths:
        return logits
    excess = np.array([length - allowed_length for length in lengths.values()], dtype=np.float64)
    largest = math.log(_LARGEST_PENALTY / max(multiplier, 1.0)) / math.log(base) if base > 1.0 else math.inf
    penalized = logits.copy()
    penalized[list(lengths)] -= (multiplier * base ** np.minimum(excess, largest)).astype(np.float32)
    return penalized


_LARGEST_PENALTY = 1e30
"""Maximum that DRY subtracts: short of infinity, which would forbid a token."""


def forbid(logits: Logits, token_ids: Collection[int]) -> Logits:
    """Set the logits of some tokens to -inf, which removes them; ids outside the vocabulary are ignored."""
    allowed = logits.copy()
    allowed[[token_id for token_id in token_ids if token_id < logits.size]] = -np.inf
    return allowed


def seen_tokens(
    prompt_token_ids: Iterable[int], params: SamplingParams, *, breakers: Collection[int] = ()
) -> SeenTokens:
    """Return the memory that `processed_distribution` needs for a sequence with these parameters.

    `breakers`: tokens across which DRY sees no repetition.
    """
    return SeenTokens(
        prompt_token_ids,
        count_all=params.repetition_penalty != 1.0,
        count_output=params.presence_penalty != 0.0 or params.frequency_penalty != 0.0,
        ngram_size=params.no_repeat_ngram_size,
        repetition_window=params.dry_range if params.dry_multiplier > 0.0 else 0,
        breakers=breakers,
    )


def penalized_logits(
    logits: Logits, params: SamplingParams, seen: SeenTokens, *, end_token_ids: Collection[int] = ()
) -> Logits:
    """Return the logits after bias, penalties and bans; the very array given if none of them applies.

    `end_token_ids` are the tokens that end a text: forbidden until `params.min_tokens` tokens are generated.
    """
    if params.logit_bias:
        logits = add_logit_bias(logits, params.biases)
    if seen.all is not None:
        logits = penalize_repetition(logits, seen.all, params.repetition_penalty)
    if seen.output is not None:
        penalties = {"presence": params.presence_penalty, "frequency": params.frequency_penalty}
        logits = penalize_presence_and_frequency(logits, seen.output, **penalties)
    if seen.repetitions is not None:
        logits = penalize_repeated_sequences(
            logits,
            seen.repetitions.lengths(params.dry_allowed_length),
            multiplier=params.dry_multiplier,
            base=params.dry_base,
            allowed_length=params.dry_allowed_length,
        )
    if seen.ngrams is not None and (repeating := seen.ngrams.repeating()):
        logits = forbid(logits, repeating)
    if seen.num_output < params.min_tokens:
        logits = forbid(logits, [*end_token_ids, *params.stop_token_ids])
    return logits


STEPS: Mapping[str, Callable[[Distribution, SamplingParams], Distribution]] = {
    "temperature": lambda distribution, params: distribution.temperature(params.temperature),
    "dynatemp_range": lambda distribution, params: distribution.dynamic_temperature(
        max(params.temperature - params.dynatemp_range, 0.0),
        params.temperature + params.dynatemp_range,
        exponent=params.dynatemp_exponent,
    ),
    "top_k": lambda distribution, params: distribution.top_k(params.top_k),
    "top_p": lambda distribution, params: distribution.top_p(params.top_p),
    "min_p": lambda distribution, params: distribution.min_p(params.min_p),
    "typical_p": lambda distribution, params: distribution.typical(params.typical_p),
    "epsilon_cutoff": lambda distribution, params: distribution.epsilon(params.epsilon_cutoff),
    "eta_cutoff": lambda distribution, params: distribution.eta(params.eta_cutoff),
    "top_n_sigma": lambda distribution, params: distribution.top_n_sigma(params.top_n_sigma),
    "p_less": lambda distribution, params: distribution.p_less(),
    "xtc_threshold": lambda distribution, params: distribution.xtc(params.xtc_threshold),
}
"""Steps that reshape or truncate a distribution, by the name of their parameter."""


def _order(*first: str, last: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return all steps: the named ones in the program's order, between them those that it does not have."""
    return (*first, *(name for name in STEPS if name not in (*first, *last)), *last)


ORDERS: Mapping[ProcessorOrder, tuple[str, ...]] = {
    "nextword": _order(),
    "transformers": _order(),
    "vllm": _order("temperature", "dynatemp_range", "min_p", "top_k", "top_p"),
    "llama.cpp": _order(
        *("top_n_sigma", "top_k", "typical_p", "top_p", "min_p"),
        last=("xtc_threshold", "temperature", "dynatemp_range"),
    ),
}
"""The steps in the order of each program."""


def active_steps(params: SamplingParams) -> tuple[str, ...]:
    """Return the names of the steps that these parameters switch on, in order.

    For greedy decoding that is the temperature alone; mirostat stands in place of all truncations.
    """
    if params.is_greedy:
        return ("temperature",)
    off = {name: getattr(_ALL_OFF, name) for name in STEPS if name != "xtc_threshold"}
    active = {name for name, value in off.items() if getattr(params, name) != value}
    if params.xtc_probability > 0.0:
        active.add("xtc_threshold")
    if params.mirostat_tau > 0.0:
        active &= {"temperature", "dynatemp_range"}
    if params.dynatemp_range > 0.0:
        active.discard("temperature")
    return tuple(name for name in ORDERS[params.order] if name in active)


_ALL_OFF = SamplingParams()


def stages(
    distribution: Distribution, params: SamplingParams, *, coin: int | None = None
) -> Iterator[tuple[str, Distribution]]:
    """Yield each active step's name with the distribution that it leaves.

    `coin`: a number uniform over 0 .. 2**53 - 1, which decides whether XTC is done this time; None: it is done.
    """
    for name in active_steps(params):
        if name == "xtc_threshold" and coin is not None and coin >= params.xtc_probability * 2**RANDOM_BITS:
            continue
        distribution = STEPS[name](distribution, params)
        yield name, distribution


def processed_distribution(
    logits: Logits,
    params: SamplingParams,
    seen: SeenTokens,
    *,
    end_token_ids: Collection[int] = (),
    coin: int | None = None,
    token_text: TextOfToken | None = None,
) -> Distribution:
    """Return the distribution that the next token is drawn from: logits (vocab_size,) through the whole chain.

    The logits are left as they are. Raises RequestError if a logit is NaN or +inf, or if no token is allowed.
    """
    logits = penalized_logits(logits, params, seen, end_token_ids=end_token_ids)
    distribution = Distribution.from_logits(logits, token_text=token_text)
    for _, processed in stages(distribution, params, coin=coin):
        distribution = processed
    return distribution

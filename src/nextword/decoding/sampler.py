"""`Sampler`: chooses the tokens of one sequence. Logits in, chosen token out.

It holds what a sequence carries from token to token (the tokens that penalties count, the position in the random
stream) and nothing else: not the text, the model, or when to stop.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import math
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nextword.decoding.distribution import SMALLEST_TEMPERATURE, Distribution
from nextword.decoding.mask import Mask
from nextword.decoding.params import SamplingParams
from nextword.decoding.processors import (
    Logits,
    TextOfToken,
    active_steps,
    keep_allowed,
    penalized_logits,
    processed_distribution,
    seen_tokens,
    stages,
)
from nextword.decoding.random_stream import fresh_seed, random_numbers
from nextword.decoding.softmax_weights import log_total
from nextword.errors import RequestError
from nextword.native import native

if TYPE_CHECKING:
    from nextword.decoding.grammar import Matcher


@dataclasses.dataclass(frozen=True)
class ChosenToken:
    """A token with its reported log-probabilities."""

    token_id: int
    """Id in the vocabulary."""
    log_prob: float | None = None
    """Natural logarithm of its probability; None if log-probabilities were not asked for."""
    alternatives: tuple[tuple[int, float], ...] = ()
    """The most probable tokens, best first, with log-probabilities; the token itself comes last if not among them."""


class PlainDraw(NamedTuple):
    """Logits and settings of a token that temperature, top-k and top-p alone choose."""

    logits: Logits
    """After bias, penalties and bans, (vocab_size,)."""
    setting: tuple[float, int, float, int, int, int]
    """Temperature (0: the largest logit is taken), top-k, top-p; seed, sample index, position."""


class Sampler:
    """Chooses the tokens of one sequence.

    The choice depends on the logits, the parameters, the previous tokens, the seed and the sample index, and on nothing
    else: not on the batch, the order of requests, or streaming.
    """

    def __init__(
        self,
        params: SamplingParams,
        prompt_token_ids: Sequence[int],
        *,
        end_token_ids: Collection[int] = (),
        breakers: Collection[int] = (),
        sample_index: int = 0,
        seed: int | None = None,
        matcher: Matcher | None = None,
    ) -> None:
        """Start after a prompt.

        Args:
            params: what the request asks for.
            prompt_token_ids: without padding.
            end_token_ids: the model's end-of-sequence tokens.
            breakers: tokens across which DRY sees no repetition.
            sample_index: which of the request's n completions this is, from 0.
            seed: in place of `params.seed`, for a request that has none: its n samples share one. None, and no seed in
                the parameters: a fresh one.
            matcher: of the form that the text must have; None: any.
        """
        self.params = params
        self.seed = params.seed if params.seed is not None else fresh_seed() if seed is None else seed
        self.sample_index = sample_index
        self.position = len(prompt_token_ids)
        self._end_token_ids = end_token_ids
        self._seen = seen_tokens(prompt_token_ids, params, breakers=breakers)
        self._matcher = matcher
        self._most_bits = 2 * params.mirostat_tau
        """Mirostat's bound of the next token's surprisal, in bits."""
        self._has_mirostat = params.mirostat_tau > 0.0 and not params.is_greedy
        self._is_plain = params.logprobs is None and not self._has_mirostat and _is_plain(active_steps(params))

    def copy(self) -> Sampler:
        """Return a sampler of the same text so far; both go on independently."""
        copied = copy.copy(self)
        copied._seen, copied._matcher = self._seen.copy(), self._matcher and self._matcher.copy()
        return copied

    @property
    def is_complete(self) -> bool:
        """True if the text has the form that it must have, and no token could follow: there is nothing to choose."""
        return self._matcher is not None and self._matcher.is_complete

    def distribution(self, logits: Logits) -> Distribution:
        """Return the processed distribution of the next token, from the model's logits (vocab_size,)."""
        return self._distribution_and_number(self._allowed(logits))[0]

    def steps(self, logits: Logits, *, token_text: TextOfToken | None = None) -> Iterator[tuple[str, Distribution]]:
        """Yield the model's distribution and what each step leaves of it, by name; `choose` draws from the last.

        "penalties" stands for all that changes logits. XTC is done at random with a seed of the parameters, and always
        without one. `token_text`: names the tokens. What `unseen` finds has to be left out.
        """
        last = Distribution.from_logits(logits, token_text=token_text)
        yield "model", last
        changed = penalized_logits(logits, self.params, self._seen, end_token_ids=self._end_token_ids)
        if changed is not logits:
            last = Distribution.from_logits(changed, token_text=token_text)
            yield "penalties", last
        for name, step in stages(last, self.params, coin=None if self.params.seed is None else self.numbers[1]):
            last = step
            yield name, last
        if self._has_mirostat:
            yield "mirostat_tau", last.surprisal_up_to(self._most_bits)

    @property
    def numbers(self) -> tuple[int, int]:
        """The random numbers of the next token: the first draws it, the second decides about XTC."""
        return random_numbers(self.seed, sample_index=self.sample_index, position=self.position)

    def plain_draw(self, logits: Logits) -> PlainDraw | None:
        """Return what `choose` would choose from in one call to C++; None where it does not, or raises."""
        if not self._is_plain or self._matcher is not None or native is None or not _fits_native(logits):
            return None
        try:
            changed = penalized_logits(logits, self.params, self._seen, end_token_ids=self._end_token_ids)
        except RequestError:
            return None
        return PlainDraw(changed, (*_truncation(self.params, len(logits)), self.seed, self.sample_index, self.position))

    def choose(self, logits: Logits, drawn: int | None = None) -> ChosenToken:
        """Choose the next token from the model's logits (vocab_size,) and append it.

        `drawn`: the token, where `draw_together` has chosen it from these logits.
        """
        if self._is_plain:
            token_id = self._native_choice(logits) if drawn is None else drawn
            if token_id is not None:
                self.append(token_id)
                return ChosenToken(token_id)
        distribution, number = self._distribution_and_number(self._allowed(logits))
        token_id = distribution.argmax() if self.params.is_greedy else distribution.draw(number)
        if self._has_mirostat:
            observed = -distribution.log_prob(token_id) / math.log(2)
            self._most_bits -= self.params.mirostat_eta * (observed - self.params.mirostat_tau)
        self.append(token_id)
        if self.params.logprobs is None:
            return ChosenToken(token_id)
        reported = distribution if self.params.processed_logprobs else Distribution.from_logits(logits)
        return score_token(reported, token_id, num_alternatives=self.params.logprobs)

    def search_logits(self, logits: NDArray[np.float32]) -> tuple[Logits, float]:
        """Return the logits after bias, penalties and bans, (V,), and what to subtract from them for log-probabilities.

        A beam search adds those up. As in transformers, they are not normalised again, and the repetition penalty
        multiplies log-probabilities, where sampling has it multiply logits. -inf for tokens that may not come. Raises
        RequestError if a logit is NaN or +inf, or if all are -inf.
        """
        highest = float(logits.max())
        if not math.isfinite(highest):
            Distribution.from_logits(logits)  # raises
        normalizer = highest + log_total(logits, highest=highest)
        if self.params.repetition_penalty != 1.0:
            logits, normalizer = logits - np.float32(normalizer), 0.0
        allowed = self._allowed(logits)
        return penalized_logits(allowed, self.params, self._seen, end_token_ids=self._end_token_ids), normalizer

    def _native_choice(self, logits: Logits) -> int | None:
        """Choose the token that the distribution would give in one call to C++, which saves many small steps in Python.

        Penalties change each logit by itself, so the mask can come after them. None if C++ was not built, and for
        logits that are no distribution (NaN, +inf, all -inf): the caller raises.
        """
        logits = penalized_logits(logits, self.params, self._seen, end_token_ids=self._end_token_ids)
        choose = functools.partial(
            plain_choice, logits, self.params, seed=self.seed, sample_index=self.sample_index, position=self.position
        )
        if self._matcher is None:
            return choose()
        if self.params.is_greedy:  # mostly the first of all is allowed, and no mask is needed
            token_id = choose()
            if token_id is not None and token_id not in self._ends and self._matcher.allows(token_id):
                return token_id
        return choose(mask=self._matcher.mask(self._ends))

    def append(self, token_id: int) -> None:
        """Append a token that was chosen elsewhere."""
        self._seen.append(token_id)
        self.position += 1
        if self._matcher is not None and token_id not in self._ends:
            self._matcher.accept(token_id)

    @property
    def _ends(self) -> tuple[int, ...]:
        """The tokens that end the text."""
        return (*self._end_token_ids, *self.params.stop_token_ids)

    def _allowed(self, logits: Logits) -> Logits:
        """Return the logits without those of tokens that the text's form does not allow here."""
        return logits if self._matcher is None else keep_allowed(logits, self._matcher.mask(self._ends))

    def _distribution_and_number(self, logits: Logits) -> tuple[Distribution, int]:
        number = coin = 0
        if not self.params.is_greedy:
            number, coin = self.numbers
        processed = processed_distribution(
            logits, self.params, self._seen, end_token_ids=self._end_token_ids, coin=coin
        )
        return processed.surprisal_up_to(self._most_bits) if self._has_mirostat else processed, number


def unseen(params: SamplingParams) -> str | None:
    """Return a parameter that acts on more than the model's logits and the tokens so far; None if there is none."""
    return next((name for name in _UNSEEN if getattr(params, name) != getattr(_OFF, name)), None)


_UNSEEN = ("num_beams", "guidance_scale", "contrastive_alpha", "schema", "regex", "grammar", "choice")
_OFF = SamplingParams()


def plain_choice(
    logits: Logits, params: SamplingParams, *, seed: int, sample_index: int, position: int, mask: Mask | None = None
) -> int | None:
    """Choose a token by temperature, top-k and top-p alone, in one call to C++, with the random number of a position.

    `mask`: of the tokens that are allowed; None: all. None if C++ was not built, and for logits that are no
    distribution (NaN, +inf, all -inf).
    """
    if native is None or not _fits_native(logits):
        return None
    if params.is_greedy:
        token_id = native.argmax(logits, mask)
    else:
        token_id = native.draw(logits, *_truncation(params, len(logits)), seed, sample_index, position, mask)
    return None if token_id < 0 else int(token_id)


def _fits_native(logits: Logits) -> bool:
    return logits.dtype == np.float32 and logits.ndim == 1 and logits.flags.c_contiguous


def _truncation(params: SamplingParams, vocab_size: int) -> tuple[float, int, float]:
    """Return temperature, top-k and top-p as the C++ core takes them; the temperature is 0 only for greedy decoding."""
    temperature = 0.0 if params.is_greedy else max(params.temperature, SMALLEST_TEMPERATURE)
    return temperature, min(params.top_k, vocab_size), params.top_p


def _is_plain(steps: tuple[str, ...]) -> bool:
    """Return True if the C++ core has these steps, in this order."""
    return steps == tuple(name for name in ("temperature", "top_k", "top_p") if name in steps)


def score_token(distribution: Distribution, token_id: int, *, num_alternatives: int = 0) -> ChosenToken:
    """Return a given token with its log-probability and the most probable alternatives.

    These are of the model's own logits if the distribution is `Distribution.from_logits(logits)`. Raises RequestError
    for a token id outside the vocabulary.
    """
    log_prob = distribution.log_prob(token_id)
    alternatives = distribution.most_probable(num_alternatives)
    if all(other != token_id for other, _ in alternatives):
        alternatives.append((token_id, log_prob))
    return ChosenToken(token_id, log_prob, tuple(alternatives))

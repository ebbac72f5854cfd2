"""`DraftModel`: a small model that proposes tokens for a large one of the same vocabulary.

It chooses by the temperature, top-k and top-p of the request and with the random number of each position, as the large
model will: where both have the same distribution they choose the same token.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from nextword.decoding.params import SamplingParams
from nextword.decoding.sampler import plain_choice
from nextword.errors import RequestError
from nextword.inference.backend import Backend, Chunk, Logits
from nextword.inference.drafts import MOST_DRAFTED, NOTHING, Outlook
from nextword.inference.prefill import prefill_chunks

_AGREED = 4
"""Number of agreeing tokens after which a known text is as sure as a model is at first; both are learnt from there."""


class DraftModel:
    """A small model, shared by all sequences of an engine, which also guards it by its lock."""

    _WEIGHT = 0.1
    """Share of a new measurement in the moving average."""

    def __init__(self, backend: Backend, *, vocab_size: int) -> None:
        """Propose tokens below `vocab_size`, the width of the large model's logits."""
        self.backend = backend
        self._vocab_size = vocab_size
        self.seconds = 0.0
        """Time of a drafted token, a moving average."""

    def source(self, prompt: Sequence[int], params: SamplingParams, *, seed: int, sample_index: int) -> ModelDraft:
        """Return a source of drafts for a sequence that follows a prompt."""
        return ModelDraft(self, prompt, params, seed=seed, sample_index=sample_index)

    def choose(
        self, logits: Logits, params: SamplingParams, *, seed: int, sample_index: int, position: int
    ) -> int | None:
        """Choose the token that follows; None where there is none of the large model's."""
        row = logits[: self._vocab_size]
        return plain_choice(row, params, seed=seed, sample_index=sample_index, position=position)

    def measured(self, seconds: float) -> None:
        """Take note of the time of a drafted token."""
        self.seconds += (self._WEIGHT if self.seconds else 1.0) * (seconds - self.seconds)


class ModelDraft:
    """Proposes the tokens that a draft model chooses for one sequence. A `DraftSource`.

    Its KV cache holds tokens of the sequence alone; a draft is computed on a fork of it, which is closed again.
    """

    def __init__(
        self, model: DraftModel, prompt: Sequence[int], params: SamplingParams, *, seed: int, sample_index: int
    ) -> None:
        self._model = model
        self._params, self._seed, self._sample_index = params, seed, sample_index
        self._token_ids = list(prompt)
        self._cache_id: int | None = None
        self._last: list[int] = []
        """Last draft."""
        self._is_over = not self._knows(prompt)
        """True once the sequence has a token that the model does not know, or there was no memory for it."""

    def append(self, token_id: int) -> None:
        """Append the next token of the sequence."""
        self._token_ids.append(token_id)
        self._is_over = self._is_over or not self._knows([token_id])

    def outlook(self, limit: int) -> Outlook:
        """Return how many tokens the model could choose within its own context, and the time that each takes."""
        room = self._model.backend.max_seq_len - len(self._token_ids)
        if self._is_over or room < 1:
            return NOTHING
        return Outlook(min(limit, MOST_DRAFTED, room), _AGREED, self._model.seconds)

    def propose(self, num_tokens: int) -> Sequence[int]:
        """Let the model choose tokens; none once it had no memory for them."""
        if self._cache_id is not None and self._model.backend.cache_length(self._cache_id) == len(self._token_ids):
            return self._last[:num_tokens]  # asked again, since the large model's step has failed
        try:
            logits = self._catch_up()
            begin = time.perf_counter()
            self._last = self._choose(logits, num_tokens)
        except RequestError:
            self.close()
            self._is_over = True
            return []
        if len(self._last) > 1:  # the first came with what the sequence had grown by
            self._model.measured((time.perf_counter() - begin) / (len(self._last) - 1))
        return self._last

    def close(self) -> None:
        """Close the sequence's KV cache."""
        if self._cache_id is not None:
            self._model.backend.close_cache(self._cache_id)
            self._cache_id = None

    def _knows(self, token_ids: Sequence[int]) -> bool:
        return all(token_id < self._model.backend.vocab_size for token_id in token_ids)

    def _catch_up(self) -> Logits:
        """Append what the sequence has grown by to the KV cache; return the logits that follow, (V,)."""
        backend = self._model.backend
        if self._cache_id is None:
            self._cache_id = backend.open_cache(self._token_ids)
        num_known = backend.cache_length(self._cache_id)
        for chunk in prefill_chunks(self._cache_id, self._token_ids, num_known, num_logits=1):
            (rows,) = backend.step([chunk])
        last: Logits = rows[-1]
        return last

    def _choose(self, logits: Logits, num_tokens: int) -> list[int]:
        """Return tokens that follow, each chosen after those before it."""
        assert self._cache_id is not None
        backend = self._model.backend
        chosen: list[int] = []
        fork = backend.fork_cache(self._cache_id) if num_tokens > 1 else None
        try:
            while True:
                token_id = self._model.choose(
                    logits,
                    self._params,
                    seed=self._seed,
                    sample_index=self._sample_index,
                    position=len(self._token_ids) + len(chosen),
                )
                if token_id is None:
                    return chosen
                chosen.append(token_id)
                if fork is None or len(chosen) == num_tokens:
                    return chosen
                logits = backend.step([Chunk(fork, [token_id], 1)])[0][-1]
        finally:
            if fork is not None:
                backend.close_cache(fork)

"""Common base of llama.cpp and its fork: batches and logits through their C interface.

Nothing of their Python classes runs; filling a batch costs microseconds.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.peers.side import Prompts, Scored, Scoring, Stepwise

MAX_BATCH = 2048
MICROBATCH = 512


class LlamaInterface(Stepwise, Scoring):
    """A model of either library; `library` is its module of ctypes declarations."""

    def __init__(self, library: Any, path: str, threads: int) -> None:
        self.library = library
        self._threads = threads
        library.llama_backend_init()
        self._model = library.llama_model_load_from_file(path.encode(), self.model_params())
        if not self._model:
            raise RuntimeError(f"{path} cannot be loaded")
        self._vocab_size = library.llama_vocab_n_tokens(library.llama_model_get_vocab(self._model))
        self._batch = library.llama_batch_init(MAX_BATCH, 0, 1)
        self._columns = [
            np.ctypeslib.as_array(column, (MAX_BATCH,))
            for column in (self._batch.token, self._batch.pos, self._batch.n_seq_id, self._batch.logits)
        ]
        self._context: Any = None
        self._context_size = (0, 0)

    @abstractmethod
    def model_params(self) -> Any:
        """Return the parameters for loading the model."""

    @abstractmethod
    def context_params(self) -> Any:
        """Return the parameters of a context, except its size and threads."""

    @abstractmethod
    def clear(self, context: Any) -> None:
        """Forget all keys and values."""

    def prepare(self, num_sequences: int, num_positions: int) -> None:
        """Make a context of exactly that size; it is kept while the size stays the same."""
        if self._context_size != (num_sequences, num_positions):
            if self._context is not None:
                self.library.llama_free(self._context)
            params = self.context_params()
            params.n_ctx, params.n_seq_max = num_sequences * -(-num_positions // 256) * 256, num_sequences
            params.n_batch, params.n_ubatch = MAX_BATCH, MICROBATCH
            params.n_threads = params.n_threads_batch = self._threads
            self._context = self.library.llama_init_from_model(self._model, params)
            self._context_size = (num_sequences, num_positions)
        self.clear(self._context)

    def prefill(self, prompts: Prompts) -> list[int]:
        """Prefill one prompt in each call."""
        self._length = len(prompts[0])
        positions = range(self._length)
        return [
            self._decode(prompt, positions, [sequence] * self._length, num_logits=1)[0]
            for sequence, prompt in enumerate(prompts)
        ]

    def step(self, token_ids: Sequence[int]) -> list[int]:
        """Run all sequences in one call."""
        count = len(token_ids)
        next_token_ids = self._decode(token_ids, [self._length] * count, range(count), num_logits=count)
        self._length += 1
        return next_token_ids

    def score(self, token_ids: Sequence[int]) -> Scored:
        """Score a window; only the library's own work is timed, up to the logits: its tool scores them in C++."""
        count = len(token_ids) - 1
        self.prepare(1, count)
        start = time.perf_counter()
        rows = self._logits(token_ids[:-1], range(count), [0] * count, num_logits=count)
        seconds = time.perf_counter() - start
        nats = 0.0
        for row, target in zip(rows, token_ids[1:], strict=True):
            distances = row - row.max()
            nats += float(np.log(np.exp(distances).sum(dtype=np.float64)) - distances[target])
        return Scored(seconds, nats)

    def _decode(
        self, token_ids: Sequence[int], positions: Sequence[int], sequences: Sequence[int], num_logits: int
    ) -> list[int]:
        """Run a batch; the most probable tokens after its last entries."""
        rows = self._logits(token_ids, positions, sequences, num_logits)
        return [int(token_id) for token_id in rows.argmax(axis=1)]

    def _logits(
        self, token_ids: Sequence[int], positions: Sequence[int], sequences: Sequence[int], num_logits: int
    ) -> npt.NDArray[np.float32]:
        """Run a batch; the logits after its last entries, (num_logits, V), until the next one runs."""
        count = self._batch.n_tokens = len(token_ids)
        has_logits = [0] * (count - num_logits) + [1] * num_logits
        for column, values in zip(self._columns, (token_ids, positions, [1] * count, has_logits), strict=True):
            column[:count] = values
        for index, sequence in enumerate(sequences):
            self._batch.seq_id[index][0] = sequence
        if self.library.llama_decode(self._context, self._batch) != 0:
            raise RuntimeError("llama_decode failed")
        first = self.library.llama_get_logits_ith(self._context, count - num_logits)
        return np.ctypeslib.as_array(first, (num_logits, self._vocab_size))

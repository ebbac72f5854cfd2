"""`PretrainingSource`: endless batches of shuffled windows of a corpus; `batches_in_order`: windows for validation.

Each epoch cuts the tokens into adjacent windows, from another offset each time, and shuffles them. Row r of the run is
a function of (seed, r): the position in the data is one number, for any batch size and number of processes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from nextword.data.batch import Batch
from nextword.data.packing import stack
from nextword.data.shuffle import mix, shuffled_index
from nextword.data.token_view import TokenView
from nextword.errors import ConfigError, DataError

_OFFSET = 1
"""Constant hashed with the seed for the offset of an epoch's windows, unlike the seed's other uses."""


class PretrainingSource:
    """Endless batches of `batch_size` rows of `seq_len` tokens, for one process of `num_ranks`."""

    def __init__(
        self, view: TokenView, *, batch_size: int, seq_len: int, seed: int, rank: int = 0, num_ranks: int = 1
    ) -> None:
        """Begin with row 0. Raises ConfigError for sizes below 1, DataError for a view without tokens."""
        if min(batch_size, seq_len) < 1:
            raise ConfigError(f"{batch_size} rows of {seq_len} tokens: both must be at least 1")
        if not view.num_tokens:
            raise DataError("no tokens to train on")
        self._view, self._batch_size, self._seq_len, self._seed = view, batch_size, seq_len, seed
        self._rank, self._num_ranks = rank, num_ranks
        self._next_row = 0
        self.rows_per_epoch = max(view.num_tokens // seq_len, 1)
        """Windows of one epoch."""

    def next_batch(self) -> Batch:
        """Return the next rows; with several processes each takes its share of a step, in the order of ranks."""
        first = self._next_row + self._rank * self._batch_size
        self._next_row += self._batch_size * self._num_ranks
        return stack([self._row(number) for number in range(first, first + self._batch_size)])

    def state(self) -> dict[str, object]:
        """Return the number of the next row, with the fingerprints of the data and the settings."""
        return {"next_row": self._next_row, **self._identity()}

    def resume(self, state: Mapping[str, object]) -> None:
        """Continue at the row of `state`, also with another batch size or number of processes.

        Raises DataError if the state is of other tokens, another seed or another row length.
        """
        expected = {"next_row": state.get("next_row"), **self._identity()}
        if dict(state) != expected or not isinstance(expected["next_row"], int):
            raise DataError(f"the data has changed since the checkpoint: it was {dict(state)}, now {self._identity()}")
        self._next_row = expected["next_row"]

    def _identity(self) -> dict[str, object]:
        header = self._view.shards.header
        return {
            "num_tokens": self._view.num_tokens,
            "source": header.source,
            "tokenizer": header.tokenizer,
            "seed": self._seed,
            "seq_len": self._seq_len,
        }

    def _row(self, number: int) -> Batch:
        epoch, index = divmod(number, self.rows_per_epoch)
        window = shuffled_index(index, self.rows_per_epoch, seed=self._seed, epoch=epoch)
        start = mix(self._seed, epoch, _OFFSET) % self._view.num_tokens
        return self._view.window(start + window * self._seq_len, self._seq_len)


def batches_in_order(view: TokenView, *, batch_size: int, seq_len: int) -> Iterator[Batch]:
    """Yield every token of the view once, in order; the last row is padded, the last batch can be smaller."""
    starts = range(0, view.num_tokens, seq_len)
    for first in range(0, len(starts), batch_size):
        yield stack([view.window(start, seq_len, wraps=False) for start in starts[first : first + batch_size]])

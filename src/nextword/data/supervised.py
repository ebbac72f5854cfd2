"""`SupervisedSource`: batches of conversations in packed rows, with a loss mask on the assistant's tokens.

In each epoch examples are shuffled, then packed into rows of equal length, as a function of seed and epoch. An example
too long for a row is left out and counted, never truncated.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from nextword.data.batch import IGNORED, Batch
from nextword.data.chats import Chat
from nextword.data.packing import empty_row, pack_best_fit, stack
from nextword.data.records import OnBad, refuse
from nextword.data.shuffle import mix, shuffled_index
from nextword.errors import ConfigError, DataError, RequestError, TokenizerError
from nextword.text.tokenizer import Tokenizer

_GROUP = 1024
"""Examples packed at once: enough for full rows, few enough that rows stay shuffled."""


@dataclass(frozen=True)
class Example:
    """Encoded conversation; arrays are (tokens,)."""

    token_ids: npt.NDArray[np.int32]
    targets: npt.NDArray[np.int32]
    """Id of the next token if it is the assistant's; IGNORED elsewhere."""
    place: str = ""
    """File and line of the conversation, for messages."""

    @property
    def is_target(self) -> npt.NDArray[np.bool_]:
        """For each token, whether its prediction carries loss; (tokens,)."""
        return np.concatenate([[False], self.targets[:-1] != IGNORED])


@dataclass
class ExamplesReport:
    """Counts of conversations read, kept and left out, and of their tokens."""

    num_read: int = 0
    """Conversations; one gives several examples where the chat template hides earlier thoughts."""
    num_kept: int = 0
    """Examples to train on."""
    num_too_long: int = 0
    """Examples longer than a row."""
    longest: int = 0
    """Tokens of the longest example, kept or not."""
    num_tokens: int = 0
    num_targets: int = 0
    """Tokens with loss."""
    unused: Counter[str] = field(default_factory=Counter)
    """Fields that say nothing of a conversation, and in how many records each stood."""


def encode_chats(
    chats: Iterable[Chat], tokenizer: Tokenizer, *, seq_len: int, report: ExamplesReport, on_bad: OnBad = None
) -> Iterator[Example]:
    """Encode conversations; yield the examples that fit into a row of `seq_len` tokens, count all in `report`.

    Raises DataError, naming file and line, if the chat template refuses a conversation or leaves out a part of it,
    unless `on_bad` is given.
    """
    for chat in chats:
        try:
            encoded = encode_chat(chat, tokenizer)
        except (RequestError, TokenizerError) as error:
            refuse(f"{chat.place}: {error}", on_bad)
            continue
        report.num_read += 1
        report.unused.update(chat.unused)
        for token_ids, is_answer in encoded:
            report.longest = max(report.longest, len(token_ids))
            if len(token_ids) > seq_len:
                report.num_too_long += 1
                continue
            report.num_kept += 1
            report.num_tokens += len(token_ids)
            report.num_targets += sum(is_answer[1:])
            yield _example(token_ids, is_answer, chat.place)


def encode_chat(chat: Chat, tokenizer: Tokenizer) -> list[tuple[list[int], list[bool]]]:
    """Encode a conversation as examples: token ids and loss mask of each. Raises as `Tokenizer.encode_answers`."""
    return tokenizer.encode_answers(
        chat.messages, learnt=chat.learnt, tools=chat.tools, template_variables=chat.template_variables
    )


def split_examples(examples: Sequence[Example], share: float, *, seed: int) -> tuple[list[Example], list[Example]]:
    """Split examples into training and validation; `share` of them, at least one, are drawn for validation by `seed`.

    Examples of one conversation stay together. Raises ConfigError for a share outside [0, 1), DataError if it leaves
    nothing to train on.
    """
    if not 0 <= share < 1:
        raise ConfigError(f"validation share {share}: must be from 0 to below 1")
    if share == 0:
        return list(examples), []
    pairs = itertools.pairwise([None, *examples])
    starts = [before is None or not one.place or one.place != before.place for before, one in pairs if one is not None]
    chats = list(itertools.accumulate(starts))  # numbers of conversations, from 1
    order = sorted(range(chats[-1]), key=lambda number: mix(seed, number))
    chosen = {number + 1 for number in order[: max(1, round(share * len(order)))]}
    if len(chosen) >= len(order):
        raise DataError(f"{len(order)} chats cannot be split with a validation share of {share}")
    held_out = [chat in chosen for chat in chats]
    kept = [example for example, is_out in zip(examples, held_out, strict=True) if not is_out]
    return kept, [example for example, is_out in zip(examples, held_out, strict=True) if is_out]


@dataclass
class _Epoch:
    """Packing of one epoch: the numbers of the examples in each row."""

    number: int
    rows: list[list[int]] = field(repr=False)


class SupervisedSource:
    """Endless batches of `batch_size` rows of `seq_len` tokens, for one process of `num_ranks`."""

    def __init__(
        self,
        examples: Sequence[Example],
        *,
        batch_size: int,
        seq_len: int,
        seed: int,
        rank: int = 0,
        num_ranks: int = 1,
    ) -> None:
        """Begin with epoch 0. Raises ConfigError for sizes below 1, DataError for no examples or one beyond a row."""
        if min(batch_size, seq_len) < 1:
            raise ConfigError(f"{batch_size} rows of {seq_len} tokens: both must be at least 1")
        if not examples:
            raise DataError("no examples to train on: all were left out")
        self._examples, self._batch_size, self._seq_len, self._seed = examples, batch_size, seq_len, seed
        self._lengths = [len(example.token_ids) for example in examples]
        if max(self._lengths) > seq_len:
            raise DataError(f"an example of {max(self._lengths)} tokens does not fit into rows of {seq_len}")
        self._rank, self._num_ranks = rank, num_ranks
        self._fingerprint = _fingerprint(examples)
        self._epoch = self._pack(0)
        self._next_row = 0
        """Index of the next row in the epoch."""

    @property
    def rows_per_epoch(self) -> int:
        """Rows of this epoch; other epochs, packed differently, can have a few more or fewer."""
        return len(self._epoch.rows)

    def next_batch(self) -> Batch:
        """Return the next rows; with several processes each takes its share of a step, in the order of ranks."""
        rows = [self._take_row() for _ in range(self._batch_size * self._num_ranks)]
        own = rows[self._rank * self._batch_size :][: self._batch_size]
        return stack([self._row(numbers) for numbers in own])

    def state(self) -> dict[str, object]:
        """Return epoch and next row, with the fingerprint of the examples and the settings."""
        return {"epoch": self._epoch.number, "next_row": self._next_row, **self._identity()}

    def resume(self, state: Mapping[str, object]) -> None:
        """Continue at the row of `state`, also with another batch size or number of processes.

        Raises DataError if the state is of other examples, another seed or another row length.
        """
        epoch, row = state.get("epoch"), state.get("next_row")
        identity = {name: value for name, value in state.items() if name not in ("epoch", "next_row")}
        if identity != self._identity() or not isinstance(epoch, int) or not isinstance(row, int):
            raise DataError(f"the data has changed since the checkpoint: it was {dict(state)}, now {self._identity()}")
        self._epoch, self._next_row = self._pack(epoch), row

    def _identity(self) -> dict[str, object]:
        return {"examples": self._fingerprint, "seed": self._seed, "seq_len": self._seq_len}

    def _take_row(self) -> list[int]:
        if self._next_row == len(self._epoch.rows):
            self._epoch, self._next_row = self._pack(self._epoch.number + 1), 0
        self._next_row += 1
        return self._epoch.rows[self._next_row - 1]

    def _pack(self, epoch: int) -> _Epoch:
        size = len(self._examples)
        order = [shuffled_index(place, size, seed=self._seed, epoch=epoch) for place in range(size)]
        rows = []
        for first in range(0, size, _GROUP):
            group = order[first : first + _GROUP]
            packed = pack_best_fit([self._lengths[number] for number in group], self._seq_len)
            rows += [[group[place] for place in row] for row in packed]
        places = [shuffled_index(place, len(rows), seed=self._seed, epoch=epoch) for place in range(len(rows))]
        return _Epoch(epoch, [rows[place] for place in places])

    def _row(self, numbers: Sequence[int]) -> Batch:
        return packed_row([self._examples[number] for number in numbers], self._seq_len)


def examples_in_order(examples: Sequence[Example], *, batch_size: int, seq_len: int) -> Iterator[Batch]:
    """Yield every example once, packed, for validation; the last batch can be smaller."""
    rows = pack_best_fit([len(example.token_ids) for example in examples], seq_len)
    for first in range(0, len(rows), batch_size):
        packed = [[examples[number] for number in row] for row in rows[first : first + batch_size]]
        yield stack([packed_row(row, seq_len) for row in packed])


def packed_row(examples: Sequence[Example], length: int) -> Batch:
    """Put examples side by side in a row, each as a document, then padding; arrays are (length,)."""
    row = empty_row(length)
    filled = 0
    for number, example in enumerate(examples):
        size = len(example.token_ids)
        here = slice(filled, filled + size)
        row.token_ids[here] = example.token_ids
        row.targets[here] = example.targets
        row.positions[here] = np.arange(size)
        row.document_ids[here] = number
        filled += size
    return dataclasses.replace(row, places=tuple(example.place for example in examples))


def _example(token_ids: Sequence[int], is_answer: Sequence[bool], place: str) -> Example:
    following = np.array([*token_ids[1:], IGNORED], np.int32)
    is_target = np.array([*is_answer[1:], False])
    return Example(np.array(token_ids, np.int32), np.where(is_target, following, np.int32(IGNORED)), place)


def _fingerprint(examples: Sequence[Example]) -> str:
    digest = hashlib.sha256()
    for example in examples:
        digest.update(example.token_ids.tobytes() + example.targets.tobytes())
    return digest.hexdigest()

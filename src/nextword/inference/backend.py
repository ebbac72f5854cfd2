"""`Backend`: token ids in, logits out, with the KV cache inside. Holds what the engine asks of an implementation.

A backend knows no text, no sampling and no requests; it stores the keys and values of many sequences under handles.
Importing this file imports neither numpy nor any implementation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from nextword.native import core

BackendName = Literal["auto", "native", "torch"]
"""The C++ core ("native") or PyTorch ("torch"); "auto": native where it was built, else torch."""

Weights = Literal["auto", "f32", "f16", "bf16", "q8", "q4"]
"""Format of the weights in memory: the file's own values ("auto"), floats, or blocks of 32 with 8 or 4 bits a value."""

Logits: TypeAlias = "npt.NDArray[np.float32]"
Threads: TypeAlias = "core.Model"
"""Model of the C++ core, whose threads may do other work between two of its steps."""

OnProgress = Callable[[float], None]
"""Called while weights are loaded, with the share of them that is; what it returns is ignored."""


def ignore_progress(share: float) -> None:
    """Do nothing: the default of `on_progress`."""


Meanwhile = Sequence[Callable[[], object]]
"""Called once each, in order, while other threads load weights, or where none does: work that a model needs besides;
what they return is ignored."""

WHOLE_CACHE = 0.5
"""Share of the memory free when a model is loaded that its keys and values may take."""
PAGE_POSITIONS = 32
"""Positions in a page, the unit in which memory for keys and values is given out."""


class Chunk(NamedTuple):
    """Tokens that continue one sequence in a step."""

    cache_id: int
    """The sequence's handle in the KV cache."""
    token_ids: Sequence[int]
    num_logits: int
    """Number of last positions to return logits for; 0 in the middle of a prompt."""
    num_drafted: int = 0
    """Number of last tokens that are a draft: `truncate_cache` may take them back before the sequence's next step."""


class TokenScores(NamedTuple):
    """Scores of one target token for each row of logits; every field is (n,), NaN for rows that are no distribution."""

    nats: npt.NDArray[np.float64]
    """Surprisal: -ln of the target's probability."""
    entropies: npt.NDArray[np.float64]
    """Entropy of the whole distribution, in nats."""
    ranks: npt.NDArray[np.int32]
    """Rank of the target: 1 for the most probable token; of equal ones the lower id comes first."""
    largest: npt.NDArray[np.int32]
    """The most probable token."""


class Backend(Protocol):
    """An implementation of the forward pass with its KV cache.

    The logits of a sequence must not depend, not in a single bit, on what else runs in the step.
    """

    @property
    def vocab_size(self) -> int:
        """Width of a row of logits."""

    @property
    def max_seq_len(self) -> int:
        """Maximum number of positions of one sequence: the context length."""

    @property
    def is_batch_invariant(self) -> bool:
        """True if the logits after a token have the same bits whether it came alone or in a chunk with others."""

    @property
    def adapter_names(self) -> tuple[str, ...]:
        """Names of the adapters that a sequence may run with."""

    @property
    def max_positions(self) -> int:
        """Maximum number of positions of all open sequences together, each in whole pages of `PAGE_POSITIONS`."""

    @property
    def threads(self) -> Threads | None:
        """Threads on which tokens may be drawn between two steps; None: there are none."""

    @property
    def weight_bytes(self) -> int:
        """Bytes of the weights in memory."""

    def open_cache(self, prompt: Sequence[int] = (), *, adapter: str | None = None) -> int:
        """Open a sequence and return its handle; it may begin with a stored prefix of `prompt`, never all of it.

        `adapter`: one of `adapter_names`, which computes the whole sequence; None: the base model.
        """

    def cache_length(self, cache_id: int) -> int:
        """Return the number of positions of a sequence."""

    def fork_cache(self, cache_id: int) -> int:
        """Copy a sequence and return the handle of the copy; both grow independently from then on."""

    def close_cache(self, cache_id: int) -> None:
        """Close a sequence and free its pages."""

    def draft_limit(self, cache_id: int) -> int:
        """Return how many tokens of a draft the next step may hold after the sequence's own next token.

        0 for a backend whose logits of several positions in one step differ from those of single steps.
        """

    def truncate_cache(self, cache_id: int, length: int) -> None:
        """End a sequence at `length`: take back tokens that its last step held as a draft."""

    def step(self, chunks: Sequence[Chunk]) -> list[Logits]:
        """Append each chunk to its sequence; return a (num_logits, vocab_size) float32 array per chunk, in order."""

    def score(self, chunks: Sequence[Chunk], targets: Sequence[Sequence[int]]) -> list[TokenScores]:
        """Append each chunk as `step` does; score a target for each row of logits, `num_logits` targets per chunk.

        Memory does not grow with the number of rows.
        """

"""Hooks of a training run: the loss of held-out texts or answers, and a sample text.

The training room imports neither engines nor evaluation; it receives these as callbacks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nextword.data.supervised import Example
    from nextword.inference.engine import Engine
    from nextword.training.recipe import CheckpointRecipe

_MAX_TOKENS = 50_000
"""Maximum number of held-out tokens to score; more would change the loss little."""
_SAMPLE_TOKENS = 60


def max_validation_tokens(checkpointing: CheckpointRecipe, *, tokens_per_step: int) -> int:
    """Return the number of held-out tokens to score: validation takes no longer than the training between two."""
    return min(_MAX_TOKENS, checkpointing.validate_every * tokens_per_step)


def documents_loss(documents: Sequence[Sequence[int]], engine: Engine, *, context: int, max_tokens: int) -> float:
    """Return nats per token of the first tokens of texts, as `nextword perplexity` scores them in disjoint windows."""
    from nextword.evaluation.perplexity import sum_nats
    from nextword.evaluation.scoring.windows import sliding_windows

    total_nats, num_tokens = 0.0, 0
    for document in documents:
        windows = sliding_windows(document[: max_tokens - num_tokens], context=context, stride=context)
        nats, count = sum_nats(engine, windows)
        total_nats, num_tokens = total_nats + nats, num_tokens + count
    return total_nats / num_tokens


def answers_loss(examples: Sequence[Example], engine: Engine, *, max_tokens: int) -> float:
    """Return nats per token of the assistant's messages in conversations."""
    import numpy as np

    from nextword.data.batch import IGNORED
    from nextword.evaluation.scoring.batches import score_batch
    from nextword.evaluation.scoring.windows import Window

    total_nats, num_tokens, num_read = 0.0, 0, 0
    for example in examples:
        is_answer = example.targets[:-1] != IGNORED
        (scores,) = score_batch(engine, [Window(0, example.token_ids.tolist(), len(is_answer))])
        total_nats += float(scores.nats[is_answer].sum())
        num_tokens += int(np.count_nonzero(is_answer))
        num_read += len(example.token_ids)
        if num_read >= max_tokens:
            break
    return total_nats / num_tokens


def sample_text(prompt: Sequence[int], engine: Engine) -> str:
    """Continue a prompt, with the same seed each time, so that samples can be compared."""
    from nextword.decoding.params import sampling_params

    request = engine.submit(list(prompt), sampling_params({}, max_tokens=_SAMPLE_TOKENS, temperature=0.8, seed=0))
    return "".join(piece.text for piece in engine.stream(request))

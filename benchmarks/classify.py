"""How much faster are labels that share a prompt than texts computed from nothing, one for each label?

    python -m benchmarks.classify FILE [--model NAME_OR_FILE] [--texts 100] [--repeats 3] [--json FILE]

FILE holds texts (as `nextword classify` reads them). Both sides run on the native backend, with the same weights,
tokens, threads and number of texts in a step, in turn, and their log-probabilities are compared. "shared" is what
`nextword classify` does; "from nothing" gives each text and label an empty KV cache.
"""

from __future__ import annotations

import json as json_library
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import tyro

from nextword.data.labelled import read_labelled
from nextword.inference.backend import Backend, Chunk
from nextword.inference.continuations import Continuations, score_continuations
from nextword.inference.engine import Engine
from nextword.language_model import LanguageModel
from nextword.loading import load

LABELS = ("positive", "negative")
TOPICS = ("sports", "politics", "science", "business", "travel", "health", "food", "culture")
EXAMPLES = (
    ("a joy to watch, again and again", "positive"),
    ("dull, lifeless and much too long", "negative"),
    ("clever, moving and superbly acted", "positive"),
    ("a waste of everyone's time and talent", "negative"),
)
SETTINGS = {
    "2 labels": (LABELS, ()),
    "2 labels, 4 examples": (LABELS, EXAMPLES),
    "8 labels": (TOPICS, ()),
}
BATCH = 32
"""Texts in a step, for both sides."""


def main(
    file: tyro.conf.Positional[Path],
    model: str = "smollm2-135m",
    texts: int = 100,
    repeats: int = 3,
    json: Path | None = None,
) -> None:
    """Time classification.

    Args:
        file: texts with or without labels.
        model: a catalogue name, folder or file.
        texts: so many of the file.
        repeats: medians are taken over so many runs of each side, in turn.
        json: also write the figures here.
    """
    lm = load(model, backend="native")
    read = [text.text for text, _ in zip(read_labelled(file), range(texts), strict=False)]
    results = {name: compare(lm, read, labels, examples, repeats) for name, (labels, examples) in SETTINGS.items()}
    print(f"{'':22}{'shared':>14}{'from nothing':>14}{'ratio':>8}{'largest difference':>20}")
    for name, (shared, nothing, difference) in results.items():
        print(f"{name:22}{shared:10.2f}/s{'':2}{nothing:10.2f}/s{'':2}{shared / nothing:8.1f}{difference:15.1e} nats")
    if json is not None:
        figures = {
            name: dict(zip(("shared", "from_nothing", "nats"), row, strict=True)) for name, row in results.items()
        }
        json.write_text(
            json_library.dumps({"machine": platform.processor(), "texts": texts, "texts_per_second": figures}, indent=2)
        )


def compare(
    lm: LanguageModel, texts: Sequence[str], labels: Sequence[str], examples: Sequence[tuple[str, str]], repeats: int
) -> tuple[float, float, float]:
    """Measure texts per second, with a shared prompt and without, and the largest difference of log-probabilities."""
    shown = "".join(f"{text}\n\nIn one word: {label}\n\n" for text, label in examples)
    items = [
        Continuations(
            lm.tokenizer.encode(f"{shown}{text}\n\nIn one word:"),
            [lm.tokenizer.encode(f" {label}") for label in labels],
        )
        for text in texts
    ]
    backend = lm.engine.backend
    sides = {"shared": lambda: shared(lm.engine, items), "from nothing": lambda: from_nothing(backend, items)}
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    found = {}
    for number in range(repeats + 1):
        for side, run in sides.items():
            elapsed, found[side] = timed(run)
            if number:  # the first round warms up
                seconds[side].append(elapsed)
    difference = float(np.abs(np.array(found["shared"]) - np.array(found["from nothing"])).max())
    return *(len(texts) / statistics.median(seconds[side]) for side in sides), difference  # type: ignore[return-value]


def timed(run: Callable[[], list[list[float]]]) -> tuple[float, list[list[float]]]:
    """Return seconds and result of a call."""
    start = time.perf_counter()
    result = run()
    return time.perf_counter() - start, result


def shared(engine: Engine, items: Sequence[Continuations]) -> list[list[float]]:
    """Score all labels after one shared prompt, as `nextword classify` does."""
    return [[answer.log_prob for answer in answers] for answers in score_continuations(engine, items)]


def from_nothing(backend: Backend, items: Sequence[Continuations]) -> list[list[float]]:
    """Score every pair of text and label from its beginning."""
    pairs = [(item.prompt, label) for item in items for label in item.continuations]
    log_probs: list[float] = []
    for start in range(0, len(pairs), BATCH):
        batch = pairs[start : start + BATCH]
        cache_ids = [backend.open_cache() for _ in batch]
        chunks = [
            Chunk(cache_id, [*prompt, *label[:-1]], len(label))
            for cache_id, (prompt, label) in zip(cache_ids, batch, strict=True)
        ]
        log_probs += [-float(one.nats.sum()) for one in backend.score(chunks, [label for _, label in batch])]
        for cache_id in cache_ids:
            backend.close_cache(cache_id)
    num_labels = len(items[0].continuations)
    return [log_probs[start : start + num_labels] for start in range(0, len(log_probs), num_labels)]


if __name__ == "__main__":
    tyro.cli(main)

"""Classification as word prediction: choose the label whose words are the most probable after a text.

A model prefers some words in any text, and short labels to long ones. So a label's log-probability is
compared with what it gets after texts without content (Zhao et al. 2021), and divided by its number of tokens. Labels
share the prompt's keys and values, and prompts those of their common prefix. Textbook section 1.1.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nextword.checks import check_value, checked_arguments
from nextword.errors import RequestError
from nextword.inference.continuations import (
    Continuations,
    ContinuationScore,
    common_prefix_length,
    score_continuations,
)
from nextword.inference.engine import Engine
from nextword.plain_text import text_table
from nextword.tasks.classify_options import Calibration as Calibration
from nextword.tasks.classify_options import ClassifyKeywords as ClassifyKeywords
from nextword.tasks.classify_options import ClassifyOptions as ClassifyOptions
from nextword.tasks.classify_options import Normalization as Normalization
from nextword.tasks.classify_options import classify_options as classify_options
from nextword.text.tokenizer import Tokenizer

CONTENT_FREE = ("N/A", "", "[MASK]")
"""Texts without content; a label's probability after them is averaged."""


@dataclass(frozen=True, kw_only=True)
class Classification:
    """The label chosen for a text. `print` shows a line for each label, a notebook bars."""

    label: str
    """The most probable label."""
    probabilities: Mapping[str, float]
    """Probability of each label after calibration and normalization; they sum to 1."""
    log_probs: Mapping[str, float]
    """Log-probability in nats of each label's words after the prompt, as the model gives them."""

    def __str__(self) -> str:
        rows = [(label, f"{self.probabilities[label]:.4f}", f"{self.log_probs[label]:.4f}") for label in self._ranked]
        return text_table(("label", "probability", "log-probability"), rows)

    def __repr__(self) -> str:
        return f"Classification({self.label!r}, probability {self.probabilities[self.label]:.4f})"

    def _repr_html_(self) -> str:
        from nextword.html.notebook import bar, block, code, small_table
        from nextword.html.page import Html

        rows = [
            (code(label), Html(f"{self.probabilities[label]:.4f}"), bar(self.probabilities[label]))
            for label in self._ranked
        ]
        return block(small_table(("label", "probability", ""), rows, left=(0, 2)))

    @property
    def _ranked(self) -> list[str]:
        return sorted(self.probabilities, key=self.probabilities.__getitem__, reverse=True)


class Classifier:
    """Zero- or few-shot classifier over a set of labels."""

    @checked_arguments
    def __init__(
        self,
        engine: Engine,
        labels: Sequence[str],
        *,
        examples: Sequence[tuple[str, str]] = (),
        options: ClassifyOptions | None = None,
    ) -> None:
        """Prepare prompt and calibration. `examples`: labelled texts that the prompt shows, in order, before each text.

        Raises RequestError for fewer than two labels, an empty one, two with the same tokens, or an example whose label
        is none of them.
        """
        self.labels = tuple(label.strip() for label in labels)
        self._engine = engine
        self._options = ClassifyOptions() if options is None else options
        _check_labels(engine.tokenizer, self.labels)
        for _, label in examples:
            if label not in self.labels:
                known = ", ".join(map(repr, self.labels))
                raise RequestError(f"an example has the label {label!r}, which is none of {known}")
        self._shown = "".join(f"{self._before_label(text)} {label}\n\n" for text, label in examples)
        self._bias = self._content_free_log_probs()

    @checked_arguments
    def classify(self, texts: Iterable[str]) -> Iterator[Classification]:
        """Yield the label chosen for each text, in order; texts are read and computed in batches.

        Raises RequestError for a text that does not fit the context beside the examples.
        """
        for answers in self._scores(texts):
            scores = np.array([answer.log_prob for answer in answers]) - self._bias
            if self._options.normalization == "tokens":
                scores /= [len(answer.log_probs) for answer in answers]
            probabilities = np.exp(scores - scores.max())
            probabilities /= probabilities.sum()
            yield Classification(
                label=self.labels[int(scores.argmax())],
                probabilities=dict(zip(self.labels, probabilities.tolist(), strict=True)),
                log_probs=dict(zip(self.labels, [answer.log_prob for answer in answers], strict=True)),
            )

    def _scores(self, texts: Iterable[str]) -> Iterator[list[ContinuationScore]]:
        return score_continuations(self._engine, map(self._item, texts))

    def _item(self, text: str) -> Continuations:
        check_value("text", text, str)
        before = self._shown + self._before_label(text)
        encode = self._engine.tokenizer.encode_prompt
        prompt, whole = encode(before), [encode(f"{before} {label}") for label in self.labels]
        # Where a tokenizer joins the prompt's end and the label, that token is the label's.
        start = min(common_prefix_length(prompt, token_ids) for token_ids in whole)
        return Continuations(prompt[:start], [token_ids[start:] for token_ids in whole])

    def _before_label(self, text: str) -> str:
        return self._options.prompt.replace("{text}", text).rstrip()

    def _content_free_log_probs(self) -> npt.NDArray[np.float64]:
        """Return the log of each label's mean probability after content-free texts; 0 without calibration."""
        if self._options.calibration == "none":
            return np.zeros(len(self.labels))
        answers = list(self._scores(CONTENT_FREE))
        log_probs = np.array([[answer.log_prob for answer in of_text] for of_text in answers])
        mean: npt.NDArray[np.float64] = np.logaddexp.reduce(log_probs, axis=0) - math.log(len(CONTENT_FREE))
        return mean


def _check_labels(tokenizer: Tokenizer, labels: Sequence[str]) -> None:
    if len(labels) < 2:
        raise RequestError(f"{len(labels)} label: a choice needs at least two, as in --labels positive,negative")
    if not all(labels):
        raise RequestError(f"labels {list(labels)}: one of them is empty")
    seen: dict[tuple[int, ...], str] = {}
    for label in labels:
        token_ids = tuple(tokenizer.encode(f" {label}", add_special_tokens=False))
        if token_ids in seen:
            raise RequestError(f"labels {seen[token_ids]!r} and {label!r} have the same tokens: choose different words")
        seen[token_ids] = label

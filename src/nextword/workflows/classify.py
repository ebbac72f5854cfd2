"""`classify`: choose a label for each text of a file, and measure the accuracy where true labels are known."""

from __future__ import annotations

import dataclasses
import itertools
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Unpack

import numpy as np

from nextword.checks import checked_arguments
from nextword.data.labelled import LabelledText, read_labelled
from nextword.data.records import BadRecords, OnBad, refuse
from nextword.errors import DataError, RequestError
from nextword.evaluation.classification import ClassificationReport, classification_report
from nextword.html.plots import require_page
from nextword.plain_text import count, text_table
from nextword.tasks.classify import Calibration, Classification, ClassifyOptions, Normalization
from nextword.workflows.loading import LoadOptions
from nextword.workflows.opening import ModelSource, name_of, open_model
from nextword.workflows.progress import OnProgress, Progress, ignore_progress

_DEFAULTS = ClassifyOptions()
_TRUTH = {"1": ("positive", "yes", "true"), "0": ("negative", "no", "false")}
"""Labels that 1 and 0 stand for in a file."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassifiedFile:
    """Labels chosen for the texts of a file; `print` shows the report, or the choices if no true label is known."""

    model: str
    """Name or path of the model."""
    file: str
    """File of the texts."""
    report: ClassificationReport | None
    """Accuracy, F1 and calibration; None if no text has a true label."""
    texts: tuple[LabelledText, ...] = dataclasses.field(repr=False)
    """Texts with the true labels, if they are known."""
    choices: tuple[Classification, ...] = dataclasses.field(repr=False)
    """Prediction for each of them."""
    num_bad: int = 0
    """Records left out because they cannot be read."""
    first_bad: str | None = None
    """Message about the first of them."""

    def __repr__(self) -> str:
        return f"ClassifiedFile({self.model!r} on {self.file!r}, {count(len(self.texts), 'text')})"

    def __str__(self) -> str:
        if self.report is not None:
            return _report_text(self.report)
        return "\n".join(
            f"{choice.label}\t{choice.probabilities[choice.label]:.3f}\t{text.text}"
            for text, choice in zip(self.texts, self.choices, strict=True)
        )

    def _repr_html_(self) -> str:
        from nextword.html.notebook import table_block

        if self.report is not None:
            return self.report._repr_html_()
        rows = zip(self.texts, self.choices, strict=True)
        cells = [(choice.label, f"{choice.probabilities[choice.label]:.3f}", text.text) for text, choice in rows]
        return table_block(("label", "probability", "text"), cells, left=(0, 2))

    def to_json(self) -> dict[str, object]:
        """Return plain values: the figures, and the prediction for each text."""
        rows = [
            {"text": text.text, "right": text.label, **dataclasses.asdict(choice)}
            for text, choice in zip(self.texts, self.choices, strict=True)
        ]
        return {"model": self.model, "report": self.report and _figures(self.report), "texts": rows}


@checked_arguments
def classify(
    model: ModelSource,
    file: str | Path,
    *,
    labels: str | Sequence[str] | Mapping[str, str],
    examples: str | Path | None = None,
    prompt: str = _DEFAULTS.prompt,
    calibration: Calibration = _DEFAULTS.calibration,
    normalization: Normalization = _DEFAULTS.normalization,
    text_field: str = "text",
    label_field: str = "label",
    limit: int | None = None,
    skip_bad: bool = False,
    html: str | Path | None = None,
    on_progress: OnProgress = ignore_progress,
    **loading: Unpack[LoadOptions],
) -> ClassifiedFile:
    """Choose a label for each text of a file, by the likelihood of the label's words.

    `model`: name, path or loaded model. `file`: .tsv with text and label, or .jsonl, .json, .parquet with such fields;
    labels may be missing. `labels`: a mapping gives what stands for each in the file, and so does "good=1,bad=0".
    `examples`: file of texts with labels to show the model first. `limit`: most texts to read. `skip_bad`: leave out
    and count records that cannot be read. `html`: file for a page with plots. `on_progress` is called after each text.
    Further keywords are the fields of `ClassifyOptions` and those of `load`. Raises RequestError, DataError.
    """
    require_page(html)
    words, bad = _label_words(labels), BadRecords(skip=skip_bad)
    fields = {"text_field": text_field, "label_field": label_field}
    shown = [] if examples is None else [_known(one) for one in _read(examples, words, bad.on_bad, **fields)]
    texts = _texts(_read(file, words, bad.on_bad, **fields), file, limit, needs_labels=html is not None)
    classifier = open_model(model, on_progress, **loading).classifier(
        list(words), examples=shown, prompt=prompt, calibration=calibration, normalization=normalization
    )
    chosen = _counted(classifier.classify(text.text for text in texts), len(texts), on_progress)
    result = _judged(name_of(model), file, list(words), texts, tuple(chosen), bad)
    if html is not None and result.report is not None:
        from nextword.workflows.classification_page import write_classification_page

        write_classification_page(html, result.report, title=f"{file} classified by {result.model}")
    return result


def _texts(
    read: Iterator[LabelledText], file: str | Path, limit: int | None, *, needs_labels: bool
) -> tuple[LabelledText, ...]:
    """Return the texts. Raises RequestError for a limit below 1 or missing labels, DataError if there is no text."""
    if limit is not None and limit < 1:
        raise RequestError(f"limit = {limit}: at least one text is needed")
    texts = tuple(itertools.islice(read, limit and min(limit, sys.maxsize)))
    if not texts:
        raise DataError(f"{file}: there is no text to classify")
    if needs_labels and all(text.label is None for text in texts):
        raise RequestError(f"html shows the accuracy, and {file} has no true labels")
    return texts


def _judged(
    model: str,
    file: str | Path,
    labels: Sequence[str],
    texts: tuple[LabelledText, ...],
    choices: tuple[Classification, ...],
    bad: BadRecords,
) -> ClassifiedFile:
    return ClassifiedFile(
        model=model,
        file=str(file),
        report=_report(labels, texts, choices),
        texts=texts,
        choices=choices,
        num_bad=bad.num_bad,
        first_bad=bad.first,
    )


def _counted(choices: Iterator[Classification], total: int, on_progress: OnProgress) -> Iterator[Classification]:
    on_progress(Progress("texts classified", 0, total))
    for number, choice in enumerate(choices, 1):
        on_progress(Progress("texts classified", number, total))
        yield choice


def _label_words(labels: str | Sequence[str] | Mapping[str, str]) -> Mapping[str, str]:
    """Return each label with its value in the file. Raises RequestError for a label that is named twice."""
    if isinstance(labels, Mapping):
        return labels
    words: dict[str, str] = {}
    for part in labels.split(",") if isinstance(labels, str) else labels:
        word, _, value = (side.strip() for side in part.partition("="))
        if word in words:
            raise RequestError(f"labels: {word!r} is named twice")
        words[word] = value or word
    return words


def _read(
    file: str | Path, words: Mapping[str, str], on_bad: OnBad, *, text_field: str, label_field: str
) -> Iterator[LabelledText]:
    """Yield the texts of a file, their labels as words. A label that is none of them makes a record bad."""
    by_value = {value: word for word, value in words.items()}
    by_truth = {truth: word for truth, likes in _TRUTH.items() for word in words if word.lower() in likes}
    for text in read_labelled(file, text_field=text_field, label_field=label_field, on_bad=on_bad):
        word = by_value.get(text.label or "", by_truth.get(text.label or ""))
        if text.label is None or word is not None:
            yield dataclasses.replace(text, label=word)
        else:
            example = ",".join(f"{known}=VALUE" for known in words)
            refuse(
                f"{text.place}: label {text.label!r} is none of {', '.join(words)}; labels {example} says what "
                "stands for them in the file",
                on_bad,
            )


def _known(example: LabelledText) -> tuple[str, str]:
    if example.label is None:
        raise DataError(f"{example.place}: an example needs a label")
    return example.text, example.label


def _report(
    labels: Sequence[str], texts: Sequence[LabelledText], choices: Sequence[Classification]
) -> ClassificationReport | None:
    judged = [(text.label, choice) for text, choice in zip(texts, choices, strict=True) if text.label is not None]
    if not judged:
        return None
    probabilities = np.array([[choice.probabilities[label] for label in labels] for _, choice in judged])
    return classification_report(labels, [labels.index(label) for label, _ in judged], probabilities)


def _figures(report: ClassificationReport) -> dict[str, object]:
    return dataclasses.asdict(report) | {
        "num_texts": report.num_texts,
        "accuracy": report.accuracy,
        "accuracy_interval": report.accuracy_interval,
        "chance": report.chance,
        "macro_f1": report.macro_f1,
        "calibration_error": report.calibration_error,
        "by_label": [dataclasses.asdict(one) | {"f1": one.f1} for one in report.by_label],
    }


def _report_text(report: ClassificationReport) -> str:
    low, high = report.accuracy_interval
    columns = ["true, predicted:", *report.labels, "recall", "F1"]
    rows = [
        [scores.label, *map(str, counts), f"{scores.recall:.3f}", f"{scores.f1:.3f}"]
        for scores, counts in zip(report.by_label, report.confusion, strict=True)
    ]
    lines = [
        f"accuracy           {report.accuracy:.3f}  95 % interval {low:.3f} to {high:.3f}, {report.num_texts} texts",
        f"most frequent      {report.chance:.3f}  accuracy of always choosing the most frequent label",
        f"macro-F1           {report.macro_f1:.3f}",
        f"calibration error  {report.calibration_error:.3f}  mean distance of confidence and accuracy",
    ]
    return "\n".join([*lines, "", text_table(columns, rows)])

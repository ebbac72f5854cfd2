"""`nextword classify`: texts in, the label of each out, and how often it was right where that is known."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import tyro

from nextword.cli.arguments import DEFAULT_COMPUTE, ComputeArguments, ModelArgument, SkipBadArgument, load_model
from nextword.cli.console import note, note_skipped, text_table, with_progress
from nextword.data.labelled import LabelledText, read_labelled
from nextword.data.records import BadRecords, refuse
from nextword.errors import DataError, RequestError
from nextword.html.plots import require_page
from nextword.tasks.classify import Classification, ClassifyOptions

if TYPE_CHECKING:
    from nextword.evaluation.classification import ClassificationReport

ClassifyArguments = Annotated[ClassifyOptions, tyro.conf.arg(name="")]
_DEFAULT_OPTIONS = ClassifyOptions()

_TRUTH = {"1": ("positive", "yes", "true"), "0": ("negative", "no", "false")}
"""What 1 and 0 in a file stand for where the labels are such words."""


@dataclasses.dataclass(frozen=True)
class Options:
    """Choose a label for each text of a file, by the likelihood of the label's words."""

    model: ModelArgument
    file: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="FILE")]
    """.tsv with text and label, or .jsonl, .json, .parquet with such fields; labels may be missing."""
    labels: Annotated[str, tyro.conf.arg(metavar="WORD,WORD")]
    """The labels, with commas between them; positive=1,negative=0 where the file says 1 and 0."""
    examples: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """A file of texts with labels to show the model first."""
    options: ClassifyArguments = _DEFAULT_OPTIONS
    text_field: str = "text"
    """The field of a record that holds the text."""
    label_field: str = "label"
    """The field of a record that holds the right label."""
    limit: int | None = None
    """Read no more than so many texts."""
    skip_bad: SkipBadArgument = False
    json: bool = False
    """Print one JSON object: figures, and what was chosen for each text."""
    html: Annotated[str | None, tyro.conf.arg(metavar="PAGE")] = None
    """Also write a page with plots of the figures."""
    compute: ComputeArguments = DEFAULT_COMPUTE


def run(options: Options) -> None:
    """Print how good the choices are, or the choices where nothing is known of the right labels."""
    require_page(options.html)
    words = _label_words(options.labels)
    bad = BadRecords(skip=options.skip_bad)
    examples = [] if options.examples is None else _read(options.examples, words, options, bad, limit=None)
    texts = _read(options.file, words, options, bad, limit=options.limit)
    if not texts:
        raise DataError(f"{options.file}: there is no text to classify")
    if options.html is not None and all(text.label is None for text in texts):
        raise RequestError(f"--html shows how often the labels are right, and {options.file} has none")
    model = load_model(options.model, options.compute)
    classifier = model.classifier(
        list(words), examples=[_known(example) for example in examples], **dataclasses.asdict(options.options)
    )
    choices = list(
        with_progress(classifier.classify(text.text for text in texts), total=len(texts), what="texts classified")
    )
    note_skipped(bad.num_bad, bad.first)
    _show(options, texts, choices, _report(list(words), texts, choices))


def _label_words(said: str) -> dict[str, str]:
    """Each label and what stands for it in the file."""
    words: dict[str, str] = {}
    for part in said.split(","):
        word, _, value = (side.strip() for side in part.partition("="))
        if word in words:
            raise RequestError(f"--labels names {word!r} twice")
        words[word] = value or word
    return words


def _read(
    file: str, words: Mapping[str, str], options: Options, bad: BadRecords, *, limit: int | None
) -> list[LabelledText]:
    """The texts of a file, their labels as words. A label that is none of them makes a line unreadable."""
    read = read_labelled(file, text_field=options.text_field, label_field=options.label_field, on_bad=bad.on_bad)
    named = _with_words(read, words, bad)
    return list(named) if limit is None else [text for text, _ in zip(named, range(limit), strict=False)]


def _with_words(texts: Iterator[LabelledText], words: Mapping[str, str], bad: BadRecords) -> Iterator[LabelledText]:
    by_value = {value: word for word, value in words.items()}
    by_truth = {truth: word for truth, likes in _TRUTH.items() for word in words if word.lower() in likes}
    for text in texts:
        word = by_value.get(text.label or "", by_truth.get(text.label or ""))
        if text.label is None or word is not None:
            yield dataclasses.replace(text, label=word)
        else:
            example = ",".join(f"{known}=VALUE" for known in words)
            refuse(
                f"{text.place}: label {text.label!r} is none of {', '.join(words)}; --labels {example} says what "
                "stands for them in the file",
                bad.on_bad,
            )


def _known(example: LabelledText) -> tuple[str, str]:
    if example.label is None:
        raise DataError(f"{example.place}: an example needs a label")
    return example.text, example.label


def _report(
    labels: Sequence[str], texts: Sequence[LabelledText], choices: Sequence[Classification]
) -> ClassificationReport | None:
    """How good the choices are; None where no text has a label."""
    import numpy as np

    from nextword.evaluation.classification import classification_report

    judged = [(text.label, choice) for text, choice in zip(texts, choices, strict=True) if text.label is not None]
    if not judged:
        return None
    probabilities = np.array([[choice.probabilities[label] for label in labels] for _, choice in judged])
    return classification_report(labels, [labels.index(label) for label, _ in judged], probabilities)


def _show(
    options: Options,
    texts: Sequence[LabelledText],
    choices: Sequence[Classification],
    report: ClassificationReport | None,
) -> None:
    from nextword.cli.json_output import print_json

    if options.html is not None and report is not None:
        from nextword.workflows.classification_page import write_classification_page

        write_classification_page(options.html, report, title=f"{options.file} classified by {options.model}")
        note(f"wrote {options.html}")
    if options.json:
        rows = [
            {"text": text.text, "right": text.label, **dataclasses.asdict(choice)}
            for text, choice in zip(texts, choices, strict=True)
        ]
        print_json({"model": options.model, "report": None if report is None else _figures(report), "texts": rows})
    elif report is None:
        for text, choice in zip(texts, choices, strict=True):
            print(f"{choice.label}\t{choice.probabilities[choice.label]:.3f}\t{text.text}")
    else:
        _print_report(report)


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


def _print_report(report: ClassificationReport) -> None:
    low, high = report.accuracy_interval
    print(f"accuracy           {report.accuracy:.3f}  95 % interval {low:.3f} to {high:.3f}, {report.num_texts} texts")
    print(f"most frequent      {report.chance:.3f}  accuracy of always choosing the most frequent label")
    print(f"macro-F1           {report.macro_f1:.3f}")
    print(f"calibration error  {report.calibration_error:.3f}  mean distance of confidence and accuracy")
    columns = ["right, chosen:", *report.labels, "recall", "F1"]
    rows = [
        [scores.label, *map(str, counts), f"{scores.recall:.3f}", f"{scores.f1:.3f}"]
        for scores, counts in zip(report.by_label, report.confusion, strict=True)
    ]
    print("\n" + text_table(columns, rows))

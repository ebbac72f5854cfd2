"""`compare`: which of two models predicts files of text better, by how much, and where."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Unpack

from nextword.checks import checked_arguments
from nextword.data.documents import read_documents
from nextword.data.records import BadRecords
from nextword.evaluation.compare import Comparison, Difference, compare_models, signed
from nextword.html.plots import require_page
from nextword.workflows.loading import LoadOptions
from nextword.workflows.opening import ModelSource, name_of, open_model
from nextword.workflows.paths import Files, list_files
from nextword.workflows.progress import OnProgress, Progress, ignore_progress

__all__ = ["Difference", "FileComparison", "compare", "in_brackets", "text_before"]

_SHOWN_BEFORE = 40
"""Characters before a token."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FileComparison:
    """Two models, A and B, on the same files; `print` shows the figures, the verdict and where they differ most."""

    models: tuple[str, str]
    """Names of A and B."""
    comparison: Comparison
    """All figures."""
    num_bad: int = 0
    """Records left out because they cannot be read."""
    first_bad: str | None = None
    """Message about the first of them."""

    def __repr__(self) -> str:
        return f"FileComparison({' and '.join(map(repr, self.models))}, {self.comparison!r})"

    def __str__(self) -> str:
        return self.to_text()

    def _repr_html_(self) -> str:
        return self.comparison._repr_html_()

    def to_text(self, mark: Callable[[Difference], str] | None = None) -> str:
        """Return what `print` shows. `mark` shows a token in its context; None: the token stands in brackets."""
        compared = self.comparison
        spread = ""
        if compared.interval is not None:
            units, resamples = compared.units
            low, high = compared.interval.low, compared.interval.high
            spread = f"  95 %: {low:+.4f} to {high:+.4f}, over {resamples.num_units:,} {units}"
        lines = [
            f"A      {compared.bits_per_byte_a:7.4f} bits/byte  {self.models[0]}",
            f"B      {compared.bits_per_byte_b:7.4f} bits/byte  {self.models[1]}",
            f"B - A  {signed(compared.difference):>7} bits/byte{spread}\n{compared.verdict}",
        ]
        if compared.mean_divergence is not None and compared.agreement is not None:
            lines.append(f"KL divergence of B from A: {compared.mean_divergence:.4f} nats/token")
            lines.append(f"the same most probable token: {compared.agreement:.1%} of {compared.num_pieces:,}")
        if compared.differences:
            lines.append("\n A nats   B nats  where they differ most")
        for one in compared.differences:
            lines.append(f"{one.nats_a:7.3f}  {one.nats_b:7.3f}  {(mark or in_brackets)(one)}")
        return "\n".join(lines)

    def to_json(self) -> dict[str, object]:
        """Return plain values; None for what is no number."""
        compared, interval = self.comparison, self.comparison.interval
        units, resamples = compared.units
        figures = (compared.bits_per_byte_a, compared.bits_per_byte_b, compared.difference)
        bits_a, bits_b, difference = (None if math.isnan(figure) else figure for figure in figures)
        return {
            "models": list(self.models),
            "bits_per_byte": [bits_a, bits_b],
            "difference": difference,
            "interval": None if interval is None else [interval.low, interval.high],
            "units": units,
            "num_units": resamples.num_units,
            "verdict": compared.verdict,
            "num_bytes": compared.num_bytes,
            "num_documents": compared.num_documents,
            "has_same_vocabulary": compared.has_same_vocabulary,
            "divergence": compared.mean_divergence,
            "agreement": compared.agreement,
            "differences": [dataclasses.asdict(difference) for difference in compared.differences],
        }


@checked_arguments
def compare(
    model_a: ModelSource,
    model_b: ModelSource,
    files: Files,
    *,
    context: int | None = None,
    field: str = "text",
    skip_bad: bool = False,
    html: str | Path | None = None,
    on_progress: OnProgress = ignore_progress,
    **loading: Unpack[LoadOptions],
) -> FileComparison:
    """Compare how well two models predict files of text.

    `model_a`, `model_b`: name, path or loaded model, the one to beat first; further keywords are those of `load`, for
    both. `files`: a file, a folder, or several: .txt, .md, .jsonl, .json, .parquet, or these compressed. `context`:
    tokens of a window; None: the smaller context of the two. Windows overlap by half. `field`: field of a record that
    holds the text. `skip_bad`: leave out and count records that cannot be read. `html`: file for a page with plots.
    `on_progress` is called during scoring. Raises RequestError, DataError, and as `load`.
    """
    require_page(html)
    a, b = (open_model(model, on_progress, **loading) for model in (model_a, model_b))
    bad, paths = BadRecords(skip=skip_bad), list_files(files)
    comparison = compare_models(
        a.engine,
        b.engine,
        read_documents(paths, field=field, on_bad=bad.on_bad),
        context=context,
        on_progress=lambda compared: on_progress(Progress(f"{compared.num_pieces:,} pieces")),
    )
    names = name_of(model_a), name_of(model_b)
    if html is not None:
        from nextword.workflows.compare_page import write_compare_page

        title = f"{names[0]} and {names[1]} on {', '.join(paths)}"
        write_compare_page(Path(html), comparison, names=names, title=title)
    return FileComparison(models=names, comparison=comparison, num_bad=bad.num_bad, first_bad=bad.first)


def text_before(difference: Difference) -> str:
    """Return the end of the text before a token, on one line."""
    return " ".join(difference.before[-_SHOWN_BEFORE:].split("\n"))


def in_brackets(difference: Difference) -> str:
    """Return the end of the text before a token, then the token in brackets, on one line."""
    return f"{text_before(difference)}[{difference.text.replace(chr(10), ' ')}]"

"""The report of a training run, made of its metrics: loss.png and report.html, and the curve that a notebook shows."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nextword.html.line_chart import Line, line_chart
from nextword.html.page import Html, heading, paragraph, preformatted, table, write_page
from nextword.html.plots import plot, save_plot
from nextword.training.duration import format_duration as format_duration
from nextword.training.metrics import Curve, MetricsEntry, curve, read_metrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_OTHER_CURVES = {
    "lr": "Learning rate",
    "grad_norm": "Gradient norm before clipping",
    "tokens_per_second": "Tokens per second",
}


def write_training_report(folder: Path, *, title: str, prompt: str, settings: Mapping[str, object]) -> Path:
    """Draw loss.png, and write report.html with curves, sample texts and settings; return the page's path.

    `prompt`: what the sample texts continue; `settings`: section -> settings, or a setting. Raises MissingExtraError
    without matplotlib, DataError if writing fails.
    """
    entries, page = read_metrics(folder / "metrics.jsonl"), folder / "report.html"
    save_plot(folder / "loss.png", lambda axes: _draw_losses(axes, entries))
    write_page(page, title, _parts(entries, prompt, settings))
    return page


def run_html(entries: Sequence[MetricsEntry], *, title: str, state: str) -> Html:
    """Show a run as a notebook does: its losses so far as a chart, and its figures."""
    losses, validations = curve(entries, "loss"), curve(entries, "validation_loss")
    chart = line_chart(
        [
            Line("loss of each step", losses.steps, losses.values, colour="#9ecae1"),
            Line("running mean", losses.steps, losses.smoothed(), colour="#1f77b4"),
            Line("validation loss", validations.steps, validations.values, colour="#ff7f0e", has_dots=True),
        ],
        x_label="step",
        y_label="nats per token",
    )
    return Html("".join([paragraph(f"{title}: {state}"), chart, table(("", ""), run_figures(entries))]))


def run_figures(entries: Sequence[MetricsEntry]) -> Iterator[tuple[str, str]]:
    """Summarise a run in a few named figures."""
    losses, validations, seconds = (curve(entries, name) for name in ("loss", "validation_loss", "seconds"))
    if losses.values:
        yield "steps", f"{losses.steps[-1]:,}"
        yield "loss of the last steps, nats per token", f"{losses.smoothed()[-1]:.4f}"
    if validations.values:
        best = min(range(len(validations.values)), key=validations.values.__getitem__)
        for when, place in (("at first", 0), ("at best", best), ("at last", -1)):
            nats = validations.values[place]
            yield f"held-out {when}, step {validations.steps[place]}", f"{nats:.4f}, perplexity {_perplexity(nats)}"
    skipped = [str(entry["skipped"]) for entry in entries if entry.get("skipped")]
    if skipped:
        yield "steps skipped", f"{len(skipped)}, the last: {skipped[-1]}"
    yield "time in steps", format_duration(math.fsum(seconds.values))


def _parts(entries: Sequence[MetricsEntry], prompt: str, settings: Mapping[str, object]) -> Iterator[Html]:
    yield table(("", ""), run_figures(entries))
    yield plot(lambda axes: _draw_losses(axes, entries), caption="Loss of each step, its running mean, and held-out")
    for name, caption in _OTHER_CURVES.items():
        yield plot(functools.partial(_draw, shown=curve(entries, name)), caption=caption, height=2.0)
    samples = [(entry["step"], entry["sample"]) for entry in entries if "sample" in entry]
    if samples:
        yield heading("Sample texts")
        yield preformatted(prompt)
    for step, text in samples:
        yield table((f"step {step}",), [])
        yield preformatted(str(text))
    yield heading("Settings")
    yield table(("setting", "value"), _flat(settings))


def _perplexity(nats: float) -> str:
    return f"{math.exp(nats):,.2f}" if nats < 100 else "beyond counting"


def _draw_losses(axes: Axes, entries: Sequence[MetricsEntry]) -> None:
    training, held_out = curve(entries, "loss"), curve(entries, "validation_loss")
    axes.plot(training.steps, training.values, color="tab:blue", alpha=0.25, linewidth=0.8)
    axes.plot(training.steps, training.smoothed(), color="tab:blue", label="training, running mean")
    if held_out.values:
        axes.plot(held_out.steps, held_out.values, "o-", color="tab:orange", label="held out")
    axes.set_xlabel("step")
    axes.set_ylabel("nats per token")
    axes.legend(frameon=False)


def _draw(axes: Axes, shown: Curve) -> None:
    axes.plot(shown.steps, shown.values, color="tab:blue", linewidth=1.0)
    axes.set_xlabel("step")


def _flat(settings: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value)
        else:
            yield name, value

"""What a training run leaves to look at: loss.png and report.html, made of its metrics.jsonl."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nextword.errors import DataError, MissingExtraError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from nextword.html.page import Html

_SMOOTHED_OVER = 40
"""The line through noisy losses is the mean over so large a part of the run, a 40th."""
_OTHER_CURVES = {
    "lr": "Learning rate",
    "grad_norm": "Length of the gradient, before it was shortened",
    "tokens_per_second": "Tokens per second",
}


@dataclass(frozen=True)
class _Curve:
    """A number over the steps."""

    steps: list[int]
    values: list[float]

    def smoothed(self) -> list[float]:
        """The mean of each value and those shortly before it."""
        width = max(1, len(self.values) // _SMOOTHED_OVER)
        windows = (self.values[max(0, end - width) : end] for end in range(1, len(self.values) + 1))
        return [math.fsum(window) / len(window) for window in windows]


def write_training_report(
    folder: Path, *, title: str, prompt: str, settings: Mapping[str, object], note: Callable[[str], None]
) -> None:
    """Draw the losses, and write the page with curves, sample texts and settings; a note says where, or why not.

    `prompt`: what the sample texts answer or go on from; `settings`: section -> settings, or a setting.
    """
    from nextword.html.page import write_page
    from nextword.html.plots import save_plot
    from nextword.training.metrics import read_metrics

    entries = read_metrics(folder / "metrics.jsonl")
    try:
        save_plot(folder / "loss.png", lambda axes: _draw_losses(axes, entries))
        write_page(folder / "report.html", title, _parts(entries, prompt, settings))
    except MissingExtraError:
        note("no report: matplotlib is not installed: pip install 'nextword[train]'")
    except DataError as error:
        note(f"no report: {error}")
    else:
        note(f"the report is {folder / 'report.html'}, the loss alone {folder / 'loss.png'}")


def _parts(entries: Sequence[Mapping[str, object]], prompt: str, settings: Mapping[str, object]) -> Iterator[Html]:
    from nextword.html.page import heading, preformatted, table
    from nextword.html.plots import plot

    yield table(("", ""), _figures(entries))
    yield plot(lambda axes: _draw_losses(axes, entries), caption="Loss of each step, its running mean, and held-out")
    for name, what in _OTHER_CURVES.items():
        yield plot(functools.partial(_draw, curve=_curve(entries, name)), caption=what, height=2.0)
    samples = [(entry["step"], entry["sample"]) for entry in entries if "sample" in entry]
    if samples:
        yield heading("Sample texts")
        yield preformatted(prompt)
    for step, text in samples:
        yield table((f"step {step}",), [])
        yield preformatted(str(text))
    yield heading("Settings")
    yield table(("setting", "value"), _flat(settings))


def _figures(entries: Sequence[Mapping[str, object]]) -> Iterator[tuple[str, str]]:
    losses, held_out, seconds = (_curve(entries, name) for name in ("loss", "validation_loss", "seconds"))
    if losses.values:
        yield "steps", f"{losses.steps[-1]:,}"
        yield "loss of the last steps, nats per token", f"{losses.smoothed()[-1]:.4f}"
    if held_out.values:
        best = min(range(len(held_out.values)), key=held_out.values.__getitem__)
        for when, place in (("at first", 0), ("at best", best), ("at last", -1)):
            nats = held_out.values[place]
            yield f"held-out {when}, step {held_out.steps[place]}", f"{nats:.4f}, perplexity {_perplexity(nats)}"
    skipped = [str(entry["skipped"]) for entry in entries if entry.get("skipped")]
    if skipped:
        yield "steps skipped", f"{len(skipped)}, the last: {skipped[-1]}"
    yield "time in steps", duration(math.fsum(seconds.values))


def _perplexity(nats: float) -> str:
    return f"{math.exp(nats):,.2f}" if nats < 100 else "beyond counting"


def _curve(entries: Sequence[Mapping[str, object]], name: str) -> _Curve:
    points = [(entry["step"], entry[name]) for entry in entries if isinstance(entry.get(name), int | float)]
    return _Curve([int(str(step)) for step, _ in points], [float(str(value)) for _, value in points])


def _draw_losses(axes: Axes, entries: Sequence[Mapping[str, object]]) -> None:
    training, held_out = _curve(entries, "loss"), _curve(entries, "validation_loss")
    axes.plot(training.steps, training.values, color="tab:blue", alpha=0.25, linewidth=0.8)
    axes.plot(training.steps, training.smoothed(), color="tab:blue", label="training, running mean")
    if held_out.values:
        axes.plot(held_out.steps, held_out.values, "o-", color="tab:orange", label="held out")
    axes.set_xlabel("step")
    axes.set_ylabel("nats per token")
    axes.legend(frameon=False)


def _draw(axes: Axes, curve: _Curve) -> None:
    axes.plot(curve.steps, curve.values, color="tab:blue", linewidth=1.0)
    axes.set_xlabel("step")


def _flat(settings: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value)
        else:
            yield name, value


def duration(seconds: float) -> str:
    """Hours, minutes and seconds with colons between them."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"

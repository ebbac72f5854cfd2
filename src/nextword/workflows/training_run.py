"""`TrainingRun`: a run that `pretrain` or `finetune` has prepared; `steps` or `train` trains it.

It joins the trainer with what higher rooms provide: validation, sample texts, export, curves, the report, and the
trained model as a `LanguageModel`. It prints nothing: lines for people go to `on_note`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from nextword.checks import checked_arguments
from nextword.errors import ConfigError, MissingExtraError, NextwordError, RequestError
from nextword.plain_text import count
from nextword.training.metrics import Curve, MetricsEntry, curve, read_metrics
from nextword.workflows.live_display import LiveDisplay
from nextword.workflows.training_page import run_figures, run_html, write_training_report

if TYPE_CHECKING:
    from torch import Tensor

    from nextword.data.records import BadRecords
    from nextword.language_model import LanguageModel
    from nextword.models.transformer import Transformer
    from nextword.training.callbacks import Callbacks, StepReport
    from nextword.training.plan import Plan
    from nextword.training.processes import Processes
    from nextword.training.tensorboard import TensorBoardLog
    from nextword.training.trainer import Trainer


def ignore(*_: object) -> None:
    """Do nothing: the default of a callback."""


@dataclass(frozen=True, kw_only=True)
class Listeners:
    """Callbacks of the caller; all are called on rank zero alone."""

    on_step: Callable[[StepReport], None] = ignore
    on_note: Callable[[str], None] = ignore
    """Receives lines for people: validations, skipped steps, where files are."""
    on_sample: Callable[[int, str], None] = ignore
    """Receives the number of a step and the text that the model generated after it."""


def note_bad(bad: BadRecords, note: Callable[[str], None]) -> None:
    """Tell people how many records were left out, if any were."""
    if bad.num_bad:
        note(f"{count(bad.num_bad, 'unreadable record')} left out; the first: {bad.first}")


@dataclass(frozen=True, kw_only=True)
class RunSetup:
    """Everything of a run but its trainer."""

    folder: Path
    title: str
    """Title of the report."""
    prompt: str
    """Text that the samples continue."""
    settings: Mapping[str, object]
    """Section -> settings, or a setting, for the report."""
    validate: Callable[[Transformer], float] | None
    sample: Callable[[Transformer], str] | None
    export: Callable[[dict[str, Tensor], Path], None]
    make_plan: Callable[[], Plan]
    bad: BadRecords
    """Records that could not be read, and were left out."""
    listeners: Listeners
    processes: Processes


@dataclass
class _Record:
    """Entries of metrics.jsonl in memory, with TensorBoard's log while the run trains."""

    on_sample: Callable[[int, str], None]
    entries: list[MetricsEntry] = field(default_factory=list)
    log: TensorBoardLog | None = None

    def add(self, entry: MetricsEntry) -> None:
        self.entries.append(dict(entry))
        if self.log is not None:
            self.log.write(entry)
        if "sample" in entry:
            self.on_sample(int(str(entry["step"])), str(entry["sample"]))


class TrainingRun:
    """A prepared run: data are read, and the model is built, or resumed from the checkpoint in the folder.

    Nothing is trained before `steps`, `train` or `load` is called. A stopped run resumes with the same bits as an
    uninterrupted one: in this object, or in another process that makes the same call.
    """

    def __init__(self, make_trainer: Callable[[Callbacks], Trainer], setup: RunSetup) -> None:
        """Build the trainer; `pretrain` and `finetune` call this. Raises as `Trainer`."""
        from nextword.training.callbacks import Callbacks

        self._setup, self._record, self._is_complete = setup, _Record(setup.listeners.on_sample), False
        self._trainer = make_trainer(
            Callbacks(
                on_step=setup.listeners.on_step,
                validate=setup.validate,
                sample=setup.sample,
                export=setup.export,
                note=setup.listeners.on_note,
                record=self._record.add,
            )
        )
        self._record.entries[:] = read_metrics(self.folder / "metrics.jsonl")

    @property
    def folder(self) -> Path:
        """Folder of the run: models, checkpoints, metrics.jsonl, report."""
        return self._setup.folder

    @property
    def model_folder(self) -> Path:
        """Folder of the trained model or adapter, written at the end."""
        return self.folder / "model"

    @property
    def num_bad(self) -> int:
        """Number of records that `skip_bad` left out; 0 where the tokens were there already."""
        return self._setup.bad.num_bad

    @property
    def first_bad(self) -> str | None:
        """Message about the first record that was left out."""
        return self._setup.bad.first

    @property
    def step(self) -> int:
        """Number of steps done."""
        return self._trainer.step

    @property
    def num_steps(self) -> int:
        """Number of steps of the whole run."""
        return self._trainer.recipe.steps

    @property
    def is_finished(self) -> bool:
        """True if no step is left, also where `patience` ended the run early."""
        return self._trainer.is_finished

    @cached_property
    def plan(self) -> Plan:
        """Parameters, memory, steps and estimated time, as `--dry-run` prints them."""
        return self._setup.make_plan()

    @property
    def metrics(self) -> list[dict[str, object]]:
        """Entries of metrics.jsonl so far: "step" with "loss", "lr", "mfu" ..., "validation_loss" or "sample"."""
        return [dict(entry) for entry in self._record.entries]

    @checked_arguments
    def curve(self, name: str) -> Curve:
        """Select one number of the metrics, such as "loss" or "validation_loss", as (steps, values)."""
        return curve(self._record.entries, name)

    def steps(self) -> Iterator[StepReport]:
        """Train, yielding each step as it is done; after the last one the model and the report are written.

        A loop that is left early saves a checkpoint, as Ctrl-C and SIGTERM do, which raise KeyboardInterrupt. Raises
        TrainingError if step after step has to be skipped.
        """
        from nextword.training.processes import lost_processes_named
        from nextword.training.tensorboard import TensorBoardLog

        with lost_processes_named(), TensorBoardLog(self.folder / "tensorboard") as self._record.log:
            yield from self._trainer.steps()
        self._is_complete = True
        self._finish()

    def train(self) -> TrainingRun:
        """Train to the end, showing the curve live in a notebook; return the run. Raises as `steps`."""
        with LiveDisplay(self) as display:
            for _ in self.steps():
                display.update()
        return self

    def load(self, which: Literal["last", "best"] = "last") -> LanguageModel:
        """Load the trained model, after training the remaining steps.

        "best": the weights at the best validation. Raises RequestError for another word, ConfigError if the run was
        never validated.
        """
        from nextword.loading import load

        if which not in ("last", "best"):
            raise RequestError(f"which must be 'last' or 'best', is {which!r}")
        if not self._is_complete:
            self.train()
        path = self.model_folder if which == "last" else self.folder / "best"
        if not path.exists():
            raise ConfigError(f"{path}: the run has no best model, since nothing was held out to validate it on")
        return load(path)

    def report(self) -> Path:
        """Write loss.png and report.html; return the page's path.

        Raises MissingExtraError without matplotlib, DataError if writing fails.
        """
        setup = self._setup
        return write_training_report(self.folder, title=setup.title, prompt=setup.prompt, settings=setup.settings)

    def __repr__(self) -> str:
        return f"TrainingRun({str(self.folder)!r}, step {self.step:,} of {self.num_steps:,})"

    def __str__(self) -> str:
        figures = [f"{name}: {value}" for name, value in run_figures(self._record.entries)]
        return "\n".join([f"{self._setup.title}: {self._state()}", *figures])

    def _repr_html_(self) -> str:
        return run_html(self._record.entries, title=self._setup.title, state=self._state())

    def _state(self) -> str:
        left_out = f"; {count(self.num_bad, 'unreadable record')} left out" if self.num_bad else ""
        return f"step {self.step:,} of {self.num_steps:,}, in {self.folder}{left_out}"

    def _finish(self) -> None:
        processes, note = self._setup.processes, self._setup.listeners.on_note
        processes.leave()
        if not processes.is_rank_zero:
            return
        try:
            page = self.report()
        except MissingExtraError:
            note("no report: matplotlib is not installed: pip install 'nextword[train]'")
        except NextwordError as error:
            note(f"no report: {error}")
        else:
            note(f"the report is {page}, the loss alone {page.with_name('loss.png')}")

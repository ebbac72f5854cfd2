"""What both commands that train show and leave: progress, TensorBoard's curves, sample texts, a report at the end."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from nextword.cli.console import is_rank_zero, note
from nextword.cli.training_progress import TrainingProgress
from nextword.workflows.training_page import write_training_report

if TYPE_CHECKING:
    from torch import Tensor

    from nextword.models.transformer import Transformer
    from nextword.training.trainer import Callbacks, Trainer


@dataclasses.dataclass(frozen=True, kw_only=True)
class Looks:
    """What is done with the model on the way, and the words for the report."""

    validate: Callable[[Transformer], float] | None
    sample: Callable[[Transformer], str] | None
    export: Callable[[dict[str, Tensor], Path], None]
    prompt: str
    """What the samples begin with, in words."""
    shows_samples: bool


def train(
    make_trainer: Callable[[Callbacks], Trainer],
    looks: Looks,
    *,
    folder: Path,
    num_steps: int,
    title: str,
    settings: Mapping[str, object],
) -> None:
    """Run the trainer to its end with all that is to be seen of it. Raises as `Trainer`."""
    with _callbacks(looks, folder, num_steps) as callbacks:
        make_trainer(callbacks).run()
    if is_rank_zero():
        write_training_report(folder, title=title, prompt=looks.prompt, settings=settings, note=note)


@contextlib.contextmanager
def _callbacks(looks: Looks, folder: Path, num_steps: int) -> Iterator[Callbacks]:
    from nextword.training.tensorboard import TensorBoardLog
    from nextword.training.trainer import Callbacks

    progress = TrainingProgress(num_steps)
    with TensorBoardLog(folder / "tensorboard") as log:
        yield Callbacks(
            on_step=progress.on_step,
            validate=looks.validate,
            sample=looks.sample,
            export=looks.export,
            note=progress.note,
            record=_Record(log.write, progress, shows_samples=looks.shows_samples),
        )


class _Record:
    """Hands lines of metrics on, and shows sample texts."""

    def __init__(
        self, write: Callable[[Mapping[str, object]], None], progress: TrainingProgress, *, shows_samples: bool
    ) -> None:
        self._write, self._progress, self._shows_samples = write, progress, shows_samples

    def __call__(self, entry: Mapping[str, object]) -> None:
        self._write(entry)
        if self._shows_samples and "sample" in entry:
            self._progress.show_text(f"step {entry['step']} writes:", str(entry["sample"]))

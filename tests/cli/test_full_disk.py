"""On a full disk every writer says so in one line with the path, and leaves no half file."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import nextword as nw
from nextword.adapters.adapter_files import write_adapter
from nextword.errors import NextwordError
from nextword.html.page import write_page
from nextword.text.train_tokenizer import train_tokenizer
from nextword.training.tensorboard import TensorBoardLog

FULL = "No space left on device"


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk has no room for what is flushed to it."""

    def refuse(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, FULL)

    monkeypatch.setattr(os, "fsync", refuse)


def export_folder(model: Path, target: Path) -> None:
    nw.export(model, output=target, to="hf")


def save_tokenizer(model: Path, target: Path) -> None:
    train_tokenizer(["abc"], vocab_size=9, kind="characters").save(target.parent)


def save_adapter(model: Path, target: Path) -> None:
    write_adapter(target.parent, {"r": 8}, {}, base=None)


def write_html(model: Path, target: Path) -> None:
    write_page(target, "A page", [])


@pytest.mark.usefixtures("full_disk")
@pytest.mark.parametrize("write", [export_folder, save_tokenizer, save_adapter, write_html])
def test_a_full_disk_is_named_with_the_path(tiny: Path, tmp_path: Path, write: Callable[[Path, Path], None]) -> None:
    with pytest.raises(NextwordError) as refused:
        write(tiny, tmp_path / "target")
    assert re.fullmatch(rf"{tmp_path}(/target)?: cannot be written: {FULL}", str(refused.value))
    assert list(tmp_path.iterdir()) == []


def test_event_files_end_where_the_disk_was_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with TensorBoardLog(tmp_path) as log:
        log.write({"step": 1, "loss": 2.0})
        monkeypatch.setattr(log, "_add", _refuse)
        log.write({"step": 2, "loss": 1.0})
        monkeypatch.undo()
        log.write({"step": 3, "loss": 0.5})
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss/training")] == [(1, 2.0)]


def _refuse(event: object) -> None:
    raise OSError(errno.ENOSPC, FULL)

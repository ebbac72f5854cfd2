"""Records that cannot be read end the preparation of a training run, or are left out and counted in the run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import nextword as nw
from nextword.errors import DataError

pytest.importorskip("torch")

GOOD = json.dumps(
    {
        "text": "the river ran to the sea",
        "messages": [{"role": "user", "content": "Where?"}, {"role": "assistant", "content": "There."}],
    }
)
SMALL: Any = {"context": 8, "vocab_size": 260, "hidden_size": 32, "num_layers": 1, "num_heads": 2, "steps": 1}


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("records") / "records.jsonl"
    path.write_text("\n".join([GOOD] * 20 + ["{", "[]"] + [GOOD] * 20))
    return path


def prepare(records: Path, folder: Path, on: str, *, skip_bad: bool, notes: list[str]) -> nw.TrainingRun:
    if on == "pretrain":
        return nw.pretrain(records, output=folder / "run", skip_bad=skip_bad, on_note=notes.append, **SMALL)
    corpus = folder / "corpus.txt"
    corpus.write_text("the river ran to the sea " * 40)
    model = nw.pretrain(corpus, output=folder / "base", **{**SMALL, "context": 64}).train().model_folder
    how: Any = {"on": on, "skip_bad": skip_bad, "chat_template": "chatml" if on == "chats" else None}
    return nw.finetune(model, records, output=folder / "run", context=64, on_note=notes.append, **how)


@pytest.mark.parametrize("on", ["pretrain", "chats", "text"])
def test_they_are_errors(records: Path, tmp_path: Path, on: str) -> None:
    with pytest.raises(DataError, match=r"records.jsonl:21"):
        prepare(records, tmp_path, on, skip_bad=False, notes=[])


@pytest.mark.parametrize("on", ["pretrain", "chats", "text"])
def test_they_are_left_out_and_counted(records: Path, tmp_path: Path, on: str) -> None:
    notes: list[str] = []
    run = prepare(records, tmp_path, on, skip_bad=True, notes=notes)
    assert run.num_bad == 2
    assert run.first_bad is not None
    assert "records.jsonl:21" in run.first_bad
    assert any(note.startswith("2 unreadable records left out; the first:") for note in notes)
    assert "2 unreadable records left out" in str(run)
    assert "2 unreadable records left out" in run._repr_html_()

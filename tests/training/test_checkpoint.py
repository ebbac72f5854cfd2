"""Checkpoints are whole or not there, and a run killed at any moment ends as the run that never was."""

from __future__ import annotations

import multiprocessing
import random
import signal
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from nextword.errors import CheckpointError
from nextword.training import checkpoint
from nextword.training.checkpoint import TrainingState, find_checkpoint, load_tensors, load_values, save_checkpoint
from nextword.training.metrics import read_metrics
from tests.training import killed_run

STATE = TrainingState({"weight": torch.arange(4.0), "random": torch.arange(5, dtype=torch.uint8)}, {"step": 3})


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_state_comes_back_as_it_was_and_older_ones_go(tmp_path: Path) -> None:
    assert find_checkpoint(tmp_path / "none") is None
    save_checkpoint(tmp_path, 3, STATE)
    save_checkpoint(tmp_path, 12, TrainingState({"weight": torch.zeros(1)}, {"step": 12}))
    save_checkpoint(tmp_path, 12, STATE)
    assert names(tmp_path) == {"step-00000012"}
    found = find_checkpoint(tmp_path)
    assert found is not None
    assert load_values(found) == STATE.values
    loaded = load_tensors(found)
    assert all(torch.equal(loaded[name], tensor) for name, tensor in STATE.tensors.items())


def test_a_disk_that_refuses_leaves_the_last_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_checkpoint(tmp_path, 3, STATE)

    def refuse(_: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "_sync", refuse)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(tmp_path, 4, STATE)
    assert names(tmp_path) == {"step-00000003"}


def test_a_full_disk_is_an_error_of_the_system_in_whatever_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(checkpoint, "save_file", refuse)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(tmp_path, 4, STATE)
    assert names(tmp_path) == set()


def test_what_a_killed_run_left_half_written_goes_with_the_next_save(tmp_path: Path) -> None:
    (tmp_path / ".step-00000009.abc.partial").mkdir()
    assert find_checkpoint(tmp_path) is None
    save_checkpoint(tmp_path, 3, STATE)
    assert names(tmp_path) == {"step-00000003"}


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, 3, STATE)
    weights = tmp_path / "step-00000003" / "state.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=r"step-00000003: cannot be read"):
        load_tensors(tmp_path / "step-00000003")
    weights.unlink()
    with pytest.raises(CheckpointError, match=r"step-00000003: state.safetensors is missing"):
        load_values(tmp_path / "step-00000003")


@pytest.mark.slow
def test_a_run_killed_at_random_moments_ends_bit_by_bit_as_one_never_killed(tmp_path: Path) -> None:
    num_threads = torch.get_num_threads()
    whole = killed_run.run(tmp_path / "whole")
    torch.set_num_threads(num_threads)
    moments = random.Random(7)
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["tests.training.killed_run"])  # imports PyTorch once for all of the runs
    for _ in range(6):
        process = server.Process(target=killed_run.run, args=[tmp_path / "killed"])
        process.start()
        _wait_for_progress(tmp_path / "killed" / "checkpoints", process)
        time.sleep(moments.uniform(0.0, 0.15))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL, "the run came to its end before it was killed"
    last = find_checkpoint(tmp_path / "killed" / "checkpoints")
    # A system that refuses to write loses checkpoints and metrics, but neither the run nor what was there.
    refused = server.Process(target=killed_run.run_with_small_files, args=[tmp_path / "killed"])
    refused.start()
    refused.join()
    assert refused.exitcode == 0
    assert find_checkpoint(tmp_path / "killed" / "checkpoints") == last
    killed = killed_run.run(tmp_path / "killed")
    assert killed.step == killed_run.RECIPE.steps
    for name, tensor in whole.exported().items():
        assert torch.equal(tensor, killed.exported()[name]), name
    runs = [read_metrics(tmp_path / name / "metrics.jsonl") for name in ("whole", "killed")]
    assert [entry["loss"] for entry in runs[0]] == [entry["loss"] for entry in runs[1]]


def _wait_for_progress(checkpoints: Path, process: BaseProcess) -> None:
    """Until a step is done: the start of a run takes longer than the moments looked for."""
    last = find_checkpoint(checkpoints)
    while process.is_alive() and find_checkpoint(checkpoints) == last:
        time.sleep(0.001)

"""Two processes train what one trains, each way there is; either goes on from the other's checkpoint."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from nextword.errors import ConfigError
from nextword.training.metrics import read_metrics
from nextword.training.processes import ALONE, Processes
from tests.training.several_processes import RUNS, train

WAYS = ("ddp", "fsdp")
ROOT = Path(__file__).parents[2]


def launch(folder: Path, what: str) -> subprocess.CompletedProcess[str]:
    program = ["--standalone", "--nproc-per-node", "2", "-m", "tests.training.several_processes", str(folder), what]
    command = [sys.executable, "-m", "torch.distributed.run", *program]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=180)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all runs of one process and of two."""
    folder = tmp_path_factory.mktemp("runs")
    num_threads = torch.get_num_threads()
    for name in RUNS:
        train(name, folder / f"{name}-alone", ALONE)
    for way in WAYS:
        train("plain", folder / f"begun-alone-{way}", ALONE, stop_at=5)
    done = launch(folder, "all")
    assert done.returncode == 0, done.stderr
    for way in WAYS:
        train("plain", folder / f"stopped-{way}", ALONE)
    torch.set_num_threads(num_threads)
    return folder


def figures(folder: Path) -> list[dict[str, Any]]:
    kept = ("step", "loss", "grad_norm", "num_targets", "validation_loss")
    return [{key: entry[key] for key in kept if key in entry} for entry in read_metrics(folder / "metrics.jsonl")]


def assert_same_run(folder: Path, alone: Path, *, tolerance: float) -> None:
    for entry, expected in zip(figures(folder), figures(alone), strict=True):
        assert entry == pytest.approx(expected, rel=tolerance), folder.name
    expected_weights = load_file(alone / "model.safetensors")
    weights = load_file(folder / "model.safetensors")
    assert weights.keys() == expected_weights.keys()
    for name, expected_weight in expected_weights.items():
        torch.testing.assert_close(weights[name], expected_weight, rtol=0, atol=tolerance, msg=f"{folder.name}: {name}")


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", RUNS)
def test_two_processes_train_what_one_does(name: str, way: str, runs: Path) -> None:
    """Losses, lengths of gradients, the count of targets, averaged weights; accumulated, clipped, with z-loss."""
    is_coarse = name == "muon" or RUNS[name].compute.precision == "bfloat16"  # Muon multiplies in bfloat16
    tolerance = 2e-2 if is_coarse else 1e-4
    assert_same_run(runs / f"{name}-{way}", runs / f"{name}-alone", tolerance=tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_a_signal_to_one_process_lets_all_save_and_one_goes_on(way: str, runs: Path) -> None:
    folder = runs / f"stopped-{way}"
    outcome = json.loads((folder / "outcome-1.json").read_text())  # the last process, which got the signal
    assert (outcome["step"], outcome["is_interrupted"]) == (3, True)
    outcome = json.loads((folder / "outcome-0.json").read_text())  # the one that went on alone
    assert outcome["said"][:2] == ["resuming after step 3", "step 4"]
    assert_same_run(folder, runs / "plain-alone", tolerance=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_two_processes_go_on_where_one_was_stopped(way: str, runs: Path) -> None:
    outcome = json.loads((runs / f"begun-alone-{way}" / "outcome-0.json").read_text())
    assert outcome["said"][:2] == ["resuming after step 3", "step 4"]
    assert_same_run(runs / f"begun-alone-{way}", runs / "plain-alone", tolerance=1e-4)


@pytest.mark.slow
def test_a_run_goes_on_in_another_way(runs: Path) -> None:
    assert_same_run(runs / "changed", runs / "plain-alone", tolerance=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_only_the_first_process_speaks_and_files_hold_no_pickle(way: str, runs: Path) -> None:
    folder = runs / f"plain-{way}"
    said = [json.loads((folder / f"outcome-{rank}.json").read_text())["said"] for rank in (0, 1)]
    assert said[0][0].startswith("step 0: validation loss")
    assert "step 1" in said[0]
    assert said[1] == []
    (checkpoint,) = (folder / "checkpoints").iterdir()
    assert {path.suffix for path in checkpoint.iterdir()} == {".json", ".safetensors"}
    assert len(list(checkpoint.glob("*.safetensors"))) == 2


@pytest.mark.slow
def test_an_error_in_one_process_ends_the_others_at_once(tmp_path: Path) -> None:
    start = time.monotonic()
    done = launch(tmp_path, "fail")
    assert done.returncode != 0
    assert "DataError: the disk of one process is gone" in done.stderr
    assert time.monotonic() - start < 60


def test_rows_that_cannot_be_shared_equally_are_refused() -> None:
    assert Processes(world_size=2).local_batch_size(6) == 3
    with pytest.raises(ConfigError, match="batch_size = 5 cannot be shared by 2 processes: take a multiple"):
        Processes(world_size=2).local_batch_size(5)

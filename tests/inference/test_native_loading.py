"""Loading into the native backend: from floats of any width, in little memory, and stopped on the way."""

from __future__ import annotations

import dataclasses
import functools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("nextword._native")

from nextword.checkpoints.safetensors_file import open_safetensors, write_safetensors
from nextword.errors import CheckpointError, TokenizerError
from nextword.inference.backend import Weights
from nextword.inference.native_backend import NativeBackend
from nextword.models.stored_tensor import FloatDtype, StoredTensor
from nextword.models.weights import weight_shapes
from tests.inference.native import CONFIG, logits_of, native, random_text, random_weights

LARGE = dataclasses.replace(CONFIG, vocab_size=999, hidden_size=1024, intermediate_size=4096, head_dim=128)
"""Some 36 million weights: several batches of 4 MB in each matrix."""
TEXT = random_text(60)


def halves(dtype: FloatDtype) -> dict[str, StoredTensor]:
    return {name: tensor.encoded_as(dtype) for name, tensor in random_weights(CONFIG).items()}


@pytest.mark.parametrize("weights", ["q8", "q4"])
@pytest.mark.parametrize("dtype", ["F16", "BF16"])
def test_weights_are_rounded_alike_from_floats_of_any_width(dtype: FloatDtype, weights: Weights) -> None:
    tensors = halves(dtype)
    as_float32 = {name: tensor.encoded_as("F32") for name, tensor in tensors.items()}
    expected = logits_of(native(tensors=as_float32, weights=weights), TEXT)
    np.testing.assert_array_equal(logits_of(native(tensors=tensors, weights=weights), TEXT), expected)


@pytest.mark.parametrize("isa", ["portable", "avx2", "avx512"])
def test_weights_are_rounded_alike_on_every_instruction_set(isa: str) -> None:
    expected = logits_of(native(weights="q4"), TEXT)
    np.testing.assert_array_equal(logits_of(native(weights="q4", isa=isa, num_threads=1), TEXT), expected)


def test_a_number_beyond_the_range_of_float16_is_an_error_that_names_the_tensor() -> None:
    tensors = random_weights(CONFIG)
    name = "layers.1.mlp.down_proj.weight"
    tensors[name].data[3, 5] = 65520
    with pytest.raises(CheckpointError, match=f"tensor {name} has numbers beyond the range of 16 bits; "):
        native(tensors=tensors, weights="f16")
    tensors[name].data[3, 5] = 65519
    native(tensors=tensors, weights="f16")


@pytest.mark.parametrize("value", [np.nan, -np.inf, 1e9])
@pytest.mark.parametrize("weights", ["q8", "q4"])
def test_a_number_that_no_integer_can_stand_for_is_an_error(weights: Weights, value: float) -> None:
    tensors = random_weights(CONFIG)
    name = "layers.1.mlp.down_proj.weight"
    tensors[name].data[3, 5] = value
    with pytest.raises(CheckpointError, match=f"tensor {name} has numbers that are infinite, NaN or beyond the range"):
        native(tensors=tensors, weights=weights)
    native(tensors=tensors, weights="f32")


def test_a_number_that_cannot_be_packed_is_named_with_its_file(tmp_path: Path) -> None:
    tensors = random_weights(CONFIG)
    name = "layers.1.mlp.down_proj.weight"
    tensors[name].data[3, 5] = np.inf
    path = tmp_path / "model.safetensors"
    write_safetensors(path, tensors, shapes=weight_shapes(CONFIG), dtype="F32")
    with pytest.raises(CheckpointError) as caught:
        native(tensors=open_safetensors(path), weights="q8")
    assert str(caught.value).startswith(f"{path}: tensor {name} has numbers that are infinite, NaN or ")
    assert str(caught.value).endswith("; load the model with weights f32 or bf16")


def test_progress_goes_up_to_one() -> None:
    shares: list[float] = []
    NativeBackend(LARGE, random_weights(LARGE), weights="q8", num_threads=2, on_progress=shares.append)
    assert shares == sorted(shares)
    assert len(shares) > 5
    assert shares[-1] == 1.0


@pytest.mark.parametrize("num_works", [1, 2, 7])
def test_other_work_is_done_once_while_weights_are_packed(num_works: int) -> None:
    calls: list[str] = []
    works = [functools.partial(calls.append, f"work {number}") for number in range(num_works)]
    backend = NativeBackend(
        LARGE,
        random_weights(LARGE),
        num_threads=2,
        on_progress=lambda share: calls.append("progress"),
        meanwhile=works,
    )
    assert calls[0] == "work 0"
    assert [call for call in calls if call != "progress"] == [f"work {number}" for number in range(num_works)]
    expected = logits_of(NativeBackend(LARGE, random_weights(LARGE), num_threads=1), TEXT)
    np.testing.assert_array_equal(logits_of(backend, TEXT), expected)


def test_an_error_of_the_other_work_comes_before_those_of_the_weights() -> None:
    tensors = random_weights(CONFIG)
    tensors["layers.1.mlp.down_proj.weight"].data[3, 5] = 65520

    def fail() -> None:
        raise TokenizerError("no tokens")

    with pytest.raises(TokenizerError, match="no tokens"):
        NativeBackend(CONFIG, tensors, weights="f16", num_threads=2, meanwhile=[fail])
    with pytest.raises(TokenizerError, match="no tokens"):
        NativeBackend(LARGE, random_weights(LARGE), num_threads=2, meanwhile=[lambda: None, fail])


@pytest.fixture(scope="module")
def large_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("large") / "model.safetensors"
    write_safetensors(path, random_weights(LARGE), shapes=weight_shapes(LARGE), dtype="F16")
    return path


SCRIPT = """
import os, signal, sys
from pathlib import Path
from nextword.checkpoints.safetensors_file import open_safetensors
from nextword.inference.native_backend import NativeBackend
from tests.inference.test_native_loading import LARGE, memory

tensors = open_safetensors(Path(sys.argv[1]))
"""


def memory(field: str) -> int:
    """Bytes of this process, by a field of /proc/self/status."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


def run(script: str, path: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT + script, str(path)], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.strip()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of memory is read from /proc")
@pytest.mark.parametrize("weights", ["auto", "q8", "q4"])
def test_loading_takes_little_more_than_the_packed_weights(large_file: Path, weights: Weights) -> None:
    script = f"""
before = memory("VmRSS:")
backend = NativeBackend(LARGE, tensors, weights={weights!r}, num_threads=2)
print(memory("VmHWM:") - before, backend.weight_bytes)
"""
    peak, packed = map(int, run(script, large_file).split())
    assert peak < packed + 25e6


def test_ctrl_c_ends_loading_and_frees_its_memory(large_file: Path) -> None:
    script = """
def interrupt(share):
    if share > 0.5:
        os.kill(os.getpid(), signal.SIGINT)

before = memory("VmRSS:")
try:
    NativeBackend(LARGE, tensors, num_threads=2, on_progress=interrupt)
except KeyboardInterrupt:
    print("interrupted")
print(memory("VmRSS:") - before < 25e6)
"""
    assert run(script, large_file) == "interrupted\nTrue"


@pytest.mark.skipif(os.name == "nt", reason="a mapped file cannot be truncated there")
@pytest.mark.parametrize("backend", ["native", "torch"])
def test_a_file_that_shrinks_while_it_is_loaded_is_an_error(backend: str, large_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(large_file.read_bytes())
    if backend == "torch":
        pytest.importorskip("torch")
    script = f"""
from nextword.errors import CheckpointError
from nextword.inference.open_backend import open_backend

def truncate(share):
    os.truncate(sys.argv[1], 1000)

if {backend!r} == "torch":
    truncate(0.0)
try:
    open_backend(LARGE, tensors, backend={backend!r}, num_threads=2, on_progress=truncate)
except CheckpointError as error:
    print(error)
"""
    assert "model.safetensors: changed while it was read" in run(script, path)


def test_ctrl_c_during_other_work_ends_loading_and_frees_its_memory(large_file: Path) -> None:
    script = """
before = memory("VmRSS:")
try:
    NativeBackend(LARGE, tensors, num_threads=2, meanwhile=[lambda: os.kill(os.getpid(), signal.SIGINT)])
except KeyboardInterrupt:
    print("interrupted")
print(memory("VmRSS:") - before < 25e6)
"""
    assert run(script, large_file) == "interrupted\nTrue"

"""A file that changes while it is mapped: never a crash, never values that it does not have."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nextword.checkpoints.safetensors_file import open_safetensors, write_safetensors
from nextword.errors import CheckpointError
from nextword.input_file import map_file
from nextword.models.stored_tensor import StoredTensor
from nextword.native import native

needs_core = pytest.mark.skipif(native is None or os.name == "nt", reason="the C++ core guards mapped files")
VALUES = np.arange(2**18, dtype=np.float32).reshape(512, 512)
CHANGED = r"model\.safetensors: changed while it was read, by another program, or its disk fails; load it again"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with one matrix of a megabyte."""
    stored = {"w": StoredTensor("w", "F32", VALUES.shape, VALUES)}
    write_safetensors(tmp_path / "model.safetensors", stored, shapes={"w": VALUES.shape}, dtype="F32")
    return tmp_path / "model.safetensors"


def ended(script: str, path: Path) -> subprocess.CompletedProcess[str]:
    """Run a script that may be ended by a signal."""
    return subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=False)


@needs_core
def test_what_a_file_has_lost_is_refused_when_it_was_read(path: Path) -> None:
    script = """
import os, sys
from pathlib import Path
import numpy as np
from nextword.checkpoints.safetensors_file import open_safetensors
from nextword.errors import CheckpointError

tensor = open_safetensors(Path(sys.argv[1]))["w"]
status = os.stat(sys.argv[1])
os.truncate(sys.argv[1], 100_000)
print(tensor.data.sum() > 0, tensor.data[-1].max())  # zeros instead of a crash
os.truncate(sys.argv[1], status.st_size)
os.utime(sys.argv[1], ns=(status.st_atime_ns, status.st_mtime_ns))
rows = np.array([3, 1])
for read in (tensor.require_unchanged, lambda: tensor.take_rows(rows).data, lambda: tensor.encoded_as("F16")):
    try:
        read()
    except CheckpointError as error:
        print(error)
"""
    done = ended(script, path)
    assert done.returncode == 0, done.stderr
    first, *refusals = done.stdout.splitlines()
    assert first == "True 0.0"
    assert len(refusals) == 3
    assert all("changed while it was read" in refusal for refusal in refusals)


@needs_core
def test_bus_errors_of_others_end_the_process_as_before(path: Path) -> None:
    of_others = """
import mmap, os, sys
from pathlib import Path
from nextword.input_file import map_file

guarded = map_file(Path(sys.argv[1]), least=1, kind="a file")
with open(sys.argv[1], "rb") as file:
    plain = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
os.truncate(sys.argv[1], 0)
guarded[-1], plain[-1]
"""
    sent = "import os, signal; from nextword.native import native; guard = native.MappingGuard(bytes(9)); "
    for script in (of_others, sent + "os.kill(os.getpid(), signal.SIGBUS)"):
        assert ended(script, path).returncode == -signal.SIGBUS


@needs_core
def test_places_of_mappings_that_have_gone_are_used_again(path: Path) -> None:
    for _ in range(5000):
        mapping = map_file(path, least=1, kind="a file")
    os.truncate(path, 100_000)
    assert mapping[-1] == 0
    with pytest.raises(CheckpointError, match=CHANGED):
        mapping.require_unchanged()


def test_a_file_that_was_written_in_place_is_refused(path: Path) -> None:
    tensor = open_safetensors(path)["w"]
    with path.open("r+b") as file:
        file.seek(500_000)
        file.write(b"other")
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000))  # a clock may not have moved on
    with pytest.raises(CheckpointError, match=CHANGED):
        tensor.require_unchanged()


@pytest.mark.parametrize("change", ["replaced", "deleted"])
def test_a_file_that_is_replaced_stays_as_it_was(change: str, path: Path) -> None:
    tensor = open_safetensors(path)["w"]
    if change == "replaced":
        (path.parent / "new").write_bytes(bytes(10))
        (path.parent / "new").replace(path)
    else:
        path.unlink()
    assert np.array_equal(tensor.take_rows(np.array([2, 511])).data, VALUES[[2, 511]])
    tensor.require_unchanged()

"""What a model takes of the memory beside the interpreter and its libraries: the weights, once, and keys and values."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("nextword._native")

from nextword.checkpoints.catalogue import CATALOGUE, is_pulled

MOST = 1.1
"""Times the bytes of packed weights, keys and values."""
SCRIPT = """
from nextword.checkpoints.catalogue import resolve
from nextword.checkpoints.open_directory import open_model_directory
from nextword.inference.backend import Chunk
from nextword.inference.native_backend import NativeBackend

def memory(field):
    line = next(line for line in open("/proc/self/status") if line.startswith(field))
    return int(line.split()[1]) * 1024

directory = open_model_directory(resolve("smollm2-135m"))
_ = directory.tokenizer
before = memory("VmRSS:")
backend = NativeBackend(directory.config, directory.tensors, num_threads=2)
cache_id = backend.open_cache()
for step in [range(512)] + [[7]] * 32:
    backend.step([Chunk(cache_id, list(step), 1)])
print(memory("VmHWM:") - before, backend.weight_bytes + backend.cache_bytes)
"""


@pytest.mark.model
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of memory is read from /proc")
def test_the_peak_beside_the_interpreter_is_little_more_than_weights_keys_and_values() -> None:
    if not is_pulled(CATALOGUE["smollm2-135m"]):
        pytest.skip("smollm2-135m is not in the cache: nextword pull smollm2-135m")
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    peak, needed = map(int, done.stdout.split())
    assert needed > 100e6
    assert peak < MOST * needed

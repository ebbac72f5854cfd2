"""Tests of llama.cpp's server, against ours; `python -m acceptance` runs all of them and those of other projects."""

from __future__ import annotations

import itertools
import subprocess
import sys

import pytest
from acceptance.adapting import EXCLUSIONS, Exclusions
from acceptance.llama_cpp_native import from_native, slots
from acceptance.suites import ROOT, SUITES

from nextword.checkpoints.catalogue import CATALOGUE, is_pulled

SELECTED = "test_completion.py or test_tokenize.py"


@pytest.mark.parametrize("suite", SUITES)
def test_each_exclusion_has_a_reason(suite: str) -> None:
    lines = (EXCLUSIONS / f"{suite}.txt").read_text().splitlines()
    for above, line in itertools.pairwise(["", *lines]):
        assert above or not line.startswith(" "), f"{line}: no reason stands above it"
        assert not line or line.startswith("    ") or line.endswith("."), f"{line}: is no sentence"
    Exclusions(EXCLUSIONS / f"{suite}.txt")


def test_native_requests_ask_for_the_same() -> None:
    body = from_native({"prompt": [{"prompt_string": "a"}, [1]], "n_predict": -1, "logit_bias": [[5, -100]]})
    assert (body["prompt"], body["logit_bias"]) == (["a", [1]], {"5": -100})
    assert body["max_tokens"] > 2**16
    assert slots("nextword:num_requests_running 1.0\n", 2) == [{"is_processing": True}, {"is_processing": False}]


@pytest.mark.slow
@pytest.mark.peer
@pytest.mark.model
def test_llama_cpp_s_tests_of_completions_pass() -> None:
    """Those are in it that llama.cpp skips, or weakens, since its texts depend on the slot and the cache."""
    if not is_pulled(CATALOGUE["smollm2-135m"]):
        pytest.skip("needs the tokenizer of smollm2-135m: nextword pull smollm2-135m")
    try:
        SUITES["llama_cpp"].unpack("llama_cpp")
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"the package index cannot be reached: {error}")
    command = [sys.executable, "-m", "acceptance", "llama_cpp", "-q", "-k", SELECTED]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    assert " passed" in done.stdout

"""Threads and processes around the native backend: several callers, several models, forks, and an orderly end."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("nextword._native")

from tests.inference.native import CONFIG, WINDOW, logits_of, native, random_text

SECONDS = 60
"""Beyond which a child process hangs."""

LARGE = dataclasses.replace(CONFIG, hidden_size=256, intermediate_size=1024, num_layers=6, max_seq_len=2000)

PRELUDE = """
import os, sys, threading, time
import numpy as np
from nextword.errors import BackendError
from tests.inference.native import CONFIG, logits_of, native, random_text
text = random_text(200)
backend = native(CONFIG, num_threads=3)
expected = logits_of(backend, text)
def status_of(child):
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)
"""


def run_python(script: str) -> str:
    """What a script prints in a process of its own that ends in time, in order and silently."""
    result = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", PRELUDE + script],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout.strip()


def test_threads_that_step_different_models_do_not_meet() -> None:
    texts = [random_text(150, seed=seed) for seed in range(4)]
    configs = [CONFIG, WINDOW, CONFIG, WINDOW]
    expected = [logits_of(native(config), text) for config, text in zip(configs, texts, strict=True)]
    backends = [native(config, num_threads=3) for config in configs]

    def work(index: int) -> bool:
        return all(
            np.array_equal(logits_of(backends[index], texts[index], chunks=[3, 40]), expected[index]) for _ in range(20)
        )

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(4)))


def test_threads_that_step_one_model_take_turns() -> None:
    backend = native(num_threads=3)
    texts = [random_text(150, seed=seed) for seed in range(4)]
    expected = [logits_of(backend, text) for text in texts]

    def work(index: int) -> bool:
        return all(
            np.array_equal(logits_of(backend, texts[index], chunks=[1, 2, 50]), expected[index]) for _ in range(20)
        )

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(4)))
    assert backend.cache_bytes == 0


def test_other_python_threads_go_on_while_a_long_prompt_runs() -> None:
    backend = native(LARGE, num_threads=1)
    started, is_over = threading.Event(), threading.Event()

    def prefill() -> None:
        started.set()
        logits_of(backend, random_text(1500))
        is_over.set()

    thread = threading.Thread(target=prefill)
    thread.start()
    started.wait()
    turns = 0
    while not is_over.is_set():
        time.sleep(0.001)
        turns += 1
    thread.join()
    assert turns > 10, "a thread that needs the interpreter got it only after the step"


def test_models_end_in_any_order_and_while_their_threads_sleep() -> None:
    for num_threads in (1, 2, 5, 9):
        first, second = native(num_threads=num_threads), native(num_threads=num_threads)
        logits_of(second, [1, 2, 3])
        del first
        logits_of(second, [1, 2, 3])
        time.sleep(0.01)
        del second


@pytest.mark.parametrize("end", ["os._exit(0)", "sys.exit(0)", "del backend; os._exit(0)"])
def test_a_forked_process_goes_on_with_its_copy_and_the_parent_with_its_own(end: str) -> None:
    script = f"""
time.sleep(0.05)  # until the threads sleep
child = os.fork()
if child == 0:
    assert all(np.array_equal(logits_of(backend, text), expected) for _ in range(3))
    {end}
print(status_of(child), np.array_equal(logits_of(backend, text), expected))
"""
    assert run_python(script) == "0 True"


def test_a_forked_process_that_never_uses_its_copy_ends_in_order() -> None:
    script = """
child = os.fork()
if child == 0:
    sys.exit(0)
print(status_of(child), np.array_equal(logits_of(backend, text), expected))
"""
    assert run_python(script) == "0 True"


def test_a_process_forked_in_the_middle_of_a_step_is_told_so() -> None:
    """Which of the two a child meets depends on the moment; none may hang, and some are in the middle."""
    script = """
is_over = False
def work():
    while not is_over:
        logits_of(backend, text)
thread = threading.Thread(target=work)
thread.start()
answers = set()
for _ in range(20):
    time.sleep(0.003)
    child = os.fork()
    if child == 0:
        try:
            is_right = np.array_equal(logits_of(backend, text), expected)
            os._exit(1 if is_right else 3)
        except BackendError as error:
            os._exit(2 if "was computing when this process was forked" in str(error) else 4)
    answers.add(status_of(child))
is_over = True
thread.join()
print(answers <= {1, 2}, 2 in answers, np.array_equal(logits_of(backend, text), expected))
"""
    assert run_python(script) == "True True True"


def test_threads_that_the_system_refuses_are_an_error_not_an_end() -> None:
    """Each thread wants room for its stack, so little room is left here for many."""
    script = """
import resource
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + 2**30
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    native(num_threads=1000)
except BackendError as error:
    print("refused" if "1000 threads cannot be started" in str(error) else error)
print(np.array_equal(logits_of(backend, text), expected))
"""
    if not Path("/proc/self/statm").exists():
        pytest.skip("the room that a process has is read from /proc")
    assert run_python(script) == "refused\nTrue"


@pytest.mark.slow
@pytest.mark.parametrize("end", ["os._exit(0)", "sys.exit(0)", "del backend"])
@pytest.mark.parametrize("length", [2, 200])
def test_a_process_may_end_while_a_thread_is_in_the_middle_of_a_step(end: str, length: int) -> None:
    """Python ends a thread that comes back to it then by unwinding its stack, which C++ answers with an abort."""
    script = f"""
def work(backend):
    while True:
        logits_of(backend, text[:{length}]).argmax()
for backend in (backend, native(CONFIG, num_threads=2)):
    threading.Thread(target=work, args=(backend,), daemon=True).start()
time.sleep(0.05)
print("ended", flush=True)
{end}
"""
    for _ in range(3):
        assert run_python(script) == "ended"


def test_a_forked_process_does_not_wait_at_its_end_for_threads_that_it_does_not_have() -> None:
    script = """
def work():
    while True:
        logits_of(backend, text)
threading.Thread(target=work, daemon=True).start()
for _ in range(10):
    time.sleep(0.003)
    child = os.fork()
    if child == 0:
        sys.exit(0)
    assert status_of(child) == 0
print("ended")
"""
    assert run_python(script) == "ended"


def test_ctrl_c_ends_a_long_step_and_the_texts_are_as_before() -> None:
    script = """
import dataclasses, signal
from nextword.inference.backend import Chunk
large = dataclasses.replace(CONFIG, hidden_size=256, intermediate_size=1024, num_layers=6, max_seq_len=2000)
backend = native(large, num_threads=2, max_cache_bytes=2**30)
texts = [random_text(1500, seed=seed) for seed in range(40)]
expected = logits_of(backend, texts[0])
places = [backend.open_cache() for _ in texts]
chunks = [Chunk(place, text, 0) for place, text in zip(places, texts)]
try:
    threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    backend.step(chunks)
except KeyboardInterrupt:
    print("interrupted")
print({backend.cache_length(place) for place in places}, backend.cache_bytes)
print(np.array_equal(backend.step([Chunk(places[0], texts[0], 1500)])[0], expected))
"""
    assert run_python(script) == "interrupted\n{0} 0\nTrue"


def test_memory_that_the_system_refuses_in_a_step_is_an_error_and_the_texts_are_as_before() -> None:
    script = """
import resource
from nextword.errors import RequestError
from nextword.inference.backend import Chunk
backend = native(CONFIG, num_threads=2, max_cache_bytes=2**40)
places = [backend.open_cache() for _ in range(1200)]
backend.step([Chunk(place, text, 1) for place in places[:2]])
limit = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize() + 2**23
resource.setrlimit(resource.RLIMIT_AS, (limit, -1))
try:
    backend.step([Chunk(place, text, 0) for place in places[2:]])
except RequestError as error:
    print(str(error).partition(":")[0])
resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
print({backend.cache_length(place) for place in places[2:]}, {backend.cache_length(place) for place in places[:2]})
print(np.array_equal(backend.step([Chunk(places[-1], text, 200)])[0], expected))
"""
    if not Path("/proc/self/statm").exists():
        pytest.skip("the room that a process has is read from /proc")
    assert run_python(script) == "the system has no more memory\n{0} {200}\nTrue"


def test_a_process_forked_beside_a_busy_engine_computes_or_is_told_so() -> None:
    script = """
from nextword.decoding.params import SamplingParams
from nextword.inference.engine import Engine
from tests.text.test_tokenizer import TOKENIZER
import dataclasses
engine = Engine(native(dataclasses.replace(CONFIG, vocab_size=TOKENIZER.vocab_size), num_threads=2), TOKENIZER)
params = SamplingParams(max_tokens=5, min_tokens=5, seed=1)
def tokens():
    request = engine.submit([5, 6], params)
    engine.run([request])
    return request.sequences[0].token_ids
expected, is_over = tokens(), False
def work():
    while not is_over:
        assert tokens() == expected
thread = threading.Thread(target=work)
thread.start()
answers = set()
for _ in range(20):
    time.sleep(0.003)
    child = os.fork()
    if child == 0:
        try:
            os._exit(1 if tokens() == expected else 3)
        except BackendError as error:
            os._exit(2 if "computing when this process was forked" in str(error) else 4)
    answers.add(status_of(child))
is_over = True
thread.join()
print(answers <= {1, 2}, 2 in answers, tokens() == expected)
"""
    assert run_python(script) == "True True True"

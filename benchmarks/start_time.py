"""How long does a command take from nothing to its first token? `nextword generate` in a fresh process, whole.

    python -m benchmarks.start_time [--model smollm2-135m] [--repeats 9]

Seconds from before the process is started until the first byte of the completion can be read, so they hold the
interpreter, all imports, loading and the prompt, which has 20 tokens. Beside it stand a process that calls llama.cpp's
bindings in Python, two pages of help, `import nextword`, and the interpreter alone. Medians over repeats that take
turns; the files are in the page cache from an unmeasured first round. Prints a table, writes
benchmarks/results/start_time.json.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path

import tyro

from benchmarks.bar import Bar, print_bars
from benchmarks.peers.process import PeerError, SideProcess, as_installed
from nextword.checkpoints.catalogue import resolve
from nextword.checkpoints.open_directory import open_model_directory
from nextword.inference.native_backend import num_cores

PROMPT = "The lighthouse on the northern point was built in 1871, after three ships had been"
NUM_TOKENS, NUM_NEW = 20, 8
COMMAND, PEER = "nextword generate, first token", "llama.cpp, first token"
MOST_OVER_PEER = 1.2
BARS = {
    COMMAND: 0.7,
    "nextword --help": 0.15,
    "nextword generate --help": 0.15,
    "import nextword, above Python's own": 0.05,
}
RESULTS = Path(__file__).parent / "results" / "start_time.json"


def main(model: str = "smollm2-135m", repeats: int = 9) -> None:
    """Time starting.

    Args:
        model: a name, folder or file.
        repeats: medians are taken over so many processes of each.
    """
    path = resolve(model)
    token_ids = open_model_directory(path).tokenizer.encode(PROMPT)
    assert len(token_ids) == NUM_TOKENS, "the prompt has 20 tokens"
    command = installed_command()
    commands = {
        COMMAND: [command, "generate", model, PROMPT, "--max-tokens", str(NUM_NEW)],
        "nextword --help": [command, "--help"],
        "nextword generate --help": [command, "generate", "--help"],
        "import nextword": [sys.executable, "-c", "import nextword; print()"],
        "the interpreter alone": [sys.executable, "-c", "print()"],
    }
    seconds: dict[str, list[float]] = {name: [] for name in [*commands, PEER]}
    for _ in range(repeats + 1):
        for name, words in commands.items():
            seconds[name].append(seconds_to_first_byte(words))
        try:
            if PEER in seconds:
                seconds[PEER].append(seconds_to_first_token(path, token_ids))
        except PeerError as error:
            print(f"{PEER}: not measured: {error}", file=sys.stderr)
            del seconds[PEER]
    medians = {name: statistics.median(found[1:]) for name, found in seconds.items()}
    medians["import nextword, above Python's own"] = medians["import nextword"] - medians["the interpreter alone"]
    for name, median in medians.items():
        print(f"{name:36} {median:6.3f} s")
    print_bars(bars(medians))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({"medians": medians, "seconds": seconds}, indent=2) + "\n")


def bars(medians: Mapping[str, float]) -> Iterator[Bar]:
    """Return the targets in seconds, and that of the command's first token as a ratio to llama.cpp's."""
    for name, most in BARS.items():
        yield Bar(f"{name}, s", most, medians[name], is_most=True)
    value = medians[COMMAND] / medians[PEER] if PEER in medians else None
    yield Bar(f"{COMMAND} / {PEER}", MOST_OVER_PEER, value, is_most=True)


def installed_command() -> str:
    """Return the path of the command that was installed with the package, perhaps into the environment below."""
    for file in metadata.files("nextword") or ():
        if file.match("bin/nextword"):
            return str(file.locate())
    sys.exit("the command nextword is not installed: try  make .venv/.installed-dev")


def seconds_to_first_byte(words: list[str]) -> float:
    """Return the seconds until the first byte of a command's output."""
    start = time.perf_counter()
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=as_installed())
    assert process.stdout is not None
    os.read(process.stdout.fileno(), 1)
    found = time.perf_counter() - start
    process.communicate()
    if process.returncode != 0:
        sys.exit(f"{' '.join(words)} ended with code {process.returncode}")
    return found


def seconds_to_first_token(path: Path, token_ids: Sequence[int]) -> float:
    """Return the seconds from the start of a process to the token that llama.cpp puts behind the prompt.

    Raises PeerError where its bindings are not installed, or fail.
    """
    process = SideProcess("llama_cpp", path, "plain", threads=num_cores())
    with contextlib.closing(process):
        process.begin([token_ids], NUM_NEW)
        return time.perf_counter() - process.started


if __name__ == "__main__":
    tyro.cli(main)

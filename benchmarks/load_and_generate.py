"""How long from a cold start to a running model, and how fast is it then? Ours beside transformers on one GGUF file.

    python -m benchmarks.load_and_generate [--model NAME_OR_FILE] [--repeats 5] [--threads N] [--json FILE]

Every measurement is a fresh process, ours and theirs by turns; seconds count from before the process is started, so
they hold the interpreter and all imports. Both compute in float32 with the same number of threads, continue the same
prompt greedily, and must write the same text. Medians; the files are in the page cache from an unmeasured first round.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

NUM_TOKENS = 64
PROMPT = (
    "The lighthouse on the northern point was built in 1871, after three ships had been lost in a single winter. "
    "Its first keeper, a carpenter named Elias Brandt, lived there for thirty-one years with his wife and five "
    "children. They grew potatoes in a walled garden, kept two goats, and rowed to the village once a month for oil, "
    "flour and letters. When fog came in, one of the children had to strike a bell every two minutes, by day and by "
    "night, until it lifted; the longest watch in the log book lasted"
)
SECONDS = {
    "help": "the command's --help",
    "tokenizer": "config and tokenizer ready",
    "weights": "all weights ready to run",
    "first_token": "first token",
}
SPEED = "tokens_per_second"
QUIET = {"HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1", "TRANSFORMERS_VERBOSITY": "error"}

Measured = dict[str, float]


def main(
    model: str = "smollm2-135m", repeats: int = 5, threads: int = os.cpu_count() or 1, json: Path | None = None
) -> None:
    """Time loading and generating.

    Args:
        model: a catalogue name or a GGUF file.
        repeats: medians are taken over so many processes of each.
        threads: of both.
        json: also write the figures here.
    """
    from nextword.checkpoints.catalogue import resolve

    runs = interleaved(str(resolve(model).resolve()), repeats=repeats, threads=threads)
    medians = {
        side: {name: statistics.median(run[name] for run in of_side) for name in of_side[0]}
        for side, of_side in runs.items()
    }
    print_table(medians)
    if json is not None:
        write(json, {"machine": machine(threads), "repeats": repeats, "medians": medians, "runs": runs})


def interleaved(path: str, *, repeats: int, threads: int) -> dict[str, list[Measured]]:
    """The figures of every process but those of the first round, by side."""
    runs: dict[str, list[Measured]] = {side: [] for side in SIDES}
    for _ in range(repeats + 1):
        texts = []
        for side, measure in SIDES.items():
            measured, token_ids = in_fresh_process(measure, path, threads=threads)
            runs[side].append({"help": seconds_of_help(side, threads=threads), **measured})
            texts.append(token_ids)
        if texts[0] != texts[1]:
            sys.exit("the two wrote different texts, so their times cannot be compared")
    return {side: of_side[1:] for side, of_side in runs.items()}


def ours(path: str, started: float) -> tuple[Measured, list[int]]:
    """Milestones of nextword in this process, and the tokens it wrote."""
    from nextword.checkpoints.open_directory import open_model_directory

    _ = open_model_directory(Path(path)).tokenizer
    tokenizer_ready = time.time()

    import nextword

    model = nextword.load(path)
    weights_ready = time.time()
    stream = model.stream(PROMPT, temperature=0.0, max_tokens=NUM_TOKENS)
    times = [time.time() for _ in stream]
    token_ids = [token.token_id for token in stream.generation.completions[0].tokens]
    return milestones(started, tokenizer_ready, weights_ready, times), token_ids


def theirs(path: str, started: float) -> tuple[Measured, list[int]]:
    """The same of transformers."""
    from transformers import AutoConfig, AutoTokenizer

    folder, name = os.path.split(path)
    config = AutoConfig.from_pretrained(folder, gguf_file=name)
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
    tokenizer_ready = time.time()

    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, config=config, dtype=torch.float32)
    weights_ready = time.time()
    times: list[float] = []
    prompt = tokenizer(PROMPT, return_tensors="pt")
    output = model.generate(**prompt, max_new_tokens=NUM_TOKENS, do_sample=False, streamer=Stopwatch(times))
    return milestones(started, tokenizer_ready, weights_ready, times), output[0, prompt.input_ids.shape[1] :].tolist()


class Stopwatch:
    """A streamer of transformers: notes when each token comes. The first call brings the prompt."""

    def __init__(self, times: list[float]) -> None:
        self._times = times
        self._is_prompt = True

    def put(self, token_ids: object) -> None:
        """Take the next token."""
        if not self._is_prompt:
            self._times.append(time.time())
        self._is_prompt = False

    def end(self) -> None:
        """Nothing is held back."""


SIDES: dict[str, Callable[[str, float], tuple[Measured, list[int]]]] = {"ours": ours, "transformers": theirs}
COMMANDS = {"ours": "nextword", "transformers": "transformers"}


def milestones(started: float, tokenizer_ready: float, weights_ready: float, times: list[float]) -> Measured:
    """Seconds since the start, and the speed from the first token to the last."""
    return {
        "tokenizer": tokenizer_ready - started,
        "weights": weights_ready - started,
        "first_token": times[0] - started,
        SPEED: (NUM_TOKENS - 1) / (times[-1] - times[0]),
    }


def in_fresh_process(
    measure: Callable[[str, float], tuple[Measured, list[int]]], path: str, *, threads: int
) -> tuple[Measured, list[int]]:
    """What `measure` returns in a process of its own."""
    call = f"{measure.__name__}(sys.argv[1], float(sys.argv[2]))"
    code = f"import json, sys; from benchmarks.load_and_generate import *; print(json.dumps({call}))"
    command = [sys.executable, "-c", code, path, str(time.time())]
    process = subprocess.run(command, env=environment(threads), stdout=subprocess.PIPE, text=True, check=True)
    measured, token_ids = json.loads(process.stdout.splitlines()[-1])
    return measured, token_ids


def seconds_of_help(side: str, *, threads: int) -> float:
    """Wall time of the command that asks for help."""
    name = COMMANDS[side]
    start = time.perf_counter()
    command = [str(Path(sys.executable).parent / name), "--help"]
    subprocess.run(command, env=environment(threads), stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def environment(threads: int) -> dict[str, str]:
    """Of the measured processes."""
    return {**os.environ, **QUIET, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}


def print_table(medians: dict[str, Measured]) -> None:
    """One line a measurement; the ratio is above 1 where ours is better."""
    print(f"{'from a cold process':34} {'ours':>10} {'transformers':>13} {'times as fast':>14}")
    mine, other = medians["ours"], medians["transformers"]
    for name, title in SECONDS.items():
        print(f"{title:34} {mine[name]:8.2f} s {other[name]:11.2f} s {other[name] / mine[name]:14.1f}")
    title = f"greedy, {NUM_TOKENS} tokens"
    print(f"{title:34} {mine[SPEED]:6.1f} t/s {other[SPEED]:9.1f} t/s {mine[SPEED] / other[SPEED]:14.1f}")


def machine(threads: int) -> dict[str, str]:
    """What the figures depend on."""
    import torch
    import transformers

    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    processor = platform.processor() or platform.machine()
    return {"processor": processor, "threads": str(threads), "python": platform.python_version(), **versions}


def write(path: Path, result: dict[str, Any]) -> None:
    """The figures as JSON."""
    path.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    import tyro

    tyro.cli(main)

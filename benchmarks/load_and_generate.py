"""How long from a cold start to a running model, and how fast is it then? Ours beside transformers on one GGUF file.

    python -m benchmarks.load_and_generate [--model NAME_OR_FILE] [--repeats 5] [--threads N] [--json FILE]

Every measurement is a fresh process, all in turn; seconds count from before the process is started, so they hold the
interpreter and all imports. All continue the same prompt greedily with the same number of threads. Transformers
computes in float32, which is all it can do with such a file: native f32 and torch do the same work, native computes on
the weights as the file has them. Medians; the files are in the page cache from an unmeasured first round.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
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
EQUAL = "equal_tokens"
OURS: dict[str, dict[str, Any]] = {
    "native": {"backend": "native"},
    "native f32": {"backend": "native", "weights": "f32"},
    "torch": {"backend": "torch"},
}
"""Our sides, with the arguments of `nextword.load` for each."""
THEIRS = "transformers"
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
    """Return the figures of every process, except those of the first round, by side."""
    runs: dict[str, list[Measured]] = {side: [] for side in (*OURS, THEIRS)}
    for _ in range(repeats + 1):
        results = {side: in_fresh_process(side, path, threads=threads) for side in runs}
        expected = results[THEIRS][1]
        for side, (measured, token_ids) in results.items():
            help_seconds = seconds_of_help("nextword" if side in OURS else THEIRS, threads=threads)
            equal = next(
                (i for i, pair in enumerate(zip(token_ids, expected, strict=False)) if pair[0] != pair[1]), NUM_TOKENS
            )
            runs[side].append({"help": help_seconds, **measured, EQUAL: equal})
    return {side: of_side[1:] for side, of_side in runs.items()}


def measure(side: str, path: str, threads: int, started: float) -> tuple[Measured, list[int]]:
    """Measure the milestones of one side in this process; return them with its tokens."""
    return theirs(path, started) if side == THEIRS else ours(path, threads, started, **OURS[side])


def ours(path: str, threads: int, started: float, **how: Any) -> tuple[Measured, list[int]]:
    """Measure nextword."""
    from nextword.checkpoints.open_directory import open_model_directory

    _ = open_model_directory(Path(path)).tokenizer
    tokenizer_ready = time.time()

    import nextword

    model = nextword.load(path, num_threads=threads, **how)
    weights_ready = time.time()
    stream = model.stream(PROMPT, temperature=0.0, max_tokens=NUM_TOKENS)
    times = [time.time() for _ in stream]
    token_ids = [token.token_id for token in stream.generation.completions[0].tokens]
    return milestones(started, tokenizer_ready, weights_ready, times), token_ids


def theirs(path: str, started: float) -> tuple[Measured, list[int]]:
    """Measure transformers."""
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


def milestones(started: float, tokenizer_ready: float, weights_ready: float, times: list[float]) -> Measured:
    """Seconds since the start, and the speed from the first token to the last."""
    return {
        "tokenizer": tokenizer_ready - started,
        "weights": weights_ready - started,
        "first_token": times[0] - started,
        SPEED: (NUM_TOKENS - 1) / (times[-1] - times[0]),
    }


def in_fresh_process(side: str, path: str, *, threads: int) -> tuple[Measured, list[int]]:
    """Call `measure` in a fresh process."""
    code = (
        "import json, sys; from benchmarks.load_and_generate import measure; "
        "side, path, threads, started = sys.argv[1:]; "
        "print(json.dumps(measure(side, path, int(threads), float(started))))"
    )
    command = [sys.executable, "-c", code, side, path, str(threads), str(time.time())]
    process = subprocess.run(command, env=environment(threads), stdout=subprocess.PIPE, text=True, check=True)
    measured, token_ids = json.loads(process.stdout.splitlines()[-1])
    return measured, token_ids


def seconds_of_help(command: str, *, threads: int) -> float:
    """Wall time of a command that is asked for help."""
    path = Path(sys.executable).parent / command
    start = time.perf_counter()
    subprocess.run([path, "--help"], env=environment(threads), stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def environment(threads: int) -> dict[str, str]:
    """Return the environment of the measured processes."""
    return {**os.environ, **QUIET, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}


def print_table(medians: dict[str, Measured]) -> None:
    """Print a line for each measurement, in brackets the speed-up over transformers."""
    print(f"{'from a cold process':30}" + "".join(f"{side:>20}" for side in medians))
    other = medians[THEIRS]
    for name, title in SECONDS.items():
        cells = [f"{of[name]:.2f} s ({other[name] / of[name]:.1f})" for of in medians.values()]
        print(f"{title:30}" + "".join(f"{cell:>20}" for cell in cells))
    cells = [f"{of[SPEED]:.1f} t/s ({of[SPEED] / other[SPEED]:.1f})" for of in medians.values()]
    print(f"{f'greedy, {NUM_TOKENS} tokens':30}" + "".join(f"{cell:>20}" for cell in cells))
    print(f"{'first tokens equal to theirs':30}" + "".join(f"{of[EQUAL]:>20.0f}" for of in medians.values()))


def machine(threads: int) -> dict[str, str]:
    """Describe machine, versions and settings."""
    import torch
    import transformers

    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    processor = platform.processor() or platform.machine()
    return {"processor": processor, "threads": str(threads), "python": platform.python_version(), **versions}


def write(path: Path, result: dict[str, Any]) -> None:
    """Write the figures as JSON."""
    path.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    import tyro

    tyro.cli(main)

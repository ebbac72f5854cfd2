"""How fast is perplexity? Ours beside llama.cpp and transformers: all tokens of windows of 2,048 of a text, scored.

    python -m benchmarks.perplexity [TEXT] [--context 2048] [--windows 3] [--threads N] [--repeats 2] [--json FILE]

TEXT is WikiText-2's validation set where ../shared/data has it. Each side is a process that stays alive and rests
while another is timed; windows and repeats go round all sides. All get the same token ids. transformers computes in
bfloat16 and in float32, which is the faster one on some processors. The text's perplexity stands beside each speed:
who computes with fewer bits may lose some of it. Peak memory is that of the process, weights and all; what ours takes
for a text does not depend on its length, which tests/evaluation holds.
"""

from __future__ import annotations

import json as json_format
import math
import statistics
import sys
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from benchmarks.bar import Bar, print_bars
from benchmarks.inference import machine
from benchmarks.model_files import model_files
from benchmarks.peers.process import PeerError, SideProcess
from benchmarks.sides import OURS, Entry
from nextword.checkpoints.catalogue import resolve
from nextword.checkpoints.open_directory import open_model_directory
from nextword.inference.native_backend import num_cores

WIKITEXT = Path(__file__).parents[1] / ".." / "shared" / "data" / "wikitext2-valid.txt"
ENTRIES = (
    Entry("Q4_1", OURS, "nextword_backend", "Q4_1"),
    Entry("Q4_1", "llama.cpp", "llama_cpp", "Q4_1", ("plain",)),
    Entry("Q4_1", "llama.cpp", "llama_cpp", "Q4_1", ("flash",)),
    Entry("bf16", OURS, "nextword_backend", "bf16"),
    Entry("bf16", "transformers", "transformers_model", "bf16"),
    Entry("bf16", "transformers", "transformers_model", "bf16", ("float32",)),
)


@dataclass
class Line:
    """Figures of one side."""

    seconds: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Seconds of each window, one for each repeat."""
    nats: dict[int, float] = field(default_factory=dict)
    peak_bytes: int = 0

    @property
    def total_seconds(self) -> float:
        """Sum the medians over the repeats of all windows."""
        return sum(statistics.median(of_window) for of_window in self.seconds.values())


def main(
    text: Annotated[Path, tyro.conf.Positional] = WIKITEXT,
    model: str = "smollm2-135m",
    context: int = 2048,
    windows: int = 3,
    threads: int = num_cores(),
    repeats: int = 2,
    json: Path | None = None,
) -> None:
    """Time scoring, ours and theirs.

    Args:
        text: a file.
        model: a catalogue name or a GGUF file, in Q4_1.
        context: tokens of a window.
        windows: so many from the beginning of the text.
        threads: of every side.
        repeats: medians are taken over so many.
        json: also write the figures here.
    """
    files = model_files(resolve(model))
    token_ids = open_model_directory(files["Q4_1"]).tokenizer.encode(text.read_text(encoding="utf-8"))
    chosen = [token_ids[start : start + context] for start in range(0, windows * context, context)]
    if len(chosen[-1]) < context:
        sys.exit(f"{text}: has {len(token_ids)} tokens, fewer than {windows} windows of {context}")
    lines = measure(files, chosen, threads=threads, repeats=repeats)
    num_scored = windows * (context - 1)
    print_table(lines, num_scored=num_scored)
    print_bars([faster_than_transformers(lines)])
    if json is not None:
        figures = {
            f"{entry.library} {entry.group} {' '.join(entry.settings)}".strip(): {
                "tokens_per_second": num_scored / line.total_seconds,
                "perplexity": math.exp(sum(line.nats.values()) / num_scored),
                "peak_bytes": line.peak_bytes,
            }
            for entry, line in lines.items()
        }
        json.write_text(
            json_format.dumps({"machine": machine(), "context": context, "sides": figures}, indent=2) + "\n"
        )


def measure(files: dict[str, Path], windows: list[list[int]], *, threads: int, repeats: int) -> dict[Entry, Line]:
    """Every window by every side in turn; the first window once unmeasured. A side that cannot run is left out."""
    lines: dict[Entry, Line] = {}
    processes: dict[Entry, SideProcess] = {}
    for entry in ENTRIES:
        try:
            process = SideProcess(entry.module, files[entry.weights], *entry.settings, threads=threads)
            process.score(windows[0][:256])
        except PeerError as error:
            print(f"{entry.title} ({entry.group}): {error}", file=sys.stderr)
            continue
        processes[entry], lines[entry] = process, Line()
    for _ in range(repeats):
        for number, window in enumerate(windows):
            for entry, process in processes.items():
                scored = process.score(window)
                lines[entry].seconds[number].append(scored["seconds"])
                lines[entry].nats[number] = scored["nats"]
                lines[entry].peak_bytes = scored["peak_bytes"]
    for process in processes.values():
        process.close()
    return lines


def print_table(lines: dict[Entry, Line], *, num_scored: int) -> None:
    """Print a line for each side; the last columns hold our speed-up, with each kind of weights."""
    speeds = {entry: num_scored / line.total_seconds for entry, line in lines.items()}
    ours = {entry.group: speed for entry, speed in speeds.items() if entry.library == OURS}
    ratios = "".join(f"{f'ours {group}':>12}" for group in ours)
    print(f"{'':28}{'tokens/s':>10}{'perplexity':>12}{'peak MB':>9}{ratios}")
    for entry, line in lines.items():
        perplexity = math.exp(sum(line.nats.values()) / num_scored)
        times = "".join(f"{f'{speed / speeds[entry]:.2f} x':>12}" for speed in ours.values())
        title = f"{entry.group}  {entry.title}"
        print(f"{title:28}{speeds[entry]:10.0f}{perplexity:12.3f}{line.peak_bytes / 1e6:9.0f}{times}")


def faster_than_transformers(lines: dict[Entry, Line]) -> Bar:
    """Return the target of our speed with the Q4_1 file as a ratio to transformers' faster precision."""
    seconds = {entry: line.total_seconds for entry, line in lines.items()}
    ours = [found for entry, found in seconds.items() if entry.library == OURS and entry.weights == "Q4_1"]
    theirs = [found for entry, found in seconds.items() if entry.library == "transformers"]
    value = min(theirs) / ours[0] if ours and theirs else None
    return Bar("scoring with Q4_1 / transformers' faster precision", 3, value)


if __name__ == "__main__":
    tyro.cli(main)

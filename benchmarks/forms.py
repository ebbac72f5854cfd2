"""Measure what a form costs: the time of a step of texts that must have one, beside that of free texts.

    python -m benchmarks.forms [--model NAME_OR_PATH] [--tokens 40] [--threads N] [--repeats 7]

An array of objects whose strings have a `maxLength` or none, drawn at temperature 1 or greedily, with 1 and 16
sequences; nothing is drafted. Pairs of both, one after the other. Prints milliseconds a step: median and fastest.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Mapping
from typing import Any

import tyro

import nextword
from nextword.inference.native_backend import num_cores

PROMPT = "People of a village as JSON, with name, town, age and occupation:\n"


def schema(most: int | None) -> str:
    """Return the schema of an array of people, whose strings have at most this many characters."""
    text: Mapping[str, Any] = {"type": "string"} if most is None else {"type": "string", "maxLength": most}
    fields = {"name": text, "town": text, "age": {"type": "integer"}, "occupation": text}
    person = {"type": "object", "properties": fields, "required": [*fields], "additionalProperties": False}
    return json.dumps({"type": "array", "items": person, "minItems": 8})


def main(model: str = "smollm2-135m", tokens: int = 40, threads: int = num_cores(), repeats: int = 7) -> None:
    """Time steps with a form, and without.

    Args:
        model: a name, folder or file.
        tokens: of each text.
        threads: of the native backend.
        repeats: pairs of both.
    """
    lm = nextword.load(model, num_threads=threads, speculation=False)
    print("| sequences | temperature | strings up to | free, ms a step | with the form | more |")
    print("|---|---|---|---|---|---|")
    for sequences in (1, 16):
        for temperature in (0.0, 1.0):
            for most in (None, 12):
                how: dict[str, Any] = {"n": sequences, "temperature": temperature, "max_tokens": tokens, "seed": 1}
                free = lm.params(**how, min_tokens=tokens)
                formed = lm.params(**how, schema=schema(most))
                lm.generate_batch([PROMPT], [formed])  # compiles
                times: list[list[float]] = [[], []]
                for _ in range(repeats):
                    for params, taken in zip((free, formed), times, strict=True):
                        start = time.perf_counter()
                        lm.generate_batch([PROMPT], [params])
                        taken.append(1e3 * (time.perf_counter() - start) / tokens)
                medians, fastest = list(map(statistics.median, times)), list(map(min, times))
                cells = [f"{one:.2f}, {other:.2f}" for one, other in zip(medians, fastest, strict=True)]
                more = f"{medians[1] / medians[0] - 1:.0%}, {fastest[1] / fastest[0] - 1:.0%}"
                print(f"| {sequences} | {temperature:g} | {most or 'any'} | {cells[0]} | {cells[1]} | {more} |")


if __name__ == "__main__":
    tyro.cli(main)

"""`python -m tests.fuzz --minutes 10 [KIND ...]`: try new inputs, and print those that fail."""

from __future__ import annotations

import argparse
import itertools
import time

from tests.fuzz.children import Child
from tests.fuzz.kinds import KINDS
from tests.fuzz.try_kind import try_kind

_EXAMPLES = 50
"""Inputs that are drawn with one seed."""


def main() -> None:
    """Try all kinds in turn until the time is over; exit with 1 if an input failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"kinds to try: {', '.join(KINDS)}; all if none")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long to try new inputs")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="first of the seeds that are drawn with")
    options = parser.parse_args()
    unknown = sorted(set(options.kinds) - set(KINDS))
    if unknown:
        parser.error(f"unknown kind {unknown[0]}; there are {', '.join(KINDS)}")
    end = time.monotonic() + 60 * options.minutes
    child, faults, tried = Child(), 0, 0
    rounds = ((seed, name) for seed in itertools.count(options.seed) for name in options.kinds or KINDS)
    for seed, name in itertools.takewhile(lambda _: time.monotonic() < end, rounds):
        try:
            try_kind(name, child, examples=_EXAMPLES, seed=seed)
            tried += _EXAMPLES
        except AssertionError as failure:
            faults += 1
            print(f"--- {name}, seed {seed}: {failure}\n", flush=True)
    child.close()
    print(f"{tried} inputs, {faults} rounds with a fault")
    raise SystemExit(1 if faults else 0)


if __name__ == "__main__":
    main()

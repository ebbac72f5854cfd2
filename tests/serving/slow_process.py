"""A server on a slow backend, in a process of its own: `python -m tests.serving.slow_process FOLDER STATE`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import nextword as nw
from nextword.inference.engine import Engine
from nextword.serving.limits import Limits
from nextword.serving.security import Access
from nextword.serving.server import listen, run
from nextword.serving.service import Service
from tests.serving.faults import FaultyBackend


def main(folder: str, state: str) -> None:
    """Serve until a signal comes; print the port."""
    bound = listen("127.0.0.1", 0)

    def ready() -> None:
        print(bound.getsockname()[1], flush=True)

    def open_service() -> Service:
        if state == "loading":
            ready()
            time.sleep(60)
        lm = nw.load(Path(folder))
        backend = FaultyBackend(delay=0.2 if state == "prefill" else 0.01, max_seq_len=30_000)
        slow = nw.LanguageModel(lm.directory, Engine(backend, lm.tokenizer, max_sequences=1), name="slow")
        return Service(slow, limits=Limits(drain=20.0 if state == "long-drain" else 0.4, max_queue_tokens=1_000_000))

    run(open_service, bound, Access(), ready)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""llama.cpp's own HTTP server, from the package xllamacpp, until standard input ends; prints its address.

python -m benchmarks.peers.xllamacpp_server MODEL.gguf THREADS SLOTS POSITIONS
"""

from __future__ import annotations

import sys

import xllamacpp


def main(model: str, threads: int, slots: int, positions: int) -> None:
    """Serve a model with so many slots, each of which holds so many positions."""
    params = xllamacpp.CommonParams()
    params.model.path = model
    params.n_parallel, params.n_ctx = slots, slots * positions
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.port = 0
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))

"""How fast can this machine read memory? The limit of decoding, since a step reads every weight once.

    python -m benchmarks.bandwidth

Measured by a small C++ program, compiled when it is first needed, on a buffer of the size that a step reads: what
fits into a processor's cache is read faster than the rest.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from nextword.inference.native_backend import num_cores

SOURCE = Path(__file__).parent / "read_memory.cpp"
PROGRAM = Path(__file__).parents[1] / "build" / "bench" / "read_memory"
SIZES = (2**25, 2**26, 2**27, 2**28, 2**30)
BYTES_IN_ALL = 2**32


def main() -> None:
    """Print a line for each size."""
    for size in SIZES:
        seconds = read_seconds(size, threads=num_cores())
        speed = "not measured: there is no C++ compiler" if seconds is None else f"{size / seconds / 1e9:.1f} GB/s"
        print(f"{size / 2**20:5.0f} MiB  {speed}")


def read_seconds(num_bytes: int, *, threads: int) -> float | None:
    """Seconds to read a buffer once, the median of many times in a row; None without a C++ compiler."""
    compiler = shutil.which("c++")
    if compiler is None:
        return None
    if not PROGRAM.exists() or PROGRAM.stat().st_mtime < SOURCE.stat().st_mtime:
        PROGRAM.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([compiler, "-O3", "-march=native", "-pthread", SOURCE, "-o", PROGRAM], check=True)
    passes = max(3, min(100, BYTES_IN_ALL // num_bytes))
    command = [str(PROGRAM), str(num_bytes), str(threads), str(passes)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


if __name__ == "__main__":
    main()

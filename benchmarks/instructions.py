"""Count the instructions of a token on 64-bit ARM processors, under emulation, so on any machine.

    python -m benchmarks.instructions [--tokens 32]

Wants Debian's g++-aarch64-linux-gnu, gcc, cmake and qemu-user. It builds the C++ core, a program that steps through a
model of SmolLM2-135M's shape on one thread (768 wide for K-quants, whose blocks want it), and a plugin for the emulator
that counts. Instructions are not time, but kernels of the same kind on the same processor take it in proportion.
"""

from __future__ import annotations

import argparse
import subprocess
from pathlib import Path

HERE = Path(__file__).parent
BUILD = HERE.parent / "build" / "instructions"
LIBRARIES = "/usr/aarch64-linux-gnu"
KINDS = ("q4min", "q4k", "q6k", "q8", "f16", "bf16")
INSTRUCTION_SETS = ("portable", "neon", "dotprod", "i8mm")


def main() -> None:
    """Print a row for each kind of weights and instruction set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=32, help="length of the prompt")
    num_tokens = parser.parse_args().tokens
    _build()
    print("| weights | instruction set | prompt, millions/token | decode, millions/token |\n|---|---|---|---|")
    for kind in KINDS:
        for isa in INSTRUCTION_SETS:
            prompt, decode = count(isa, kind, num_tokens)
            print(f"| {kind} | {isa} | {prompt / num_tokens / 1e6:.1f} | {decode / 1e6:.1f} |")


def count(isa: str, kind: str, num_tokens: int) -> tuple[int, int]:
    """Count the instructions of the step of a whole prompt, and of the step of the token after it."""
    emulator = ["qemu-aarch64", "-L", LIBRARIES, "-plugin", str(BUILD / "count_instructions.so")]
    command = [*emulator, str(BUILD / "smollm2_steps"), isa, kind, str(num_tokens)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return int(lines[1]), int(lines[3])  # the others are before and between the steps


def _build() -> None:
    compiler, core = "aarch64-linux-gnu-g++", HERE.parent / "native"
    target = ["-DCMAKE_SYSTEM_NAME=Linux", "-DCMAKE_SYSTEM_PROCESSOR=aarch64", f"-DCMAKE_CXX_COMPILER={compiler}"]
    plugin: list[str | Path] = [
        "gcc",
        "-shared",
        "-fPIC",
        "-O2",
        HERE / "count_instructions.c",
        "-o",
        BUILD / "count_instructions.so",
    ]
    program: list[str | Path] = [
        compiler,
        "-std=c++17",
        "-O2",
        f"-I{core}",
        HERE / "smollm2_steps.cpp",
        BUILD / "libnextword_core.a",
    ]
    subprocess.run(["cmake", "-S", core, "-B", BUILD, *target], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["cmake", "--build", BUILD, "--target", "nextword_core"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(plugin, check=True)
    subprocess.run([*program, "-pthread", "-o", BUILD / "smollm2_steps"], check=True)


if __name__ == "__main__":
    main()

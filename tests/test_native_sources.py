"""The C++ core depends on no operating system, but for one file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

NATIVE = Path(__file__).parents[1] / "native"
INSTRUCTIONS = {"simd_avx2.h": "immintrin.h", "simd_avx512.h": "immintrin.h", "simd_neon.h": "arm_neon.h"}
"""Headers of compilers, which are the same on every system."""


@pytest.mark.parametrize("source", sorted([*NATIVE.glob("*.h"), *NATIVE.glob("*.cpp")]), ids=lambda path: path.name)
def test_only_one_file_includes_headers_of_a_system(source: Path) -> None:
    included = set(re.findall(r"#\s*include <([^>]+)>", source.read_text()))
    foreign = {name for name in included if "." in name or "/" in name}
    allowed = {name for name in foreign if name.startswith("nanobind/")} | {INSTRUCTIONS.get(source.name), "cpuid.h"}
    assert source.name == "system.cpp" or foreign <= allowed

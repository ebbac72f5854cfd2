"""How much memory is free, by what the system's files say."""

from __future__ import annotations

from pathlib import Path

import pytest

from nextword.inference.free_memory import free_bytes

MEMINFO = (
    "MemTotal:       16000000 kB\nMemFree:          300000 kB\nMemAvailable:   12000000 kB\nHugePages_Total:       0\n"
)


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"proc/meminfo": MEMINFO}, 12_000_000 * 1024),
        (
            {
                "proc/meminfo": MEMINFO,
                "sys/fs/cgroup/memory.max": "2000000000\n",
                "sys/fs/cgroup/memory.current": "1500000000\n",
                "sys/fs/cgroup/memory.stat": "anon 5\ninactive_file 600000000\n",
            },
            1_100_000_000,
        ),
        (
            {"proc/meminfo": MEMINFO, "sys/fs/cgroup/memory.max": "max\n", "sys/fs/cgroup/memory.current": "7\n"},
            12_000_000 * 1024,
        ),
        (
            {
                "proc/meminfo": MEMINFO,
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "1000\n",
                "sys/fs/cgroup/memory/memory.usage_in_bytes": "1200\n",
            },
            0,
        ),
    ],
    ids=["the system", "a container", "a container without a limit", "a full container"],
)
def test_the_least_that_system_and_container_leave_is_free(
    tmp_path: Path, files: dict[str, str], expected: int
) -> None:
    write(tmp_path, files)
    assert free_bytes(tmp_path) == expected


def test_a_system_that_does_not_say_has_half_of_its_memory(tmp_path: Path) -> None:
    assert free_bytes(tmp_path) > 0


def test_this_machine_has_some() -> None:
    assert 0 < free_bytes() < 2**50

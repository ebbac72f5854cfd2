"""`free_bytes`: memory that this process may still allocate, by the limits of the system and of its container."""

from __future__ import annotations

import os
from pathlib import Path

_CONTAINERS = (
    ("sys/fs/cgroup", "memory.max", "memory.current"),
    ("sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
)
"""Linux's control groups, version 2 and 1: the folder, and the files with the limit and the memory in use."""


def free_bytes(root: Path = Path("/")) -> int:
    """Return the free memory, file cache included; half of the physical memory where the system reports none."""
    found = [_of_container(root / folder, limit, used) for folder, limit, used in _CONTAINERS]
    found.append(_of_system(root / "proc/meminfo"))
    known = [free for free in found if free is not None]
    return max(0, min(known)) if known else os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def _of_system(path: Path) -> int | None:
    kilobytes = _fields(path).get("MemAvailable:")
    return None if kilobytes is None else 1024 * kilobytes


def _of_container(folder: Path, limit: str, used: str) -> int | None:
    try:
        free = int((folder / limit).read_text()) - int((folder / used).read_text())
    except (OSError, ValueError):  # no such file, or "max"
        return None
    return free + _fields(folder / "memory.stat").get("inactive_file", 0)


def _fields(path: Path) -> dict[str, int]:
    """Return the numbers of a file by the words before them; {} if there is no such file."""
    try:
        lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    except OSError:
        return {}
    return {words[0]: int(words[1]) for words in lines if len(words) > 1 and words[1].isdecimal()}

"""`python -m acceptance [SUITE ...]`: run other projects' tests of servers against `nextword serve`.

Each suite is fetched at its pinned version. Options that are not known here go to pytest, such as `-k` and `-x`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence

from acceptance.faults import FAULTS
from acceptance.sources import FOLDER
from acceptance.suites import ROOT, SUITES

_PACKAGES = FOLDER / "packages"
_ASYNC_TESTS = "pytest-asyncio==1.5.0"
"""What the suites need beside the extra `dev`; it is kept apart, since it changes how pytest runs our own tests."""


def main() -> None:
    """Run the suites in turn; exit with 1 if a test failed."""
    parser = argparse.ArgumentParser(prog="python -m acceptance", description=__doc__)
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"suites to run: {', '.join(SUITES)}; all if none")
    parser.add_argument("--server", choices=("nextword", "xllamacpp"), default="nextword", help="the server to test")
    parser.add_argument("--fault", choices=FAULTS, help="a fault to put into nextword's answers: the suite must fail")
    options, of_pytest = parser.parse_known_args()
    unknown = sorted(set(options.suites) - set(SUITES))
    if unknown:
        parser.error(f"unknown suite {unknown[0]}; there are {', '.join(SUITES)}")
    codes = [run(name, options.server, of_pytest, fault=options.fault) for name in options.suites or SUITES]
    raise SystemExit(1 if any(codes) else 0)


def run(name: str, server: str, of_pytest: Sequence[str] = (), *, fault: str | None = None) -> int:
    """Run a suite; return the exit code of pytest. Raises OSError where it cannot be fetched."""
    if not _PACKAGES.exists():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(_PACKAGES), _ASYNC_TESTS]
        subprocess.run(pip, check=True)
    suite = SUITES[name]
    folder = suite.unpack(name)
    command = [sys.executable, "-m", "pytest", "--rootdir", str(folder), "-p", "acceptance.adapting"]
    command += ["-p", suite.plugin, *suite.options, *of_pytest, *suite.tests]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([*(str(folder / path) for path in suite.path), str(ROOT), str(_PACKAGES)]),
        "ACCEPTANCE_SUITE": name,
        "ACCEPTANCE_SERVER": server,
        "ACCEPTANCE_FAULT": fault or "",
    }
    with_fault = f" with wrong {fault}" if fault else ""
    print(f"== {name} {suite.archive.version}, against {server}{with_fault}", flush=True)
    return subprocess.run(command, cwd=folder, env=environment).returncode


if __name__ == "__main__":
    main()

"""`folder_prefix`, `remove_orphans`: temporary folders by the servers that made them, so that none outlives its server.

A server removes its folder at its end, and a training whose server was killed removes it instead. The folder of a
training that stood still then has nobody; the next training finds it by the process number in its name.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from pathlib import Path

_PREFIX = "nextword-lab-"
_NAME = re.compile(rf"{_PREFIX}(\d+)-.*")


def folder_prefix(process_id: int) -> str:
    """Return how the names of a server's folders begin."""
    return f"{_PREFIX}{process_id}-"


def remove_orphans() -> None:
    """Remove the folders of this user's servers that are gone."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        named = _NAME.fullmatch(folder.name)
        with contextlib.suppress(OSError):
            if named and folder.stat().st_uid == os.getuid() and not _is_alive(int(named[1])):
                shutil.rmtree(folder, ignore_errors=True)


def _is_alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is another user's
        return True
    return True

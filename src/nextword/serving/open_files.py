"""`with_open_files`: each connection is an open file, of which the system allows a process a number."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import warnings

from nextword.errors import RequestError
from nextword.serving.limits import Limits

_OTHERS = 64
"""Files besides connections: weights, pipes, libraries."""


def with_open_files(limits: Limits) -> Limits:
    """Raise the process's bound of open files to what the connections need, as far as the system allows it.

    Returns the limits, with fewer connections and a warning where it does not allow as many. Raises RequestError where
    it allows none.
    """
    if sys.platform == "win32":
        return limits
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = limits.max_connections + _OTHERS
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return limits
    with contextlib.suppress(OSError, ValueError):
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        soft = most
    if soft >= wanted:
        return limits
    left = soft - _OTHERS
    if left < 1:
        raise RequestError(f"{soft} open files are allowed (ulimit -n): a server needs more than {_OTHERS}")
    reason = f"{soft} open files are allowed (ulimit -n)"
    warnings.warn(f"max_connections is {left}, not {limits.max_connections}: {reason}", stacklevel=2)
    return dataclasses.replace(limits, max_connections=left)

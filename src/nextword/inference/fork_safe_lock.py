"""`ForkSafeLock`: a lock that detects that it was held by another thread at fork().

A forked process has only the thread that forked. A lock that another thread held at that moment is never released in
the child, and what it guards was left in the middle of a change.
"""

from __future__ import annotations

import os
import threading

from nextword.errors import BackendError


class ForkSafeLock:
    """Re-entrant lock. In a forked process it is either usable or reported as lost; acquiring it never deadlocks."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._process = os.getpid()

    def checked(self) -> threading.RLock:
        """Return the lock, for a `with` statement. Raises BackendError if it is lost."""
        if self.is_lost:
            raise BackendError("the engine was computing when this process was forked: load the model again here")
        return self._lock

    @property
    def is_lost(self) -> bool:
        """True if this process was forked while a thread that it does not have held the lock."""
        if os.getpid() == self._process:
            return False
        if not self._lock.acquire(blocking=False):
            return True
        self._process = os.getpid()
        self._lock.release()
        return False

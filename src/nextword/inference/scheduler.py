"""`Scheduler`: which requests run in the next step. Policy only; it computes nothing and knows no text.

Every running sequence decodes in every step, beside one piece of one prompt, so that no one who reads has to wait for
someone else's long prompt.
"""

from __future__ import annotations

from collections import deque

from nextword.inference.sequence import Request


class Scheduler:
    """First come, first served, up to `max_sequences` at a time, and only what the KV cache can hold to its end."""

    def __init__(self, max_sequences: int, *, max_positions: int) -> None:
        self.max_sequences = max_sequences
        self.max_positions = max_positions
        self._waiting: deque[Request] = deque()
        self._running: list[Request] = []

    def add(self, request: Request) -> None:
        """Put a request at the end of the queue."""
        self._waiting.append(request)

    def remove(self, request: Request) -> None:
        """Forget a request that is finished or cancelled."""
        if request in self._running:
            self._running.remove(request)
        elif request in self._waiting:
            self._waiting.remove(request)

    def schedule(self) -> tuple[Request | None, list[Request]]:
        """Return the request whose prompt advances, if any, and the requests whose sequences decode."""
        self._admit()
        prefilling = [request for request in self._running if not request.sequences]
        decoding = [request for request in self._running if request.sequences]
        return (prefilling[0] if prefilling else None), decoding

    def _admit(self) -> None:
        """Let requests in while there is room; one that is larger than the room runs alone."""
        while self._waiting:
            first = self._waiting[0]
            num_sequences = sum(request.params.n for request in self._running) + first.params.n
            num_positions = sum(request.num_positions for request in self._running) + first.num_positions
            if self._running and (num_sequences > self.max_sequences or num_positions > self.max_positions):
                return
            self._running.append(self._waiting.popleft())

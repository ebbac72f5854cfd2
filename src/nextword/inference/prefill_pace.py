"""`PrefillPace`: how many tokens of prompts a step may compute beside texts that grow, so that these do not pause.

A prompt is computed fastest in large chunks, but whoever reads a text waits until the step has ended. So steps are
measured, and beside texts they get as many tokens of prompts as are computed within `STEP_SECONDS`.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from nextword.inference.backend import PAGE_POSITIONS
from nextword.inference.prefill import PREFILL_CHUNK

STEP_SECONDS = 0.1
"""Seconds of a step that computes prompts beside texts; where the texts alone take more than half of it, twice that."""
_WEIGHT = 0.2
"""Share of a new measurement in the moving average of steps without prompts."""
_MEMORY = 0.8
"""Share of what was measured of prompts that still counts after a further step."""
_WORST = 2.0
"""A step that was held up by another program counts as so many times what was expected at most."""
_LEAST = 0.1
"""Share of a step beside texts that its prompts take at least: texts alone may take longer, for they verify drafts."""
_FASTEST = 1e-6
"""Seconds that a token of a prompt takes at least."""
_FEW = 8
"""Steps of prompts after which enough is known to expect something."""


class PrefillPace:
    """Measures steps; all times are in seconds."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        """Start with a guess, which few measurements replace."""
        self.clock = clock
        self._seconds_of_texts = 0.0
        """Moving average of steps that compute no prompt."""
        self._num_measured = 0
        self._seconds, self._num_tokens = 0.064, 64.0
        """Seconds and tokens of the prompts computed so far; older steps have less weight."""

    @property
    def seconds_per_token(self) -> float:
        """Seconds that a token of a prompt takes."""
        return self._seconds / self._num_tokens

    def limit(self, *, is_beside_texts: bool) -> int:
        """Return the number of tokens of prompts for the next step: whole pages, 1 page at least."""
        if not is_beside_texts:
            return PREFILL_CHUNK
        left = max(STEP_SECONDS - self._seconds_of_texts, self._seconds_of_texts)
        num_pages = int(left / self.seconds_per_token) // PAGE_POSITIONS
        return min(max(num_pages, 1) * PAGE_POSITIONS, PREFILL_CHUNK)

    def measured(self, num_tokens: int, seconds: float, *, is_beside_texts: bool) -> None:
        """Take note of a step that computed so many tokens of prompts."""
        if num_tokens == 0:
            if is_beside_texts:
                self._seconds_of_texts += _WEIGHT * (seconds - self._seconds_of_texts)
            return
        own = max(seconds - self._seconds_of_texts, _LEAST * seconds) if is_beside_texts else seconds
        own = max(own, num_tokens * _FASTEST)  # a clock may stand still
        if self._num_measured >= _FEW:
            own = min(own, _WORST * num_tokens * self.seconds_per_token)
        self._num_measured += 1
        self._seconds = _MEMORY * self._seconds + own
        self._num_tokens = _MEMORY * self._num_tokens + num_tokens

"""What a command says beside its result: on standard error, so that results pipe well."""

from __future__ import annotations

import sys


def note(message: str) -> None:
    """One line about how the result came to be."""
    print(f"[{message}]", file=sys.stderr, flush=True)


def rate(num_tokens: int, seconds: float) -> str:
    """A count of tokens with their time, prompt included."""
    return f"{num_tokens} tokens in {seconds:.1f} s, {num_tokens / max(seconds, 1e-9):.1f} tokens/s"

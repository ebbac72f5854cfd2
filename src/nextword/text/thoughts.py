"""`ThoughtSplitter`: tell the thoughts that begin an answer, as in `<think>...</think>`, from what is said."""

from __future__ import annotations

_MARKS = (("<think>", "</think>"), ("[THINK]", "[/THINK]"), ("<seed:think>", "</seed:think>"))
"""Texts before and after thoughts, as models write them."""


class ThoughtSplitter:
    """Splits an answer as it grows; thoughts keep their marks."""

    def __init__(self, prompt: str) -> None:
        """Begin an answer; `prompt` is the end of the text before it, which may have opened the thoughts."""
        self._end = next((end for begin, end in _MARKS if prompt.rstrip().endswith(begin)), None)
        self._is_said = False
        self._held = ""

    def push(self, piece: str, *, is_last: bool = False) -> list[tuple[str, bool]]:
        """Append text; return what is certain, each part with True for thoughts. Holds back what may become a mark."""
        self._held += piece
        if not self._is_said and self._end is None and not self._find_begin(is_last=is_last):
            return []
        parts: list[tuple[str, bool]] = []
        if not self._is_said and self._end is not None:
            before, found, after = self._held.partition(self._end)
            if not found and not is_last:
                kept = next(n for n in range(len(self._end) - 1, -1, -1) if self._held.endswith(self._end[:n]))
                before, after = self._held[: len(self._held) - kept], self._held[len(self._held) - kept :]
            parts.append((before + found, True))
            self._held, self._is_said = after, bool(found)
        if self._is_said:
            parts.append((self._held, False))
            self._held = ""
        return [part for part in parts if part[0]]

    def _find_begin(self, *, is_last: bool) -> bool:
        """Decide whether the answer begins with thoughts; False while that is open."""
        text = self._held.lstrip()
        self._end = next((end for begin, end in _MARKS if text.startswith(begin)), None)
        if self._end is None and not is_last and any(begin.startswith(text) for begin, _ in _MARKS):
            return False
        self._is_said = self._end is None
        return True


def answer_message(thoughts: str, said: str) -> dict[str, str]:
    """Return an assistant's message; the template decides whether it shows the thoughts again."""
    for begin, end in _MARKS:
        thoughts = thoughts.replace(begin, "").replace(end, "")
    if not thoughts.strip():
        return {"role": "assistant", "content": said}
    return {"role": "assistant", "content": said.lstrip("\n"), "reasoning_content": thoughts.strip("\n")}

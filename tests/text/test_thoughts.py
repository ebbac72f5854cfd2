"""Thoughts at the beginning of an answer, told from the rest however the text is cut into pieces."""

from __future__ import annotations

import pytest

from nextword.text.thoughts import ThoughtSplitter, answer_message


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
@pytest.mark.parametrize(
    ("prompt", "answer", "thoughts", "said"),
    [
        ("", "Hello <think>x</think>", "", "Hello <think>x</think>"),
        ("", "<think>\na < b </thin\n</think>\n\nYes", "<think>\na < b </thin\n</think>", "\n\nYes"),
        ("", "\n<think>x", "\n<think>x", ""),
        ("", "<thing>", "", "<thing>"),
        ("", "<thi", "", "<thi"),
        ("...assistant\n<think>\n", "so</think>No", "so</think>", "No"),
        ("", "[THINK]a[/THINK]b", "[THINK]a[/THINK]", "b"),
        ("", "", "", ""),
    ],
)
def test_thoughts_are_told_from_what_is_said(size: int, prompt: str, answer: str, thoughts: str, said: str) -> None:
    splitter = ThoughtSplitter(prompt)
    pieces = [answer[start : start + size] for start in range(0, len(answer), size)]
    parts = [part for piece in pieces for part in splitter.push(piece)] + splitter.push("", is_last=True)
    assert "".join(text for text, is_thought in parts if is_thought) == thoughts
    assert "".join(text for text, is_thought in parts if not is_thought) == said


def test_thoughts_are_kept_beside_the_content() -> None:
    assert answer_message("<think>\na\n</think>", "\n\nb") == {
        "role": "assistant",
        "content": "b",
        "reasoning_content": "a",
    }
    assert answer_message("<think></think>", "b") == answer_message("", "b") == {"role": "assistant", "content": "b"}

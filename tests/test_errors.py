"""A message is one line of bounded length, whatever a file made it of."""

from __future__ import annotations

from nextword.errors import CheckpointError


def test_control_characters_are_escaped_and_letters_are_not() -> None:
    assert str(CheckpointError("tensor a\nb\x1b[31m\x9b: é 語 \xa0")) == "tensor a\\nb\\x1b[31m\\x9b: é 語 \\xa0"


def test_a_long_message_keeps_both_its_ends() -> None:
    message = str(CheckpointError("file: value is " + "x" * 300_000 + "; save it again"))
    assert len(message) < 2100
    assert message.startswith("file: value is xxx")
    assert message.endswith("xxx; save it again")

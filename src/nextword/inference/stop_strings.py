"""`StopStrings`: the strings that end a completion, some of which may name control tokens, which have no text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nextword.text.tokenizer import Tokenizer


class StopStrings:
    """Stop strings as they are looked for in a text in which a mark stands for each control token that one names."""

    def __init__(self, strings: Sequence[str], tokenizer: Tokenizer, *, are_shown: bool = False) -> None:
        """Find the control tokens in the strings. The same characters written by ordinary tokens stop, too.

        `are_shown`: the string that is found is the end of the text, and else no part of it.
        """
        marks: dict[int, str] = {}  # of surrogates, which no text has: no other stop string is found in a part of one
        self.strings = tuple(dict.fromkeys([*strings, *(_marked(string, tokenizer, marks) for string in strings)]))
        """The strings, and those with control tokens once more with marks in their places."""
        self.are_shown = are_shown
        self.marks: Mapping[int, str] = marks
        """Token id -> mark of the control tokens that a string names."""


def _marked(string: str, tokenizer: Tokenizer, marks: dict[int, str]) -> str:
    """Put marks in the places of the control tokens in a string; new ones are added to `marks`."""
    position, parts = 0, []
    for token_id, (start, stop) in tokenizer.find_special_tokens(string):
        upper, lower = divmod(len(marks), 0x400)
        mark = marks.setdefault(token_id, chr(0xD800 + upper) + chr(0xDC00 + lower))
        parts += [string[position:start], mark]
        position = stop
    return "".join([*parts, string[position:]])

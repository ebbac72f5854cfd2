"""Tables and counts as plain text."""

from __future__ import annotations

from nextword.plain_text import count, text_table


def test_a_count_of_one_has_no_plural_s() -> None:
    assert [count(number, "token") for number in (0, 1, 2)] == ["0 tokens", "1 token", "2 tokens"]


def test_the_first_column_is_aligned_to_the_left_and_others_to_the_right() -> None:
    assert text_table(["name", "n"], [["a", "10"], ["longer", "7"]]) == "name     n\na       10\nlonger   7"


def test_named_columns_are_aligned_to_the_left_without_trailing_spaces() -> None:
    assert text_table(["n", "name"], [["10", "a"], ["7", ""]], left={1}) == " n  name\n10  a\n 7"

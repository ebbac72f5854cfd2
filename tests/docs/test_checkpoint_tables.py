"""The tables of docs/checkpoints.md say what the code does."""

from __future__ import annotations

from tests.docs.checkpoint_tables import PAGE, with_tables


def test_the_tables_are_those_of_the_code() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == with_tables(page), "python -m tests.docs.checkpoint_tables writes them anew"

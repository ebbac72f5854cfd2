"""Invented names and numbers, against cases written by hand."""

from __future__ import annotations

import pytest

from nextword.tasks.facts import Facts

TEXT = (
    "The mill of Harlow was closed in 1938. Margaret Oduya, who lives on Water Street, measured the river "
    "for 1,200 days.\n"
    "The county library had maps, and the river was 2.5 miles long."
)


@pytest.mark.parametrize(
    ("sentence", "invented"),
    [
        ("Margaret Oduya measured the river in Harlow.", []),
        ("The river was measured by Margaret Smith.", ["Smith"]),
        ("It was closed in 1939, not in 1938.", ["1939"]),
        ("It took 1200 days and 2.5 miles.", []),
        ("It took 200 days.", ["200"]),
        ("Harlow County is in Wales.", ["County", "Wales"]),
        ("Engineers came. Nobody believed them.", []),
        ('She said: "Nobody believed me."', []),
        ("HARLOW and I went to Water Street.", []),
        ("I went.", []),
        ("Oduya's maps are in Oxford's library.", ["Oxford"]),
        ("", []),
    ],
)
def test_names_and_numbers_that_the_text_has_not(sentence: str, invented: list[str]) -> None:
    assert Facts(TEXT).invented_in(sentence) == invented


def test_where_nouns_have_capitals_only_numbers_count() -> None:
    facts = Facts(
        "Der Fluss war lange Zeit ein Kanal, und die Stadt hatte 1938 eine Mühle, eine Brücke und einen Zaun."
    )
    assert facts.invented_in("Der Kanal hatte 1939 eine Schleuse.") == ["1939"]


def test_scripts_without_capitals_have_numbers_alone() -> None:
    assert Facts("这条河长 25 公里。").invented_in("河长 25 公里，宽 3 米。") == ["3"]

"""README's table from the textbook's terms to the code: every function named stands in the file named."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROW = re.compile(
    r"^\| ([\d.]+) \| (.+?) \| `([\w.]+)` in \[`([\w/]+\.py)`\]\(src/nextword/([\w/]+\.py)\)", re.MULTILINE
)
README = (ROOT / "README.md").read_text(encoding="utf-8")
ROWS = ROW.findall(README)
TERMS = (
    *("conditional generation", "greedy decoding", "autoregressive generation", "random sampling", "top-k", "top-p"),
    *("temperature", "self-supervised pretraining", "cross-entropy loss", "teacher forcing", "continued pretraining"),
    *("SFT", "PEFT", "LoRA", "perplexity"),
)


def defined_names(path: Path) -> set[str]:
    """Functions and classes of a module, and `Class.method`."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    kinds = (ast.FunctionDef, ast.ClassDef)
    names = {node.name for node in body if isinstance(node, kinds)}
    classes = [node for node in body if isinstance(node, ast.ClassDef)]
    return names | {f"{owner.name}.{node.name}" for owner in classes for node in owner.body if isinstance(node, kinds)}


@pytest.mark.parametrize(("section", "term", "name", "shown", "linked"), ROWS, ids=[row[1] for row in ROWS])
def test_a_term_leads_to_code_that_is_there(section: str, term: str, name: str, shown: str, linked: str) -> None:
    assert shown == linked
    assert name in defined_names(ROOT / "src" / "nextword" / linked), f"{name} is not in {linked}"


def test_every_row_is_read_and_every_term_of_the_textbook_has_one() -> None:
    (table,) = re.findall(r"^\| section \|.+\n\|[-|]+\n((?:\|.+\n)+)", README, flags=re.MULTILINE)
    assert len(table.splitlines()) == len(ROWS)
    assert not [term for term in TERMS if term not in " ".join(row[1] for row in ROWS)]


def test_every_room_is_in_the_table_of_the_house() -> None:
    house = README[README.index("## The house") :]
    source = ROOT / "src" / "nextword"
    rooms = [path.name for path in source.iterdir() if (path / "__init__.py").exists()]
    assert not [room for room in rooms if f"`{room}/`" not in house]

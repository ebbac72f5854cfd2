"""The table of families in docs/models.md is that of the code."""

from __future__ import annotations

import re
from pathlib import Path

from nextword.models.families import FAMILIES

PAGE = Path(__file__).parents[2] / "docs" / "models.md"


def test_the_page_lists_each_family_with_its_architecture_in_gguf_files() -> None:
    _, _, table = PAGE.read_text(encoding="utf-8").partition("| family | `model_type` | GGUF architecture |")
    rows = re.findall(r"^\| [^|`]+ \| `(\w+)` \| (.+) \|$", table, re.MULTILINE)
    listed = {model_type: re.search("`(.*)`", cell) for model_type, cell in rows}
    assert set(listed) == {family.model_type for family in FAMILIES.values()}
    for family in FAMILIES.values():
        if family.gguf is not None:
            found = listed[family.model_type]
            assert found is not None
            assert found[1] == family.gguf.architecture

"""The tables of docs/checkpoints.md, made from the code: `python -m tests.docs.checkpoint_tables` writes them anew.

Each stands in the page between two comments that name it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from tests.docs.adapter_tables import adapter_config
from tests.docs.config_tables import config_json, rope
from tests.docs.generation_tables import generation_config
from tests.docs.gguf_tables import model_keys, other_keys
from tests.docs.tokenizer_tables import tokenizer_files

PAGE = Path(__file__).parents[2] / "docs" / "checkpoints.md"
TABLES: Mapping[str, Callable[[], str]] = {
    "config": config_json,
    "rope": rope,
    "tokenizer": tokenizer_files,
    "generation": generation_config,
    "gguf-model": model_keys,
    "gguf-other": other_keys,
    "adapter": adapter_config,
}


def with_tables(page: str) -> str:
    """The page with each of its tables as the code has it."""
    for name, make in TABLES.items():
        begin, end = f"<!-- table: {name} -->\n", "<!-- end -->"
        before, found, rest = page.partition(begin)
        assert found, f"{PAGE.name} has no place for the table {name!r}"
        page = f"{before}{begin}\n{make()}\n\n{end}{rest.partition(end)[2]}"
    return page


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")

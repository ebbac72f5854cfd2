"""Hold JSON schemas of public collections against jsonschema: `python -m tests.peers.json_schema_suites FOLDER ...`.

FOLDER: `tests/draft2020-12` of JSON-Schema-Test-Suite, or `maskbench/data` of jsonschemabench (both on GitHub), or a
selection of their files. For each schema, texts are written by random logits at temperature 2 and have to validate; its
valid instances have to be reachable, and its invalid ones not. Prints counts, and what differs.
"""

from __future__ import annotations

import collections
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nextword.decoding.constraint import Constraint, check_schema
from nextword.decoding.grammar import Grammar, GrammarCompiler
from nextword.errors import NextwordError
from tests.decoding.random_texts import accepts, compiler, is_valid, write_text

_NUM_TEXTS = 5


def cases(folder: Path) -> Iterator[tuple[str, Any, list[dict[str, Any]]]]:
    """Yield a name, a schema and its instances, {"data": ..., "valid": ...}."""
    for path in sorted(folder.rglob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        for number, case in enumerate(content if isinstance(content, list) else [content]):
            yield f"{path.name}[{number}] {case['description']}", case["schema"], case["tests"]


def check(name: str, schema: Any, instances: list[dict[str, Any]], made: GrammarCompiler) -> Iterator[str]:
    """Yield a word for each outcome, after printing what is wrong."""
    try:
        grammar = made.compile(Constraint("schema", str(check_schema("schema", schema))))
    except NextwordError as error:
        yield "schemas refused"
        print(f"refused: {name}: {error}")
        return
    yield "schemas compiled"
    for seed in range(_NUM_TEXTS):
        yield _written(name, schema, grammar, seed)
    for instance in instances:
        yield _instance(name, grammar, instance)


def _written(name: str, schema: Any, grammar: Grammar, seed: int) -> str:
    try:
        text = write_text(grammar, seed=seed)
    except NextwordError as error:
        print(f"no end: {name}: {error}")
        return "texts that ended in an error"
    if text is None:
        return "texts without an end"
    try:
        valid = is_valid(schema, text)
    except Exception as error:
        print(f"unknown: {name}: {type(error).__name__} {str(error)[:100]}")
        return "texts that the validator cannot judge"
    if not valid:
        print(f"WRONG: {name}: {text[:300]}\n    {json.dumps(schema)[:300]}")
    return "texts valid" if valid else "texts WRONG"


def _instance(name: str, grammar: Grammar, instance: dict[str, Any]) -> str:
    text = json.dumps(instance["data"], ensure_ascii=False, separators=(",", ":"))
    try:
        accepted = accepts(grammar, text)
    except (NextwordError, UnicodeEncodeError) as error:
        print(f"unknown: {name}: {str(error)[:100]}")
        return "instances that ended in an error"
    kind = "valid" if instance["valid"] else "invalid"
    if accepted != instance["valid"]:
        print(f"{'REJECTED' if instance['valid'] else 'ACCEPTED'}: {name}: {text[:200]}")
    return f"{kind} instances {'accepted' if accepted else 'rejected'}"


def main() -> None:
    """Run over the folders named on the command line."""
    made = compiler()
    for folder in sys.argv[1:]:
        counts = collections.Counter(word for case in cases(Path(folder)) for word in check(*case, made))
        print(f"{folder}: {dict(sorted(counts.items()))}")


if __name__ == "__main__":
    main()

"""The arrows of the house: a room imports only rooms below its own, and importing nextword stays cheap."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import nextword

SOURCE = Path(nextword.__file__).parent
LEVELS = (
    ("__main__",),
    ("cli",),
    ("lab",),
    ("lm_eval_plugin", "lm_eval_hook", "workflows"),
    ("serving",),
    ("loading",),
    ("language_model",),
    ("tasks", "evaluation", "training"),
    ("inference", "adapters", "data"),
    ("decoding", "checkpoints"),
    ("models", "text"),
    ("html",),
    ("plain_text",),
    ("json_file", "atomic_file", "extras", "checks"),
    ("input_file",),
    ("errors", "native"),
    ("_native",),
)
LEVEL = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}


def imported_rooms(path: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    names = [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    names += [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    return {name.split(".")[1] for name in names if name.startswith("nextword.")}


def test_a_room_imports_only_rooms_below_its_own() -> None:
    for path in SOURCE.rglob("*.py"):
        room = path.relative_to(SOURCE).parts[0].removesuffix(".py")
        if room == "__init__":
            continue
        for other in imported_rooms(path) - {room}:
            assert LEVEL[other] > LEVEL[room], f"{path} of {room} imports {other}"


VERBS_OPEN_TO = {"cli", "lab", "workflows", "loading", "language_model", "errors"}
"""Rooms that a verb may import; it also may import names from nextword itself."""
OUTSTANDING: dict[str, set[str]] = {}
"""Verb -> rooms that it still imports against the rule; shrinks, never grows."""


def test_a_verb_imports_only_workflows_and_console_helpers() -> None:
    """A verb is parse, one library call, print. Imports inside functions and for type checkers count, too."""
    found = {
        path.stem: rooms
        for path in (SOURCE / "cli" / "verbs").glob("*.py")
        if (rooms := imported_rooms(path) - VERBS_OPEN_TO)
    }
    assert found == OUTSTANDING


def test_only_one_module_imports_the_extension() -> None:
    importing = [path.name for path in SOURCE.rglob("*.py") if "_native" in imported_rooms(path)]
    assert importing == ["native.py"]


def test_what_generates_is_imported_while_weights_are_packed() -> None:
    """Else each start waits for it."""
    late = ("tokenizers", "nextword.text.tokenizer", "nextword.inference.engine", "nextword.language_model")
    script = (
        "import sys, nextword.workflows.loading, nextword.checkpoints.huggingface, nextword.inference.native_backend; "
        f"print([name for name in {late} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"


def test_importing_nextword_imports_no_torch() -> None:
    script = "import sys, nextword, nextword.decoding.params; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0

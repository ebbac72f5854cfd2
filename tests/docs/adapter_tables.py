"""Table of docs/checkpoints.md about adapter_config.json: the fields that are asked for while settings are read."""

from __future__ import annotations

import tempfile
from pathlib import Path
from unittest import mock

import numpy as np

from nextword.adapters import peft_config, prompt
from nextword.adapters.adapter_files import write_adapter
from nextword.adapters.kinds import KINDS
from nextword.adapters.spec import PROMPT_KINDS
from tests.docs.recording import RecordingFields, Seen
from tests.docs.table import names, table, values

_OTHERS = ("LN_TUNING", "TRAINABLE_TOKENS")
_SETTINGS = {"task_type": "CAUSAL_LM", "save_projection": True, "token_indices": [1], "modules_to_save": ["lm_head"]}


def adapter_config() -> str:
    """Treatment of each field, by kind of adapter."""
    seen = {kind: _seen(kind) for kind in (*KINDS, *_OTHERS)}
    common = set.intersection(*(one.read for one in seen.values()))
    held = {name: choices for one in seen.values() for name, choices in one.only.items()}
    rows = [(names(common - held.keys()), "all", "read")]
    groups: dict[str, list[str]] = {}
    for kind, one in seen.items():
        groups.setdefault(names(one.read - common - held.keys()), []).append(f"`{kind}`")
    rows += [(fields, ", ".join(kinds), "read") for fields, kinds in groups.items() if fields]
    rows += [
        (f"`{name}`", "all that have it", f"{values(choices)}; others are refused") for name, choices in held.items()
    ]
    rows.append(
        (names(_read_of_prompts()), ", ".join(f"`{kind}`" for kind in PROMPT_KINDS), "read, or refused by value")
    )
    read = set().union(*(one.read | one.only.keys() for one in seen.values()))
    without = set(peft_config._WITHOUT_EFFECT.split()) - read
    rows.append((names(without), "all", "without effect on what a trained adapter computes"))
    rows.append(("any other", "all but prompts", "refused, unless it is null, false or empty"))
    return table(("field", "kinds (`peft_type`)", "what we do"), rows)


def _seen(kind: str) -> Seen:
    seen = Seen()
    peft_config.read_settings(RecordingFields({**_SETTINGS, "peft_type": kind}, "adapter_config.json", seen=seen))
    return seen


def _read_of_prompts() -> set[str]:
    seen = Seen()

    def fields(content: dict[str, object], source: str) -> RecordingFields:
        return RecordingFields(content, source, seen=seen)

    with tempfile.TemporaryDirectory() as name, mock.patch.object(prompt, "ConfigFields", fields):
        settings = {"peft_type": PROMPT_KINDS[0], "num_virtual_tokens": 2, "token_dim": 4}
        write_adapter(Path(name), settings, {prompt._TENSOR: np.zeros((2, 4), np.float32)}, base=None)
        prompt.open_prompt(Path(name))
    return (seen.read | seen.only.keys()) - {"peft_type"}

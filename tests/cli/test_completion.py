"""The scripts for the Tab key: what they offer is what the verbs take. The judge of bash's script is bash."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from nextword.cli import VERBS
from tests.cli.conftest import Command

Complete = Callable[..., list[list[str]]]
VERB_NAMES = [verb.name for verb in VERBS]
needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not here")


@pytest.fixture
def complete(command: Command, tmp_path: Path) -> Complete:
    """What bash offers for the last word of each line."""
    script = tmp_path / "completion"
    script.write_text(command("completion", "bash").out)

    def offered(*lines: str) -> list[list[str]]:
        asked = [
            f'COMP_WORDS=({line}); COMP_CWORD=$((${{#COMP_WORDS[@]}}-1)); _nextword; echo "${{COMPREPLY[*]}}"'
            for line in lines
        ]
        source = "\n".join([f"source {script}", *asked])
        done = subprocess.run(["bash", "-c", source], capture_output=True, text=True, check=True)
        assert done.stderr == ""
        return [line.split() for line in done.stdout.splitlines()]

    return offered


@needs_bash
def test_bash_finds_no_error_in_its_script(command: Command) -> None:
    done = command("completion", "bash")
    assert done.code == 0
    subprocess.run(["bash", "-n"], input=done.out, text=True, check=True)


@needs_bash
def test_bash_completes_verbs_options_values_and_names(complete: Complete) -> None:
    offered = complete(
        "nextword gen",
        "nextword summarize model file --l",
        "nextword summarize model file --length s",
        "nextword generate --order v",
        "nextword chat smollm2-1",
        "nextword pull qwen3-4",
        "nextword completion ''",
        "nextword models some",
    )
    assert offered == [
        ["generate"],
        ["--length"],
        ["short"],
        ["vllm"],
        ["smollm2-1.7b", "smollm2-135m"],
        ["qwen3-4b"],
        ["bash", "zsh", "fish"],
        [],
    ]


@needs_bash
def test_bash_offers_every_verb_and_the_options_that_its_help_lists(command: Command, complete: Complete) -> None:
    verbs, *options = complete("nextword ''", *(f"nextword {verb} -" for verb in VERB_NAMES))
    assert verbs == [*VERB_NAMES, "--help", "--version"]
    for verb, offered in zip(VERB_NAMES, options, strict=True):
        text = command(verb, "--help").out
        listed = re.findall(
            r"^(?:│|  ?) (?:-\w(?: [A-Z]+)?, |--template FILE, )?(--[a-z][\w-]*)", text, flags=re.MULTILINE
        )
        assert sorted(offered) == sorted(listed), verb


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_are_offered_the_same(command: Command, shell: str) -> None:
    script = command("completion", shell).out
    assert all(verb in script for verb in VERB_NAMES)
    assert all(word in script for word in ("top-p", "length", "short medium long", "smollm2-135m"))
    if shutil.which(shell) is not None:
        subprocess.run([shell, "-n"], input=script, text=True, check=True)

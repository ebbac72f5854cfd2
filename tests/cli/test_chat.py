"""`nextword chat`: its commands by a pipe, and line editing, history and several lines on a terminal."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from nextword.cli.verbs import chat
from nextword.tasks.chat import Conversation
from tests.cli.conftest import Command
from tests.cli.terminal import CTRL_D, LEFT, UP, Terminal

SEEDED = ("--seed", "1", "--max-tokens", "4")
needs_readline = pytest.mark.skipif(find_spec("readline") is None, reason="this Python was built without readline")


def questions(path: Path) -> list[str]:
    """Return the user's messages of a saved conversation."""
    return [message["content"] for message in json.loads(path.read_text()) if message["role"] == "user"]


def test_help_lists_every_command(command: Command, tiny: Path) -> None:
    done = command("chat", tiny, given="/help\n")
    assert (done.code, done.out) == (0, "")
    for word in ("/reset", "/set temperature 0.7", "/save FILE", "/load FILE", "/exit, /bye, /quit", '"""', "//word"):
        assert word in done.err


@pytest.mark.parametrize("word", ["/exit", "/bye", "/quit", " /EXIT "])
def test_a_word_of_farewell_ends(command: Command, tiny: Path, word: str) -> None:
    assert command("chat", tiny, given=f"{word}\nnever asked\n").out == ""


def test_an_unknown_command_is_refused_with_the_nearest(command: Command, tiny: Path) -> None:
    done = command("chat", tiny, given="/hlep\nnever asked\n")
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        "nextword: /hlep: unknown command: did you mean /help? /help lists all; //hlep ... says it to the model\n"
    )


def test_paths_and_doubled_slashes_are_said_to_the_model(command: Command, tiny: Path, tmp_path: Path) -> None:
    command("chat", tiny, *SEEDED, given=f"/usr/bin is what?\n//help\n/save {tmp_path}/chat\n")
    assert questions(tmp_path / "chat") == ["/usr/bin is what?", "/help"]


def test_several_lines_between_marks_are_one_message(command: Command, tiny: Path, tmp_path: Path) -> None:
    given = f'"""\nfirst\n\n/second"""\n"""one line"""\n/save {tmp_path}/chat\n"""never\nended'
    assert command("chat", tiny, *SEEDED, given=given).code == 0
    assert questions(tmp_path / "chat") == ["first\n\n/second", "one line"]


@pytest.mark.parametrize("how", ["flag", "command"])
def test_a_saved_chat_is_continued(command: Command, tiny: Path, tmp_path: Path, how: str) -> None:
    whole = command("chat", tiny, *SEEDED, given=f"one\n/save {tmp_path}/chat\ntwo\n")
    flags = ["--load", tmp_path / "chat"] if how == "flag" else []
    given = "two\n" if how == "flag" else f"other\n/load {tmp_path}/chat\ntwo\n"
    later = command("chat", tiny, *SEEDED, *flags, given=given)
    assert later.out.splitlines()[-1] == whole.out.splitlines()[-1]
    assert later.err == ("" if how == "flag" else f"[2 messages loaded from {tmp_path}/chat]\n")


def test_a_file_that_is_no_chat_is_refused_and_the_chat_goes_on(command: Command, tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "chat").write_text("[")
    assert command("chat", tiny, "--load", tmp_path / "chat").code == 2
    done = command("chat", tiny, *SEEDED, given=f"/load {tmp_path}/chat\n/load\nhello\n")
    assert done.code == 0
    assert done.out.strip("\n")
    first, second = done.err.splitlines()
    assert first.startswith(f"[{tmp_path}/chat: cannot be read: not JSON")
    assert second == "[/load: no file was named (usage: /load FILE)]"


def test_set_changes_and_shows_sampling_parameters(command: Command, tiny: Path) -> None:
    changes = ["/set stop '\\n' END none", "/set stop ''", "/set choice a b", "/set choice ''", "/set seed none"]
    lines = ["/set max-tokens 2", "hello", "/set temperature", *changes]
    done = command("chat", tiny, *SEEDED, given="\n".join(lines))
    limited = command("chat", tiny, "--seed", "1", "--max-tokens", "2", given="hello")
    assert done.out == limited.out
    assert done.err.splitlines() == [
        "max_tokens = 2",
        "temperature = 0.2",
        "stop = ('\\n', 'END', 'none')",
        "stop = ()",
        "choice = ('a', 'b')",
        "choice = None",
        "seed = None",
    ]


def test_set_alone_shows_what_shapes_an_answer(command: Command, tiny: Path) -> None:
    shown = command("chat", tiny, given="/set").err
    assert "temperature = 0.2\n" in shown
    assert "logprobs" not in shown


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("top-p 7", "top_p = 7.0: must be a number above 0 and at most 1"),
        ("tempo 1", "unknown sampling parameter 'tempo': did you mean 'temperature'?"),
        ("temperature hot", "could not convert string to float: 'hot' (usage"),
        ("n 2", "unknown sampling parameter 'n'"),
        ("stop 'a", "no closing quotation"),
    ],
)
def test_a_value_that_cannot_be_set_is_refused_in_one_line(
    command: Command, tiny: Path, setting: str, message: str
) -> None:
    done = command("chat", tiny, given=f"/set {setting}\n")
    assert done.code == 0
    assert done.err.count("\n") == 1
    assert message in done.err
    assert done.err.endswith("(usage: /set NAME VALUE)]\n")


def saved_from_a_terminal(terminal: Terminal, path: Path) -> list[str]:
    terminal.press(f"/save {path}\n")
    terminal.until("saved to")
    return questions(path)


def test_a_terminal_is_told_of_help_and_of_unknown_commands(tiny: Path, tmp_path: Path) -> None:
    with Terminal("chat", tiny, *SEEDED, cache=tmp_path) as terminal:
        terminal.until("[/help lists commands")
        terminal.until("> ")
        terminal.press("/foo\n")
        terminal.until("[/foo: unknown command: /help lists all; //foo ... says it to the model]")
        terminal.press("/quit\n")
        assert terminal.exit_code() == 0


@needs_readline
def test_arrow_keys_edit_the_line_and_recall_earlier_ones(tiny: Path, tmp_path: Path) -> None:
    with Terminal("chat", tiny, *SEEDED, cache=tmp_path) as terminal:
        terminal.until("> ")
        terminal.press(f"helo{LEFT}l\n")
        terminal.until("> ")
        terminal.press(f"{UP}!\n")
        terminal.until("> ")
        assert saved_from_a_terminal(terminal, tmp_path / "chat") == ["hello", "hello!"]
        terminal.press(CTRL_D)
        assert terminal.exit_code() == 0
    history = tmp_path / "chat_history"
    assert history.stat().st_mode & 0o777 == 0o600
    with Terminal("chat", tiny, *SEEDED, cache=tmp_path) as terminal:
        terminal.until("> ")
        terminal.press(f"{UP}{UP}\n")  # past the last one, which was /save
        terminal.until("> ")
        assert saved_from_a_terminal(terminal, tmp_path / "chat") == ["hello!"]


@needs_readline
def test_lines_that_are_pasted_together_are_one_message(tiny: Path, tmp_path: Path) -> None:
    with Terminal("chat", tiny, *SEEDED, cache=tmp_path) as terminal:
        terminal.until("> ")
        terminal.press("\x1b[200~first\nsecond\x1b[201~")
        terminal.until("second")
        terminal.press("\n")
        terminal.until("> ")
        assert saved_from_a_terminal(terminal, tmp_path / "chat") == ["first\nsecond"]


def test_several_lines_on_a_terminal_have_a_prompt_of_their_own(tiny: Path, tmp_path: Path) -> None:
    with Terminal("chat", tiny, *SEEDED, cache=tmp_path) as terminal:
        terminal.until("> ")
        terminal.press('"""one\n')
        terminal.until(". ")
        terminal.press('two"""\n')
        terminal.until("> ")
        assert saved_from_a_terminal(terminal, tmp_path / "chat") == ["one\ntwo"]


@pytest.mark.slow
def test_ctrl_c_clears_the_line_and_ends_when_it_is_pressed_twice(tiny: Path, tmp_path: Path) -> None:
    with Terminal("chat", tiny, *SEEDED, cache=tmp_path) as terminal:
        terminal.until("> ")
        terminal.press("never asked")
        terminal.until("never asked")
        terminal.interrupt_until("Ctrl-C again ends")
        terminal.until("> ")
        terminal.press("asked\n")
        terminal.until("> ")
        assert saved_from_a_terminal(terminal, tmp_path / "chat") == ["asked"]
        terminal.until("> ")
        assert terminal.interrupt_to_the_end() == 0


def test_a_template_and_its_variables_change_the_answer(command: Command, tiny: Path, tmp_path: Path) -> None:
    refusing = "{% if tone == 'no' %}{{ raise_exception('said ' ~ tone) }}{% endif %}{{ messages[0].content }}a:"
    (tmp_path / "a.jinja").write_text(refusing)
    words = ("chat", tiny, *SEEDED, "--chat-template", tmp_path / "a.jinja")
    assert command(*words, "--template-variables", "tone=yes", given="hello\n").code == 0
    refused = command(*words, "--template-variables", "tone=no", given="hello\n")
    assert (refused.code, "said no" in refused.err) == (2, True)
    assert "must be NAME=VALUE" in command(*words, "--template-variables", "tone", given="hello\n").err
    assert "is no template" in command("chat", tiny, "--chat-template", "nosuch", given="hello\n").err


@pytest.mark.parametrize(
    ("thoughts", "colours", "out", "err"),
    [
        ("dim", True, "\033[2m<think>a\033[0m\033[2m</think>\033[0m\n\nYes", ""),
        ("dim", False, "<think>a</think>\n\nYes", ""),
        ("shown", True, "<think>a</think>\n\nYes", ""),
        ("hidden", True, "Yes", "[thinking; /set thoughts dim shows it]\n"),
    ],
)
def test_thoughts_are_dim_or_plain_or_hidden(
    thoughts: chat.Thoughts,
    colours: bool,
    out: str,
    err: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(chat, "takes_colours", lambda stream: colours)
    conversation = SimpleNamespace(
        ask_parts=lambda text: iter([("<think>a", True), ("</think>", True), ("\n", False), ("\nYes", False)]),
        num_forgotten=0,
        params=SimpleNamespace(constraint=None),
    )
    chat._answer(chat.Chat(cast(Conversation, conversation), True, thoughts), "?")
    assert capsys.readouterr() == (out + "\n", err)


def test_set_changes_how_thoughts_are_shown(command: Command, tiny: Path) -> None:
    done = command(
        "chat", tiny, "--thoughts", "shown", given="/set thoughts\n/set thoughts hidden\n/set thoughts loud\n"
    )
    assert done.err.splitlines() == [
        "thoughts = 'shown'",
        "thoughts = 'hidden'",
        "[thoughts loud: must be shown, dim, hidden (usage: /set NAME VALUE)]",
    ]

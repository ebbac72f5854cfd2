"""The command as a program: exit codes, what goes to which stream, signals, closed pipes, terminals."""

from __future__ import annotations

import io
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from nextword import __version__
from nextword.cli.console import ProgressLine, note
from tests.cli.conftest import NEXTWORD, run_program

ENDLESS = ("--max-tokens", "40000", "--seed", "1")


def test_version_says_whether_the_core_was_built_and_what_torch_there_is() -> None:
    done = run_program("--version")
    assert (done.code, done.err) == (0, "")
    name, core, torch = done.out.splitlines()
    assert name == f"nextword {__version__}"
    assert re.fullmatch(r"C\+\+ core: (portable|avx2|avxvnni|avx512|amx|neon|dotprod|i8mm|not built, .*)", core)
    assert core.startswith("C++ core: not built") == (find_spec("nextword._native") is None)
    assert torch.startswith("PyTorch: not installed") == (find_spec("torch") is None)


def test_version_does_not_import_torch() -> None:
    script = "import sys; from nextword.cli import run; run(['--version']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], stdout=subprocess.DEVNULL, check=False).returncode == 0


def test_text_goes_to_stdout_and_everything_else_to_stderr_without_colours(tiny: Path) -> None:
    done = run_program("generate", tiny, "-", "--max-tokens", "5", "--seed", "1", "--echo", given=b"caf\xc3\xa9")
    assert done.code == 0
    assert done.out.startswith("café")
    assert done.err.startswith("[5 tokens in ")
    assert done.err.endswith("seed 1]\n")
    assert "\033" not in done.out + done.err


@pytest.mark.slow
def test_where_the_core_was_not_built_pytorch_computes_and_native_is_refused_in_one_line(tiny: Path) -> None:
    pytest.importorskip("torch")
    script = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name == "nextword._native":
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Absent())
from nextword.cli import run
codes = [run(["generate", sys.argv[1], "a", "--max-tokens", "2", "--backend", name]) for name in ("auto", "native")]
sys.modules["torch"] = None
print([*codes, run(["generate", sys.argv[1], "a", "--max-tokens", "2"])])
"""
    words = [sys.executable, "-c", script, str(tiny)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1:] == ["[0, 2, 2]"], done.stderr
    computed, refused, without_torch = (line for line in done.stderr.splitlines() if "was not built" in line)
    assert "PyTorch computes, slower, since the C++ core was not built: install a C++17 compiler" in computed
    assert refused.startswith("nextword: the C++ core was not built: install a C++17 compiler")
    assert without_torch.endswith("or compute with PyTorch: pip install 'nextword[train]'")


@pytest.mark.skipif(find_spec("nextword._native") is None, reason="the C++ core was not built")
def test_continuing_a_prompt_imports_no_library_that_it_can_do_without(tiny: Path) -> None:
    """Each of them costs more than the whole command's own modules."""
    script = (
        "import sys; from nextword.cli import run; run(sys.argv[1:]);"
        "unwanted = {'asyncio', 'gguf', 'hashlib', 'jinja2', 'llguidance', 'rich', 'torch', 'typeguard', 'unittest'};"
        "print(sorted(unwanted & set(sys.modules)))"
    )
    words = [sys.executable, "-c", script, "generate", str(tiny), "a", "--max-tokens", "1", "--backend", "native"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


@pytest.mark.parametrize("verb", ["tokenize", "chat"])
def test_input_that_is_not_utf_8_is_refused_in_one_line(tiny: Path, verb: str) -> None:
    text = ["-"] if verb == "tokenize" else []
    done = run_program(verb, tiny, *text, given=b"caf\xe9\n")
    assert (done.code, done.out) == (2, "")
    assert done.err == "nextword: standard input: not UTF-8 text at byte 3\n"


def test_an_argument_that_is_not_utf_8_is_refused_in_one_line(tiny: Path) -> None:
    done = subprocess.run([*NEXTWORD, "tokenize", tiny, b"caf\xe9"], capture_output=True)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(b"nextword: ")
    assert done.stderr.count(b"\n") == 1


def test_characters_that_a_terminal_cannot_show_become_question_marks(tiny: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    arguments = ["generate", str(tiny), "café", "--echo", "--max-tokens", "0"]
    done = subprocess.run([*NEXTWORD, *arguments], capture_output=True, env=environment)
    assert (done.returncode, done.stdout) == (0, b"caf?\n")


@pytest.fixture
def _ctrl_c_heeded() -> Iterator[None]:
    """What is started in a shell's background ignores Ctrl-C, and so do the programs that it starts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_ctrl_c_heeded")
def test_ctrl_c_during_a_generation_ends_with_130(tiny: Path) -> None:
    with subprocess.Popen(
        [*NEXTWORD, "generate", tiny, "hi", *ENDLESS], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        program.stdout.read(1)
        program.send_signal(signal.SIGINT)
        program.stdout.read()
        assert program.stderr.read() == b""
    assert program.returncode == 130


def test_a_reader_that_has_seen_enough_is_no_error(tiny: Path) -> None:
    with subprocess.Popen(
        [*NEXTWORD, "generate", tiny, "hi", *ENDLESS], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        program.stdout.read(10)
        program.stdout.close()
        assert program.stderr.read() == b""
    assert program.returncode == 0


@pytest.mark.parametrize("arguments", [("--help",), ("pull", "--help")])
def test_a_reader_that_is_gone_before_the_end_of_a_short_text_is_no_error(arguments: tuple[str, ...]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run([*NEXTWORD, *arguments], stdout=writer, stderr=subprocess.PIPE, env=buffered)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize(("no_color", "begin"), [("", "\033[31mnextword: "), ("1", "nextword: ")])
def test_a_complaint_is_red_only_on_a_terminal_that_takes_colours(no_color: str, begin: str) -> None:
    assert on_terminal("nosuch", no_color=no_color).startswith(begin)


def test_help_has_no_colours_where_nobody_wants_them() -> None:
    assert "\033" in on_terminal("pull", "--help", no_color="")
    assert "\033" not in on_terminal("pull", "--help", no_color="1")


def test_a_terminal_sees_that_a_model_is_loaded_until_it_is(tiny: Path) -> None:
    shown = on_terminal("score", str(tiny), "hello", no_color="1")
    notice = f"loading {tiny} ..."
    assert shown.startswith(f"\r{notice}\033[K\r\033[K")


class Screen(io.StringIO):
    """A standard error that is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_note_takes_the_place_of_the_line_of_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", screen := Screen())
    with ProgressLine() as line:
        line.show("loading ...")
        note("rounded")
        note("renamed")
        line.show("50 %")
    note("done")
    assert screen.getvalue() == ("\rloading ...\033[K\r\033[K[rounded]\n[renamed]\n\r50 %\033[K\r\033[K[done]\n")


def on_terminal(*arguments: str, no_color: str) -> str:
    """All that a terminal is sent."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "NO_COLOR": no_color, "TERM": "xterm"}
    subprocess.run([*NEXTWORD, *arguments], stdout=theirs, stderr=theirs, stdin=theirs, env=environment, timeout=60)
    os.close(theirs)
    shown = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # how Linux says that the other side is closed
            piece = b""
        if not piece:
            os.close(ours)
            return shown.decode()
        shown += piece

"""The reader of pages can fail: what a page hides or tells wrongly is found. No model is needed here."""

from __future__ import annotations

from pathlib import Path

import pytest

from nextword import __version__
from tests.docs.compare import matches
from tests.docs.page import Step, read_steps
from tests.docs.run_page import find_lies

VERSION = f"nextword {__version__}"


def fence(language: str, body: str) -> str:
    return f"```{language}\n{body}\n```\n"


def lies_of(tmp_path: Path, page: str) -> list[str]:
    path = tmp_path / "page.md"
    path.write_text(page, encoding="utf-8")
    return find_lies(path)


def test_commands_and_snippets_come_in_order_with_what_they_show() -> None:
    fences = [fence("console", "$ one\nout\n$ two"), fence("python", "print(1)"), fence("text", "1")]
    page = "\n".join(["Text.\n", *fences])
    assert read_steps(page) == [
        Step("command", "one", "out", 4),
        Step("command", "two", "", 6),
        Step("snippet", "print(1)", "1", 10),
    ]


def test_a_command_goes_on_after_a_backslash() -> None:
    (step,) = read_steps(fence("console", "$ one \\\n    two\nout"))
    assert step.source.split() == ["one", "two"]
    assert step.shown == "out"


@pytest.mark.parametrize(
    "page",
    [
        fence("sh", "rm file"),
        fence("", "rm file"),
        fence("text", "1"),
        fence("python", "1") + "Between.\n" + fence("text", "1"),
        fence("console", "one"),
        "- item\n\n  ```console\n  $ one\n  ```\n",
        "```python\n1\n",
    ],
    ids=["shell", "no kind", "output alone", "output apart", "no prompt", "indented", "no end"],
)
def test_a_fence_that_would_not_be_run_is_an_error(page: str) -> None:
    with pytest.raises(ValueError, match=r"^line"):
        read_steps(page)


@pytest.mark.parametrize(
    ("shown", "real"),
    [
        ("a b", "a b\n"),
        ("a\n...\nd", "a\nb\nc\nd"),
        ("a ... c", "a b b c"),
        ("[7 tokens in ... s]", "[7 tokens in 1.2 s]"),
        ("p  0.100", "p   0.1006"),
        ("-0.260", "-0.2624"),
        ("-9.999  x", "-10.000  x"),
        ("2.040e-07", "2.044e-07"),
    ],
)
def test_what_a_page_may_show(shown: str, real: str) -> None:
    assert matches(shown, real)


@pytest.mark.parametrize(
    ("shown", "real"),
    [
        ("a b", "a c"),
        ("a", "a\nb"),
        ("a\nb", "a"),
        ("a ... c", "a b d"),
        ("7 tokens", "8 tokens"),
        ("0.100", "0.101"),
        ("0.05", "0.15"),
        ("-0.260", "-0.263"),
        ("1.0", "-1.0"),
        ("2.04e-07", "2.04e-06"),
    ],
)
def test_what_a_page_may_not_show(shown: str, real: str) -> None:
    assert not matches(shown, real)


def test_a_true_page_has_no_lies(tmp_path: Path) -> None:
    page = fence(
        "console", f"$ nextword --version\n{VERSION}\n...\n$ nextword --version | tr a-z A-Z\n{VERSION.upper()}\n..."
    )
    page += fence("python", "word = 'next'") + fence("python", "print(word)") + fence("text", "next")
    page += fence("console", "$ nextword nonsense\nnextword: unknown command 'nonsense': ...\n$ make demo")
    assert lies_of(tmp_path, page) == []


@pytest.mark.parametrize(
    ("page", "complaint"),
    [
        (fence("console", "$ nextword --version\nnextword 99"), VERSION),
        (fence("console", "$ nextword --version | tr a-z A-Z\nnextword 99"), VERSION.upper()),
        (fence("console", "$ nextword nonsense"), "exit code 2"),
        (fence("console", "$ nextword --version\nnextword: no"), "exit code 0"),
        (fence("console", "$ nextword nonsense | cat"), "exit code 2"),
        (fence("console", "$ make nothing"), "nothing"),
        (fence("python", "print(1)") + fence("text", "2"), "--- real, exit code 0\n1"),
        (fence("python", "raise RuntimeError('broken')"), "broken"),
    ],
    ids=["output", "pipe", "exit code", "refusal", "start of a pipe", "make", "snippet", "exception"],
)
def test_a_lie_is_found_and_the_truth_told(tmp_path: Path, page: str, complaint: str) -> None:
    (lie,) = lies_of(tmp_path, page)
    assert complaint in lie

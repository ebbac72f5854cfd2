"""Options of every shape, through the parser and back."""

from __future__ import annotations

import dataclasses
import importlib
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, get_args

import pytest
import tyro

from nextword.cli.forms import Form, Given
from nextword.cli.parsing import parse_options
from nextword.cli.sampling_flags import SamplingFlags
from nextword.decoding.params import SamplingParams
from nextword.errors import RequestError


@dataclasses.dataclass(frozen=True)
class Optimization:
    """Ignored."""

    lr: float = 0.1
    """Learning rate."""
    kind: Literal["a", "b"] | None = None
    """Kind of it."""


@dataclasses.dataclass(frozen=True)
class Named:
    count: int = 1
    ids: tuple[int, ...] = ()
    bias: Mapping[int, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Options:
    """Do something."""

    files: tyro.conf.Positional[tuple[str, ...]]
    steps: int | None = None
    """Number of steps; None: no limit."""
    names: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    is_dry: bool = False
    optimization: Optimization = Optimization(lr=0.5)
    given: Annotated[
        Mapping[str, object],
        Given(Named, titles={"count": "counts", "ids": "counts", "bias": "counts"}, aliases={"count": "-c"}),
    ] = dataclasses.field(default_factory=dict)


def parsed(*words: str) -> Options:
    options = parse_options(Options, words, prog="test")
    assert options is not None
    return options


def test_what_is_not_given_has_the_defaults_of_the_options() -> None:
    assert parsed("a") == Options(files=("a",))


def test_every_shape_is_read() -> None:
    options = parsed("a", "b", "--steps", "3", "--names", "x", "--names=y", "--is-dry", "--lr", "2", "--kind", "b")
    assert options == Options(
        files=("a", "b"), steps=3, names=("x", "y"), is_dry=True, optimization=Optimization(lr=2.0, kind="b")
    )


@pytest.mark.parametrize(
    ("verb", "words", "succeeds"),
    [
        ("generate", ["m"], True),
        ("generate", ["m", "-", "--json", "--top_p=.5", "--stop=--json", "--stop", "b", "--max-tokens", "3"], True),
        ("generate", ["--threads", "2", "m", "text", "--special", "--logit-bias", "3", "-1.5", "--seed=3"], True),
        ("finetune", ["m", "--data", "a.txt", "b.txt", "-o", "out", "--lr", "1e-3", "--rank", "4"], True),
        ("serve", ["m", "--adapter", "a=b", "--adapter", "c=d", "--port", "1"], True),
        ("models", ["a", "b", "--json"], True),
        ("generate", ["m", "--max-token", "3"], False),
        ("generate", ["m", "--stop", "--json"], False),
        ("generate", ["m", "--json=3"], False),
        ("generate", ["m", "--no-json"], False),
        ("models", ["a", "b", "--unknown"], False),
        ("data", ["show"], False),
    ],
)
def test_arguments_that_are_left_out_change_nothing(
    verb: str, words: list[str], succeeds: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = importlib.import_module(f"nextword.cli.verbs.{verb}").Options
    with monkeypatch.context() as patch:
        patch.setattr("nextword.cli.parsing.Form", _whole_form)
        whole = _parsed_or_error(options, words)
    assert isinstance(whole, options) == succeeds, whole
    assert _parsed_or_error(options, words) == whole


@pytest.mark.parametrize("word", ["--is-dry=1", "--is_dry=False"])
def test_a_flag_that_stands_alone_takes_no_value(word: str) -> None:
    with pytest.raises(RequestError, match=r"--is[-_]dry takes no value: leave out ="):
        parsed("a", word)


def test_known_options_are_read_in_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def counted(options: type, words: Sequence[str], *, is_whole: bool) -> Form:
        made.append(is_whole)
        return Form(options, words, is_whole=is_whole)

    monkeypatch.setattr("nextword.cli.parsing.Form", counted)
    options = importlib.import_module("nextword.cli.verbs.generate").Options
    parse_options(options, ["m", "x", "--threads", "2", "--special", "--top-p", ".5"], prog="test")
    assert made == [False]


def _whole_form(options: type, words: Sequence[str], *, is_whole: bool) -> Form:
    return Form(options, words, is_whole=True)


def _parsed_or_error(options: type, words: list[str]) -> object:
    try:
        return parse_options(options, words, prog="test")
    except RequestError as error:
        return str(error)


def test_none_can_be_said() -> None:
    assert parsed("a", "--steps", "None").steps is None


@pytest.mark.parametrize("words", [("-c", "1"), ("--count", "1"), ("--count=1",)])
def test_given_values_are_those_of_the_command_line_even_if_they_are_the_defaults(words: tuple[str, ...]) -> None:
    assert parsed("a", *words).given == {"count": 1}


def test_collections_are_given_by_repeating_their_flag() -> None:
    words = ("--ids", "4", "--ids", "5", "--bias", "7", "-inf", "--bias", "8", "1")
    assert parsed("a", *words).given == {"ids": (4, 5), "bias": {7: float("-inf"), 8: 1.0}}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--steps", "many"), "--steps: invalid literal for int"),
        (("--ids", "x"), "--ids x: must be a whole number"),
        (("--bias", "3", "x"), "--bias x: must be a number"),
        (("--kind", "c"), "--kind: must be one of a, b"),
    ],
)
def test_a_value_of_the_wrong_type_names_its_flag(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(RequestError) as caught:
        parsed("a", *words)
    assert message in str(caught.value)


def test_help_has_titled_groups_and_plain_types(capsys: pytest.CaptureFixture[str]) -> None:
    assert parse_options(Options, ["--help"], prog="test") is None
    text = capsys.readouterr().out
    assert "optimizer options" in text
    assert "counts options" in text
    assert "--steps INT " in text
    assert "Number of steps; None: no limit. (default: None)" in text
    assert "--kind {a,b}" in text
    assert "Kind of it. (default" not in text
    assert "{None}" not in text


def test_every_sampling_parameter_is_in_a_group() -> None:
    (given,) = get_args(SamplingFlags)[1:]
    assert set(given.titles) == {field.name for field in dataclasses.fields(SamplingParams)}


@pytest.mark.parametrize("verb", ["perplexity", "rouge", "models", "generate"])
def test_help_does_without_the_library_that_checks_types(verb: str) -> None:
    script = (
        f"import sys; from nextword.cli import run; run(['{verb}', '--help']); sys.exit('typeguard' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, check=False).returncode == 0

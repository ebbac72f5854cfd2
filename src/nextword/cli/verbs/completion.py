"""`nextword completion`: a script for a shell's Tab completion of verbs, options and their values.

The script holds the words themselves, made from the same dataclasses as the options: no Tab has to start Python.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import tyro

from nextword import SamplingParams
from nextword.cli import VERBS
from nextword.cli.arguments import catalogue_names
from nextword.cli.forms import option_name

Shell = Literal["bash", "zsh", "fish"]


@dataclasses.dataclass(frozen=True)
class Options:
    """Print a script that completes verbs, options and values. For bash: eval "$(nextword completion bash)"."""

    shell: tyro.conf.Positional[Shell]
    """bash and zsh: eval "$(nextword completion SHELL)"; fish: nextword completion fish | source."""


@dataclasses.dataclass(frozen=True)
class _Words:
    """Words that can follow a verb."""

    summary: str
    first: tuple[str, ...] = ()
    """Words for the first place after the verb."""
    flags: tuple[str, ...] = ()
    choices: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    """Flag -> the values it takes, where they are few."""
    switches: frozenset[str] = frozenset()
    """Flags without a value."""


def run(options: Options) -> None:
    """Print the script."""
    words = {verb.name: _words(verb.name, verb.summary) for verb in VERBS}
    print(_SCRIPTS[options.shell](words))


def _words(verb: str, summary: str) -> _Words:
    options = importlib.import_module(f"nextword.cli.verbs.{verb.replace('-', '_')}").Options
    positional, flags = _split(dict(_fields(options)))
    first = next(iter(positional.items()), ("", str))
    choices = {flag: get_args(hint) for flag, hint in flags.items() if get_origin(hint) is Literal}
    switches = frozenset(flag for flag, hint in flags.items() if hint is bool)
    return _Words(summary, _first_words(*first), ("--help", *flags), choices, switches | {"--help"})


def _fields(options: type) -> Iterator[tuple[str, Any]]:
    """Yield the flag's name and the type of each option, each sampling parameter included."""
    is_on = {field.name for field in dataclasses.fields(options) if field.default is True}
    for name, hint in get_type_hints(options, include_extras=True).items():
        if name == "params":
            yield from get_type_hints(SamplingParams).items()
        elif isinstance(nested := _bare(hint), type) and dataclasses.is_dataclass(nested):
            yield from _fields(nested)
        else:
            flag = option_name(name, getattr(hint, "__metadata__", ()))
            yield f"no_{flag}" if name in is_on else flag, hint


def _split(fields: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Positional arguments by name, and options by flag, with their bare types."""
    is_positional = {name: tyro.conf.Positional in getattr(hint, "__metadata__", ()) for name, hint in fields.items()}
    bare = {name: _bare(hint) for name, hint in fields.items()}
    positional = {name: hint for name, hint in bare.items() if is_positional[name]}
    flags = {f"--{name.replace('_', '-')}": hint for name, hint in bare.items() if not is_positional[name]}
    return positional, flags


def _bare(hint: Any) -> Any:
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def _first_words(name: str, hint: Any) -> tuple[str, ...]:
    if name in ("model", "name"):
        return catalogue_names()
    return get_args(hint) if get_origin(hint) is Literal else ()


def _bash(verbs: Mapping[str, _Words]) -> str:
    values = [
        f'        "{verb} {flag}") words="{" ".join(choices)}" ;;'
        for verb, words in verbs.items()
        for flag, choices in words.choices.items()
    ]
    flags = [f'        "{verb} -"*) words="{" ".join(words.flags)}" ;;' for verb, words in verbs.items()]
    first = [f'        {verb}) words="{" ".join(words.first)}" ;;' for verb, words in verbs.items() if words.first]
    return "\n".join(
        [
            "_nextword() {",
            "    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} words=",
            f'    if ((COMP_CWORD == 1)); then words="{" ".join(verbs)} --help --version"',
            '    else case "${COMP_WORDS[1]} $previous" in',
            *values,
            '        *) case "${COMP_WORDS[1]} $current" in',
            *flags,
            "        *) if ((COMP_CWORD == 2)); then case ${COMP_WORDS[1]} in",
            *first,
            "        esac; fi ;;",
            "        esac ;;",
            "    esac; fi",
            '    COMPREPLY=($(compgen -W "$words" -- "$current"))',
            "}",
            "complete -o default -F _nextword nextword",
        ]
    )


def _zsh(verbs: Mapping[str, _Words]) -> str:
    described = " ".join(f'"{verb}:{words.summary}"' for verb, words in verbs.items())
    values = [
        f'        "{verb} {flag}") compadd -- {" ".join(choices)} ;;'
        for verb, words in verbs.items()
        for flag, choices in words.choices.items()
    ]
    flags = [f'        "{verb} -"*) compadd -- {" ".join(words.flags)} ;;' for verb, words in verbs.items()]
    first = [f"        {verb}) compadd -- {' '.join(words.first)} ;;" for verb, words in verbs.items() if words.first]
    return "\n".join(
        [
            "_nextword() {",
            f"    local -a verbs=({described})",
            "    if ((CURRENT == 2)); then _describe command verbs; compadd -- --help --version",
            '    else case "$words[2] $words[CURRENT-1]" in',
            *values,
            '        *) case "$words[2] $PREFIX" in',
            *flags,
            "        *) if ((CURRENT == 3)); then case $words[2] in",
            *first,
            "        esac; fi; _files ;;",
            "        esac ;;",
            "    esac; fi",
            "}",
            "(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }",
            "compdef _nextword nextword",
        ]
    )


def _fish(verbs: Mapping[str, _Words]) -> str:
    begin = "complete -c nextword"
    lines = [f"{begin} -n __fish_use_subcommand -f -l help", f"{begin} -n __fish_use_subcommand -f -l version"]
    for verb, words in verbs.items():
        lines.append(f'{begin} -n __fish_use_subcommand -f -a {verb} -d "{words.summary}"')
        after = f'{begin} -n "__fish_seen_subcommand_from {verb}"'
        lines += [f"{after} -a {word}" for word in words.first]
        for flag in words.flags:
            values = f' -x -a "{" ".join(words.choices[flag])}"' if flag in words.choices else " -r"
            lines.append(f"{after} -l {flag[2:]}" + ("" if flag in words.switches else values))
    return "\n".join(lines)


_SCRIPTS: Mapping[Shell, Callable[[Mapping[str, _Words]], str]] = {"bash": _bash, "zsh": _zsh, "fish": _fish}

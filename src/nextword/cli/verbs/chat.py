"""`nextword chat`: a conversation in the terminal, or with the lines of a pipe."""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import tyro

from nextword.cli.arguments import DEFAULT_COMPUTE, AmateurArgument, ComputeArguments, ModelArgument, load_model
from nextword.cli.chat_lines import ChatLines
from nextword.cli.console import INCOMPLETE, count, note, takes_colours
from nextword.cli.sampling_flags import SamplingFlags, check_sampling_flags, no_sampling_flags
from nextword.errors import NextwordError, RequestError

if TYPE_CHECKING:
    from nextword import Conversation

Thoughts = Literal["shown", "dim", "hidden"]


@dataclasses.dataclass
class Chat:
    """A conversation, and how it is shown."""

    conversation: Conversation
    is_terminal: bool
    thoughts: Thoughts


@dataclasses.dataclass(frozen=True)
class Options:
    """Talk with a model. /help lists the commands inside the chat; Ctrl-C stops an answer, Ctrl-D ends.

    Sampling parameters in the model's own files replace the defaults.
    """

    model: ModelArgument
    system: str | None = None
    """System prompt: instructions on how to behave."""
    load: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """Continue the conversation that /save wrote to this file. Its system prompt replaces that of --system."""
    chat_template: Annotated[str | None, tyro.conf.arg(metavar="FILE", aliases=["--template"])] = None
    """File with a chat template, or the name of one of the model's, in the place of its own."""
    template_variables: Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="NAME=VALUE")] = ()
    """Variable of the chat template, as in enable_thinking=false; repeatable."""
    negative_system: Annotated[str | None, tyro.conf.arg(metavar="TEXT")] = None
    """System prompt that --guidance-scale moves away from; by default the last token of the prompt alone."""
    amateur: AmateurArgument = None
    thoughts: Thoughts = "dim"
    """Look of the thoughts in front of an answer; they are dim only on terminals that have colours."""
    params: SamplingFlags = dataclasses.field(default_factory=no_sampling_flags)
    compute: ComputeArguments = DEFAULT_COMPUTE


def run(options: Options) -> None:
    """Answer messages until the end of the input."""
    check_sampling_flags(options.params)
    variables = dict(map(_variable, options.template_variables))
    if options.amateur is not None and not options.params.get("contrastive_alpha"):
        raise RequestError("--amateur has no effect without --contrastive-alpha, such as 0.1")
    model = load_model(options.model, options.compute, amateur=options.amateur)
    conversation = model.conversation(
        system=options.system,
        chat_template=_template(options.chat_template),
        template_variables=variables,
        negative_system=options.negative_system,
        **options.params,
    )
    if options.load is not None:
        conversation.load(options.load)
    lines = ChatLines()
    chat = Chat(conversation, lines.is_terminal, options.thoughts)
    if lines.is_terminal:
        note('/help lists commands, """ begins and ends a message of several lines, Ctrl-D ends the chat')
    for message in lines:
        command, argument = _split_command(message)
        if command in _END:
            return
        if command is not None:
            _run_command(chat, command, argument)
        elif message.strip():
            _answer(chat, message.removeprefix("/") if message.startswith("//") else message)


def _template(name: str | None) -> str | Path | None:
    return Path(name) if name is not None and Path(name).exists() else name


def _variable(pair: str) -> tuple[str, object]:
    """Return name and value; the value is read as JSON, or is the text itself."""
    name, is_pair, value = pair.partition("=")
    if not (is_pair and name.isidentifier()):
        raise RequestError(f"--template-variables {pair}: must be NAME=VALUE, as in enable_thinking=false")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _answer(chat: Chat, text: str) -> None:
    conversation, answer = chat.conversation, chat.conversation.ask_parts(text)
    try:
        _print_parts(answer, chat)
    except KeyboardInterrupt:
        answer.close()
    except NextwordError as error:
        if not chat.is_terminal:  # in a pipe no user could rephrase
            raise
        note(str(error))
    print(flush=True)
    if conversation.params.constraint and conversation.finish_detail in ("max_tokens", "context"):
        note(INCOMPLETE)
    if conversation.num_forgotten:
        note(f"the context is full: the oldest {count(conversation.num_forgotten, 'turn')} were left out")


def _print_parts(parts: Iterable[tuple[str, bool]], chat: Chat) -> None:
    """Print an answer as it is generated; in the place of hidden thoughts, a terminal has a note while they last."""
    is_dim = chat.thoughts == "dim" and takes_colours(sys.stdout)
    was_hidden = False
    for piece, is_thought in parts:
        shown = f"\033[2m{piece}\033[0m" if is_thought and is_dim else piece
        if chat.thoughts == "hidden" and is_thought:
            if chat.is_terminal and not was_hidden:
                note("thinking; /set thoughts dim shows it")
            was_hidden, shown = True, ""
        elif was_hidden:
            shown = shown.lstrip("\n")
            was_hidden = not shown
        print(shown, end="", flush=True)


def _split_command(message: str) -> tuple[str | None, str]:
    """Return a command without its slash, and what follows it; None for a message to the model.

    A path such as /usr/bin is no command; // begins a message that has a slash in front.
    """
    found = re.fullmatch(r"\s*/([A-Za-z?]+)(?:\s+(.*))?", message.rstrip(), flags=re.DOTALL)
    return (found[1].lower(), found[2] or "") if found else (None, "")


def _run_command(chat: Chat, command: str, argument: str) -> None:
    """Run a chat command and print its result or error. Raises RequestError in a pipe if it fails."""
    known = [*_COMMANDS, *_END]
    if command not in known:
        near = difflib.get_close_matches(command, known, n=1)
        hint = f"did you mean /{near[0]}? " if near else ""
        message = f"/{command}: unknown command: {hint}/help lists all; //{command} ... says it to the model"
        if not chat.is_terminal:
            raise RequestError(message)
        note(message)
        return
    try:
        _COMMANDS[command](chat, argument)
    except NextwordError as error:
        note(f"{error} (usage: {_USAGE[command]})")


def _reset(chat: Chat, argument: str) -> None:
    chat.conversation.reset()


def _save(chat: Chat, argument: str) -> None:
    if not argument:
        raise RequestError("/save: no file was named")
    chat.conversation.save(argument)
    note(f"saved to {argument}")


def _load(chat: Chat, argument: str) -> None:
    if not argument:
        raise RequestError("/load: no file was named")
    chat.conversation.load(argument)
    note(f"{count(len(chat.conversation.messages), 'message')} loaded from {argument}")


@dataclasses.dataclass(frozen=True)
class _Setting:
    """Set one sampling parameter, read as the flag of that name."""

    params: SamplingFlags = dataclasses.field(default_factory=no_sampling_flags)


def _set(chat: Chat, argument: str) -> None:
    """Show all parameters, show one, or change one and show it."""
    conversation = chat.conversation
    name, _, value = argument.partition(" ")
    field = name.lstrip("-").replace("-", "_")
    if field == "thoughts":
        _set_thoughts(chat, value.strip())
        return
    names = [known.name for known in dataclasses.fields(conversation.params) if known.name not in _NOT_OF_CHAT]
    if name and field not in names:
        near = difflib.get_close_matches(field, [*names, "thoughts"], n=1, cutoff=0.0)
        raise RequestError(f"unknown sampling parameter {name!r}: did you mean {near[0]!r}?")
    if value.strip():
        changed: dict[str, Any] = {field: _read_setting(field, _words(value))}
        conversation.params = dataclasses.replace(conversation.params, **changed)
    for shown in [field] if field else names:
        print(f"{shown} = {getattr(conversation.params, shown)!r}", file=sys.stderr)
    if not field:
        _set_thoughts(chat, "")


def _set_thoughts(chat: Chat, value: str) -> None:
    choices: dict[str, Thoughts] = {choice: choice for choice in get_args(Thoughts)}
    if value and value not in choices:
        raise RequestError(f"thoughts {value}: must be {', '.join(choices)}")
    chat.thoughts = choices.get(value, chat.thoughts)
    print(f"thoughts = {chat.thoughts!r}", file=sys.stderr)


def _read_setting(field: str, words: list[str]) -> object:
    """Return the value that the words have as a flag's. An empty word clears a list, "none" clears other fields."""
    from nextword.cli.parsing import parse_options

    flag, num_words = f"--{field.replace('_', '-')}", _NUM_WORDS.get(field, len(words))
    if field in _NUM_WORDS and words == [""]:
        return _EMPTY.get(field, ())
    if field not in _NUM_WORDS:
        words = ["None" if word == "none" else word for word in words]
    groups = [words[start : start + num_words] for start in range(0, len(words), num_words)]
    try:
        options = parse_options(_Setting, [word for group in groups for word in (flag, *group)], prog="/set")
    except RequestError as error:
        raise RequestError(str(error).partition(" (/set --help")[0]) from None
    assert options is not None, "the arguments do not ask for help"
    return dict(options.params)[field]


def _words(text: str) -> list[str]:
    """Split at white space outside quotes. A backslash stays: flags read escapes themselves."""
    lexer = shlex.shlex(text, posix=True)
    lexer.whitespace_split, lexer.escape, lexer.commenters = True, "", ""
    try:
        return list(lexer)
    except ValueError as error:
        raise RequestError(f"{text}: {str(error).lower()}") from None


def _help(chat: Chat, argument: str) -> None:
    print(_HELP, file=sys.stderr)


_COMMANDS: Mapping[str, Callable[[Chat, str], None]] = {
    "help": _help,
    "?": _help,
    "reset": _reset,
    "set": _set,
    "save": _save,
    "load": _load,
}
_USAGE = {
    "help": "/help",
    "?": "/help",
    "reset": "/reset",
    "set": "/set NAME VALUE",
    "save": "/save FILE",
    "load": "/load FILE",
}
_END = ("exit", "bye", "quit")
_NOT_OF_CHAT = ("n", "echo", "logprobs", "processed_logprobs")
"""Parameters that only change what is reported of a completion; a chat shows the text alone."""
_NUM_WORDS = {"stop": 1, "choice": 1, "stop_token_ids": 1, "dry_sequence_breakers": 1, "logit_bias": 2}
"""Parameters that take several values, and the words of each."""
_EMPTY: Mapping[str, object] = {"choice": None, "logit_bias": {}}
"""Values of those that an empty word clears to something else than ()."""
_HELP = '''\
/help                    this list
/reset                   forget the conversation, but not the system prompt
/set                     show the sampling parameters
/set temperature 0.7     change one of them; /set stop '' clears a list
/set thoughts hidden     hide what the model thinks before it answers; also dim, shown
/save FILE               write the conversation as JSON
/load FILE               continue a conversation that /save wrote
/exit, /bye, /quit       end, as Ctrl-D does
//word                   a message that begins with a slash
"""                      begins and ends a message of several lines
Ctrl-C                   stops an answer; at the prompt, clears the line'''

"""Convert a verb's `Options` to the form that the parser library reads, and a filled form to options.

Options nest dataclasses and have types such as `int | None` and `tuple[str, ...]`. A form is flat but for one level of
titled groups, and has only types whose defaults the library checks by itself: for others it imports typeguard, which
takes longer than all the rest.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import itertools
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from inspect import cleandoc, getsourcefile
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import tyro
from tyro.constructors import PrimitiveConstructorSpec

from nextword.errors import RequestError

_TITLES = {
    "choice": "labelling",
    "compute": "computing",
    "engine": "computing",
    "optimization": "optimizer",
    "scheduling": "schedule",
    "checkpointing": "checkpoint",
}
"""Titles of groups that differ from the name of their field."""
_METAVARS: Mapping[object, str] = {int: "INT", float: "FLOAT", str: "TEXT"}
_KINDS: Mapping[object, str] = {int: "a whole number", float: "a number"}
_REPEATED = get_args(tyro.conf.UseAppendAction[str])[1]


@dataclasses.dataclass(frozen=True)
class Given:
    """Annotation of an option that maps names to values: those fields of a dataclass that the command line gives."""

    cls: type
    titles: Mapping[str, str]
    """Title of the group of each field."""
    aliases: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Short flag of a field."""
    readers: Mapping[str, Callable[[str], object]] = dataclasses.field(default_factory=dict)
    """Function that reads the words of a field, if not its type."""
    helps: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Words to add to the help of a field."""
    metavars: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Name in the help of what a field's flag is given, if not that of its type."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Argument:
    """One flag or positional argument."""

    path: tuple[str, ...]
    """Names of the fields that lead to it."""
    hint: Any
    """Type, without annotations."""
    default: Any
    """`dataclasses.MISSING` if it has to be given."""
    title: str
    """Title of its group; empty for the verb's own options."""
    annotations: tuple[Any, ...]
    """For the library."""
    help: str
    alias: str | None = None
    reader: Callable[[str], object] | None = None
    metavar: str | None = None

    @property
    def name(self) -> str:
        return self.path[-1]

    @property
    def flag(self) -> str:
        return f"--{option_name(self.name, self.annotations).replace('_', '-')}"

    @property
    def flags(self) -> set[str]:
        """All words of a command line that stand for it."""
        aliases = (getattr(annotation, "aliases", None) or () for annotation in self.annotations)
        short = () if self.alias is None else (self.alias,)
        negated = (self.flag.replace("--", "--no-", 1),) if self.hint is bool else ()
        return {self.flag, *negated, *short, *itertools.chain(*aliases)}

    @property
    def is_needed(self) -> bool:
        """True where the library has to look for it, whatever flags the command line has."""
        return self.default is dataclasses.MISSING or tyro.conf.Positional in self.annotations

    @property
    def is_repeated(self) -> bool:
        return _REPEATED in self.annotations


class Form:
    """An `Options` class as the library reads it for the words of a command line.

    A whole form has all arguments and their help. Any other lacks those that may be left out and are not among the
    words: the library takes half a millisecond for each. What it takes, the whole one takes as well.
    Raises RequestError for a value of a flag that takes none.
    """

    def __init__(self, options: type, words: Sequence[str], *, is_whole: bool) -> None:
        self._options = options
        self._flags = {flag_of(word) for word in words}
        self._arguments = [*_arguments(options, None, (), "", has_help=is_whole)]
        self._refuse_values(words)
        self._asked = [one for one in self._arguments if is_whole or one.is_needed or self._is_given(one)]
        titles = dict.fromkeys(argument.title for argument in self._asked if argument.title)
        self._groups = {title: f"group_{number}" for number, title in enumerate(titles)}
        groups = [(self._groups[title], *self._group(title)) for title in titles]
        self.type = dataclasses.make_dataclass("Options", [*self._fields(""), *groups], kw_only=True)
        self.type.__doc__ = options.__doc__ if is_whole else ""

    def options(self, filled: Any) -> Any:
        """Return the options for a filled form. Raises RequestError for elements of the wrong type."""
        values = {argument.path: argument.default for argument in self._arguments}
        for argument in self._asked:
            holder = getattr(filled, self._groups[argument.title]) if argument.title else filled
            values[argument.path] = _value(argument, getattr(holder, argument.name))
        given = {argument.path for argument in self._arguments if self._is_given(argument)}
        return _built(self._options, (), values, given)

    def _refuse_values(self, words: Sequence[str]) -> None:
        """Raise RequestError for a value of a flag that takes none: the library reads it as the next argument."""
        flags = {flag for argument in self._arguments if argument.hint is bool for flag in argument.flags}
        for word in words:
            flag, equals, value = word.partition("=")
            if equals and flag_of(word) in flags:
                raise RequestError(f"{flag} takes no value: leave out ={value}")

    def _is_given(self, argument: _Argument) -> bool:
        return not self._flags.isdisjoint(argument.flags)

    def _fields(self, title: str) -> list[tuple[str, Any, Any]]:
        return [
            (argument.name, _form_type(argument), _form_default(argument))
            for argument in self._asked
            if argument.title == title
        ]

    def _group(self, title: str) -> tuple[Any, Any]:
        group: Any = dataclasses.make_dataclass("Group", self._fields(title), kw_only=True)
        group.__doc__ = ""
        hint = Annotated[group, tyro.conf.arg(name=title, help=""), tyro.conf.OmitArgPrefixes]
        return hint, dataclasses.field(default_factory=group)


def flag_of(word: str) -> str:
    """Return the flag in a word of the command line such as --top_p=0.9: --top-p."""
    return word.partition("=")[0].replace("_", "-")


# ---- from options to a form ----


def option_name(name: str, annotations: Iterable[object]) -> str:
    """Return the name that the flag of a field has: an annotation's, else the field's own."""
    named = (getattr(annotation, "name", None) for annotation in annotations)
    return next(filter(None, named), name)


def _arguments(
    cls: type, instance: object | None, path: tuple[str, ...], title: str, *, has_help: bool
) -> Iterator[_Argument]:
    """Yield the arguments of a class, with the defaults of an instance, or of the class where that is None."""
    helps = _field_docstrings(cls) if has_help else {}
    for field in dataclasses.fields(cls):
        hint, annotations = _hints(cls)[field.name]
        default = _class_default(field) if instance is None else getattr(instance, field.name)
        below = (*path, field.name)
        if given := _given(annotations):
            yield from _given_arguments(given, below, has_help=has_help)
        elif _is_nested(hint):
            nested = None if default is dataclasses.MISSING else default
            yield from _arguments(hint, nested, below, _TITLES.get(field.name, field.name), has_help=has_help)
        else:
            yield _Argument(
                path=below,
                hint=hint,
                default=default,
                title=title,
                annotations=annotations,
                help=helps.get(field.name, ""),
            )


def _given_arguments(given: Given, path: tuple[str, ...], *, has_help: bool) -> Iterator[_Argument]:
    for argument in _arguments(given.cls, None, path, "", has_help=has_help):
        items = _optional(argument.hint) if _is_collection(_optional(argument.hint)) else argument.hint
        is_repeated = _is_collection(items)
        yield dataclasses.replace(
            argument,
            hint=items,
            default=() if is_repeated else argument.default,  # its own items alone, none of the default's
            title=given.titles[argument.name],
            annotations=(*argument.annotations, *([_REPEATED] if is_repeated else [])),
            help=argument.help + given.helps.get(argument.name, ""),
            alias=given.aliases.get(argument.name),
            reader=given.readers.get(argument.name),
            metavar=given.metavars.get(argument.name),
        )


@functools.cache
def _hints(cls: type) -> dict[str, tuple[Any, tuple[Any, ...]]]:
    """Type and annotations of each field."""
    hints = get_type_hints(cls, include_extras=True)
    return {
        name: (get_args(hint)[0], hint.__metadata__) if get_origin(hint) is Annotated else (hint, ())
        for name, hint in hints.items()
    }


def _class_default(field: dataclasses.Field[Any]) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def _given(annotations: Sequence[object]) -> Given | None:
    return next((annotation for annotation in annotations if isinstance(annotation, Given)), None)


def _is_nested(hint: object) -> bool:
    return isinstance(hint, type) and dataclasses.is_dataclass(hint)


def _is_collection(hint: object) -> bool:
    return get_origin(hint) is tuple or _is_mapping(hint)


def _is_mapping(hint: object) -> bool:
    return isinstance(origin := get_origin(hint), type) and issubclass(origin, Mapping)


def _optional(hint: object) -> Any:
    """Return the X of `X | None`, None for other types."""
    if get_origin(hint) not in (Union, types.UnionType):  # Literal[...] | None is the former
        return None
    (one,) = (part for part in get_args(hint) if part is not types.NoneType)
    return one


def _form_type(argument: _Argument) -> Any:
    hint, metavar = argument.hint, None
    if one := _optional(hint):
        hint, metavar = Annotated[object, _optional_spec(one)], _metavar(one)
    elif _is_mapping(hint):
        hint, metavar = dict, " ".join(map(_metavar, get_args(hint)))
    elif _is_collection(hint):
        element = _metavar(get_args(hint)[0])
        hint, metavar = list, element if argument.is_repeated else f"{element} [{element} ...]"
    elif hint is str:
        metavar = "TEXT"
    shown = tyro.conf.arg(
        help=argument.help,
        help_behavior_hint=_behaviour(argument),
        metavar=argument.metavar or metavar,
        aliases=None if argument.alias is None else (argument.alias,),
    )
    return Annotated[(hint, shown, *argument.annotations)]


def _form_default(argument: _Argument) -> Any:
    if argument.default is dataclasses.MISSING:
        return dataclasses.field()
    if _is_mapping(argument.hint):
        return dataclasses.field(default_factory=lambda: dict(argument.default))
    if _is_collection(argument.hint):
        return dataclasses.field(default_factory=lambda: [*argument.default])
    return dataclasses.field(default=argument.default)


def _behaviour(argument: _Argument) -> str | None:
    """Return the words after an argument's help; None leaves them to the library."""
    if argument.is_repeated:
        return "(repeatable)"
    if argument.default is dataclasses.MISSING:
        return "" if _is_collection(argument.hint) else None
    says_nothing = argument.default is None and "None" not in argument.help
    if argument.default is False or argument.default == () or says_nothing:
        return ""
    is_invisible = (isinstance(argument.default, str) and not argument.default.isprintable()) or argument.default == ""
    return f"(default: {argument.default!r})" if is_invisible else None


def _metavar(hint: object) -> str:
    return "{" + ",".join(get_args(hint)) + "}" if get_origin(hint) is Literal else _METAVARS[hint]


def _optional_spec(hint: Any) -> PrimitiveConstructorSpec[object]:
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=_metavar(hint),
        instance_from_str=lambda words: None if words == ["None"] else _read_optional(hint, words[0]),
        is_instance=lambda value: True,
        str_from_instance=lambda value: [str(value)],
    )


def _read_optional(hint: Any, word: str) -> object:
    if get_origin(hint) is not Literal:
        return hint(word)
    if word not in get_args(hint):
        raise ValueError(f"must be one of {', '.join(get_args(hint))}")
    return word


@functools.cache
def _field_docstrings(cls: type) -> dict[str, str]:
    """Return the string below each field of a class, which Python itself drops."""
    module = ast.parse(Path(getsourcefile(cls) or "").read_text(encoding="utf-8"))
    (body,) = (node.body for node in module.body if isinstance(node, ast.ClassDef) and node.name == cls.__name__)
    return {
        field.target.id: " ".join(cleandoc(text.value.value).split())
        for field, text in itertools.pairwise(body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant) and isinstance(text.value.value, str)
    }


# ---- from a form to options ----


def _value(argument: _Argument, value: Any) -> Any:
    if _is_mapping(argument.hint):
        kinds = get_args(argument.hint)
        return {_read(argument, kinds[0], key): _read(argument, kinds[1], item) for key, item in value.items()}
    if _is_collection(argument.hint):
        kind = get_args(argument.hint)[0]
        return tuple(_read(argument, kind, item) for item in value)
    return argument.reader(value) if argument.reader and isinstance(value, str) else value


def _read(argument: _Argument, kind: type, word: object) -> object:
    """Read an element of a collection, unless a default has it already."""
    if not isinstance(word, str):
        return word
    try:
        return (argument.reader or kind)(word)
    except ValueError:
        raise RequestError(f"{argument.flag} {word}: must be {_KINDS[kind]}") from None


def _built(cls: type, path: tuple[str, ...], values: Mapping[tuple[str, ...], Any], given: set[tuple[str, ...]]) -> Any:
    """Return the instance of a class whose fields have these values; `given` are those of the command line."""
    arguments: dict[str, Any] = {}
    for field in dataclasses.fields(cls):
        hint, annotations = _hints(cls)[field.name]
        below = (*path, field.name)
        if _given(annotations):
            arguments[field.name] = {
                one[-1]: value for one, value in values.items() if one[:-1] == below and one in given
            }
        else:
            arguments[field.name] = _built(hint, below, values, given) if _is_nested(hint) else values[below]
    return cls(**arguments)

"""`checked_arguments`: a decorator that refuses arguments of the wrong type or choice with a `RequestError`.

The allowed types are read from the function's own annotations, which editors and type checkers read, too. Ranges and
other rules beyond the type are for the function itself.
"""

from __future__ import annotations

import builtins
import collections.abc
import errno
import functools
import inspect
import math
import os
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from numbers import Integral, Real
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, cast, get_args, get_origin

from nextword.errors import RequestError, os_reason

Class = TypeVar("Class", bound=type)
Function = TypeVar("Function", bound=Callable[..., Any])

_LONGEST_SHOWN = 80
"""Characters of a refused value in a message."""


def checked_arguments(function: Function) -> Function:
    """Check each call's arguments against the annotations before the function runs.

    Known are None, bool, int (of 64 bits), float (not NaN), str, Path (one that a file can have), Literal, sequences,
    iterables, mappings and tuples of these, functions, classes and unions. `Annotated[type, "words"]` says in a message
    what is allowed. Not checked are `**keywords`, the items of iterators, and what is annotated with names that exist
    for type checkers alone.

    The function then raises RequestError, naming the argument, its value and what is allowed, and in the place of
    TypeError for a keyword that is unknown or missing.
    """
    signature = inspect.signature(function)
    find_checks = functools.cache(lambda: _checks(function))  # at the first call, when all names are defined

    @functools.wraps(function)
    def checked(*args: object, **kwargs: object) -> object:
        arguments = _bound(function, signature, args, kwargs)
        for name, check in find_checks().items():
            if name in arguments and (fault := check(name, arguments[name])) is not None:
                raise RequestError(fault.message)
        return function(*args, **kwargs)

    return cast(Function, checked)


def checked_fields(made: Class) -> Class:
    """Check the values for the fields of a dataclass as `checked_arguments` does those for parameters."""
    made.__init__ = checked_arguments(made.__init__)  # type: ignore[misc]
    return made


def known_fields(made: Class) -> Class:
    """Raise RequestError for an unknown or missing field of a dataclass that checks the values itself."""
    make = made.__init__  # type: ignore[misc]
    signature = inspect.signature(make)

    @functools.wraps(make)
    def checked(*args: object, **kwargs: object) -> None:
        _bound(make, signature, args, kwargs)
        make(*args, **kwargs)

    made.__init__ = checked  # type: ignore[misc]
    return made


def check_items(name: str, values: Iterable[object], kind: type, *, first: int = 0) -> None:
    """Check items against a type, for what an iterator yields; `first`: index of the first. Raises RequestError."""
    check = _check_for(kind)
    for index, value in enumerate(values, first):
        if check is not None and (fault := check(f"{name}[{index}]", value)) is not None:
            raise RequestError(fault.message)


def check_value(name: str, value: object, hint: object) -> None:
    """Check one value against a type. Raises RequestError."""
    check = _check_for(hint)
    if check is not None and (fault := check(name, value)) is not None:
        raise RequestError(fault.message)


def shown(value: object) -> str:
    """Return the `repr` of a refused value for a message: one line, and not all of a long one."""
    text = " ".join(repr(value).split())
    return f"{text[:_LONGEST_SHOWN]}..." if len(text) > _LONGEST_SHOWN else text


def items_of(value: object) -> tuple[object, ...] | None:
    """Return the items of an iterable; None for what has none, such as an array without dimensions."""
    try:
        return tuple(cast(Iterable[object], value))
    except TypeError:
        return None


def is_unicode(value: object) -> bool:
    """Return True for a string that can be written as UTF-8: without halves of surrogate pairs."""
    return isinstance(value, str) and (value.isascii() or _SURROGATE.search(value) is None)


class _Fault(NamedTuple):
    """A refused value, and what is allowed in its place."""

    name: str
    """Name of the argument, or of the item in it."""
    value: object
    allowed: str

    @property
    def message(self) -> str:
        """The message for people: argument, value, and what is allowed."""
        return f"{self.name} = {shown(self.value)}: must be {self.allowed}"


_Check = Callable[[str, object], _Fault | None]


def _bound(
    function: Callable[..., Any], signature: inspect.Signature, args: Sequence[object], given: Mapping[str, object]
) -> Mapping[str, object]:
    try:
        return signature.bind(*args, **given).arguments
    except TypeError as error:
        raise RequestError(_unbound(function, signature, given, error)) from None


def _unbound(
    function: Callable[..., Any], signature: inspect.Signature, given: Mapping[str, object], error: TypeError
) -> str:
    known = [name for name in signature.parameters if name != "self"]
    unknown = [name for name in given if name not in known]
    import difflib  # for a message alone

    near = difflib.get_close_matches(unknown[0], known, n=1) if unknown else []
    hint = f"did you mean {near[0]!r}?" if near else f"the arguments are {', '.join(known) or 'none'}"
    *_, owner, name = ["", *function.__qualname__.split(".")]
    return f"{owner if name == '__init__' else name}: {error}; {hint}"


def _checks(function: Callable[..., Any]) -> dict[str, _Check]:
    """Return the check of each parameter that has one."""
    found: dict[str, _Check] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        check = None if parameter.kind is parameter.VAR_KEYWORD else _check_for(_hint(function, name))
        if check is not None:
            found[name] = (
                _items_check(check, needs_length=True) if parameter.kind is parameter.VAR_POSITIONAL else check
            )
    return found


def _hint(function: Callable[..., Any], name: str) -> object:
    """Return the annotation of one parameter; names that exist for type checkers alone become Any."""
    annotations = types.SimpleNamespace(__annotations__={name: function.__annotations__.get(name, object)})
    names = _Names(vars(builtins) | function.__globals__)
    return typing.get_type_hints(annotations, localns=names, include_extras=True)[name]


class _Names(dict[str, object]):
    """Names of a module, with Any for those that it does not have."""

    def __missing__(self, name: str) -> object:
        return Any


def _check_for(hint: Any) -> _Check | None:
    """Return the check of a type; None if every value passes."""
    origin, args = get_origin(hint), get_args(hint)
    if hint is Path:
        return _path_check(_plain(*_PLAIN[hint]))
    if hint is str:
        return _unicode_check
    if hint in _PLAIN:
        return _plain(*_PLAIN[hint])
    if origin is Annotated:
        return _in_words(_check_for(args[0]), args[1])
    if origin is Literal:
        return _plain(_one_of(args), f"one of {', '.join(map(str, args))}")
    if origin in (typing.Union, types.UnionType):
        if Path in args:  # names of files need not be Unicode
            return _path_check(_union([_plain(*_PLAIN[str]) if arg is str else _check_for(arg) for arg in args]))
        return _union([_check_for(arg) for arg in args])
    if origin is tuple and args[-1] is not Ellipsis:
        return _tuple_check(args)
    if origin in (list, tuple, collections.abc.Sequence, collections.abc.Iterable):
        return _items_check(_check_for(args[0]), needs_length=origin is not collections.abc.Iterable)
    if origin in (dict, collections.abc.Mapping):
        return _mapping_check(*map(_check_for, args))
    if origin is collections.abc.Callable:
        return _plain(callable, "a function")
    kind = origin or hint
    is_shape = typing.is_typeddict(kind) or getattr(kind, "_is_protocol", False)
    if kind in (object, Any) or not isinstance(kind, type) or is_shape:
        return None
    return _plain(lambda value: isinstance(value, kind), f"a {kind.__name__}")


def _plain(accepts: Callable[[object], bool], allowed: str) -> _Check:
    return lambda name, value: None if accepts(value) else _Fault(name, value, allowed)


def _unicode_check(name: str, value: object) -> _Fault | None:
    if isinstance(value, str) and not is_unicode(value):
        return _Fault(name, value, _UNICODE)
    return _plain(*_PLAIN[str])(name, value)


def _in_words(check: _Check | None, allowed: str) -> _Check | None:
    def renamed(name: str, value: object) -> _Fault | None:
        fault = None if check is None else check(name, value)
        is_other = fault is None or fault.name != name or fault.allowed == _UNICODE
        return fault if is_other else _Fault(name, value, allowed)

    return renamed


def _union(checks: Sequence[_Check | None]) -> _Check | None:
    """Accept what one of the checks accepts; the fault of an item is reported before that of the whole."""
    known = [check for check in checks if check is not None]
    if len(known) < len(checks):
        return None

    def check_union(name: str, value: object) -> _Fault | None:
        faults = []
        for check in known:
            fault = check(name, value)
            if fault is None:
                return None
            faults.append(fault)
        inner = next((fault for fault in faults if fault.name != name), None)
        return inner or _Fault(name, value, " or ".join(fault.allowed for fault in faults))

    return check_union


def _path_check(check: _Check | None) -> _Check:
    """Refuse also strings and paths that no file can have as its name, or that the system does not let us look at."""

    def check_path(name: str, value: object) -> _Fault | None:
        fault = None if check is None else check(name, value)
        if fault is not None or not isinstance(value, (str, os.PathLike)):
            return fault
        try:
            os.lstat(value)
        except ValueError:  # a NUL, or half of a surrogate pair
            return _Fault(name, value, "a path without NUL and surrogate characters")
        except OSError as error:
            if error.errno not in _UNREACHABLE:
                return None
            return _Fault(name, value, f"a path that can be reached, and this one cannot: {os_reason(error)}")
        return None

    return check_path


def _items_check(item: _Check | None, *, needs_length: bool) -> _Check:
    noun = "a list" if needs_length else "an iterable"
    of = "" if item is None else f" of which each is {_allowed_by(item)}"

    def check_all(name: str, value: object) -> _Fault | None:
        is_sized = isinstance(value, Sized)
        if (
            isinstance(value, (str, bytes, Mapping))
            or not isinstance(value, Iterable)
            or (needs_length and not is_sized)
        ):
            return _Fault(name, value, noun + of)
        if item is None or not is_sized:
            return None
        items = items_of(value)
        if items is None:
            return _Fault(name, value, noun + of)
        faults = (item(f"{name}[{index}]", one) for index, one in enumerate(items))
        return next((fault for fault in faults if fault is not None), None)

    return check_all


def _tuple_check(kinds: tuple[Any, ...]) -> _Check:
    checks = [_check_for(kind) for kind in kinds]

    def check_tuple(name: str, value: object) -> _Fault | None:
        if not isinstance(value, Sequence) or isinstance(value, (str, bytes)) or len(value) != len(checks):
            return _Fault(name, value, f"a tuple of {len(checks)} values")
        pairs = enumerate(zip(checks, value, strict=True))
        faults = (check(f"{name}[{index}]", one) for index, (check, one) in pairs if check is not None)
        return next((fault for fault in faults if fault is not None), None)

    return check_tuple


def _mapping_check(key: _Check | None, item: _Check | None) -> _Check:
    def check_mapping(name: str, value: object) -> _Fault | None:
        if not isinstance(value, Mapping):
            return _Fault(name, value, "a mapping")
        for one, content in value.items():
            fault = None if key is None else key(f"a key of {name}", one)
            fault = fault or (None if item is None else item(f"{name}[{one!r}]", content))
            if fault is not None:
                return fault
        return None

    return check_mapping


def _allowed_by(check: _Check) -> str:
    """Describe what a check allows, for the message about a value that none accepts."""
    fault = check("", _NOTHING)
    return "anything" if fault is None else fault.allowed


def _one_of(choices: tuple[object, ...]) -> Callable[[object], bool]:
    return lambda value: any(type(value) is type(choice) and value == choice for choice in choices)


def _is_number(value: object) -> bool:
    if not isinstance(value, Real) or isinstance(value, bool):
        return False
    try:
        return not math.isnan(value)
    except OverflowError:  # a whole number beyond all floats
        return False


def _is_whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and abs(int(value)) < 2**64


def _is_path(value: object) -> bool:
    return isinstance(value, os.PathLike) and isinstance(os.fspath(value), str)


_NOTHING = object()
_UNICODE = "a string of valid Unicode (the input was not UTF-8)"
_SURROGATE = re.compile("[\ud800-\udfff]")
_UNREACHABLE = (errno.ENAMETOOLONG, errno.EACCES, errno.EPERM)
"""Errors that `Path.exists` and `Path.is_dir` raise, in the place of saying no."""
_PLAIN: Mapping[Any, tuple[Callable[[object], bool], str]] = {
    type(None): (lambda value: value is None, "None"),
    bool: (lambda value: isinstance(value, bool), "True or False"),
    int: (_is_whole, "a whole number"),
    float: (_is_number, "a number"),
    str: (lambda value: isinstance(value, str), "a string"),
    Path: (_is_path, "a path"),
}

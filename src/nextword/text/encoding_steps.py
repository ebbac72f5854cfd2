"""`EncodingSteps`: normalizer and pre-tokenizer of a tokenizer, as they are for each place where a text may stand.

Many tokenizers put a space before a text, so that its first word is the word it is elsewhere. A text that continues
another gets none. Patterns that take quadratic time are replaced by equal ones that take linear time. The tokenizer
itself stays as it was published: the steps are its own only while it encodes.
"""

from __future__ import annotations

import contextlib
import enum
import functools
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import tokenizers

Json = dict[str, Any]

_FASTER: Mapping[str, str] = {
    # Digits in groups of three from the right. Oniguruma looks again from the match before, which \G is: after a group
    # another begins, so only the first digits of a number have to look for its end.
    r"(?=(\d{3})+(?!\d))": (
        r"(?<=\G\d{3})(?=\d{3})"
        r"|(?:\A|(?!\G))(?<!\d{3})(?=(?:\d{3})++(?!\d))"
        r"|(?!\G)(?<=\A\d{3})(?=(?:\d{3})++(?!\d))"
    ),
    # A run of spaces that does not end a line is tried once, not from each of its spaces.
    r"\s+$": r"(?<!\s)\s+$",
}
"""Pattern -> a pattern that matches the same."""
_AT_BEGINNING: Mapping[str, str | None] = {r"\A +": None, "\\A\N{LOWER ONE EIGHTH BLOCK}": None, r"\A +| +\z": r" +\z"}
"""Pattern -> what is left of it within a text, where there is no beginning: of vocabularies of SentencePiece."""


class Place(enum.Enum):
    """Place of a text in a longer one."""

    BEGINNING = enum.auto()
    SECTION = enum.auto()
    """Behind a control token."""
    CONTINUATION = enum.auto()
    """Behind other text."""


class _Steps(NamedTuple):
    normalizer: tokenizers.normalizers.Normalizer | None
    pre_tokenizer: tokenizers.pre_tokenizers.PreTokenizer | None


class EncodingSteps:
    """The steps of one tokenizer; `applied` puts those of a place into force."""

    def __init__(self, backend: tokenizers.Tokenizer) -> None:
        self._backend = backend
        self._published = _Steps(backend.normalizer, backend.pre_tokenizer)

    @contextlib.contextmanager
    def applied(self, place: Place) -> Iterator[None]:
        """Let the tokenizer work as at this place until the block ends. Only one thread may be in such a block."""
        wanted = self._of_place[place]
        self._put(wanted, instead_of=self._published)
        try:
            yield
        finally:
            self._put(self._published, instead_of=wanted)

    @functools.cached_property
    def section_adds_space(self) -> bool:
        """True if a text behind a control token gets a space that a continuation does not get."""
        return self._of_place[Place.SECTION] != self._of_place[Place.CONTINUATION]

    @functools.cached_property
    def normalizer_adds_space(self) -> bool:
        """True if the normalizer puts that space."""
        return self._of_place[Place.SECTION].normalizer is not self._of_place[Place.CONTINUATION].normalizer

    def _put(self, steps: _Steps, *, instead_of: _Steps) -> None:
        if steps.normalizer is not instead_of.normalizer:  # after this the library looks at all added tokens again
            self._backend.normalizer = steps.normalizer
        if steps.pre_tokenizer is not instead_of.pre_tokenizer:
            self._backend.pre_tokenizer = steps.pre_tokenizer

    @functools.cached_property
    def _of_place(self) -> Mapping[Place, _Steps]:
        normalizer, pre_tokenizer = map(_as_json, self._published)
        faster = _map_steps(pre_tokenizer, _faster)
        section = _map_steps(faster, _unless_first)
        return {
            Place.BEGINNING: self._build(normalizer, faster),
            Place.SECTION: self._build(normalizer, section),
            Place.CONTINUATION: self._build(_map_steps(normalizer, _without_prefix), _map_first(section, _spaceless)),
        }

    def _build(self, normalizer: Json | None, pre_tokenizer: Json | None) -> _Steps:
        """Build the steps; what is as published is the same object, which costs nothing to put into force."""
        model = {"type": "WordLevel", "vocab": {}, "unk_token": ""}
        content: Json = dict.fromkeys(("truncation", "padding", "post_processor", "decoder"))
        content |= {"version": "1.0", "added_tokens": [], "model": model}
        content |= {"normalizer": normalizer, "pre_tokenizer": pre_tokenizer}
        built, published = tokenizers.Tokenizer.from_str(json.dumps(content)), self._published
        return _Steps(
            published.normalizer if normalizer == _as_json(published.normalizer) else built.normalizer,
            published.pre_tokenizer if pre_tokenizer == _as_json(published.pre_tokenizer) else built.pre_tokenizer,
        )


def _as_json(step: Any) -> Json | None:
    return None if step is None else json.loads(step.__getstate__())


def _map_steps(step: Json | None, change: Callable[[Json], Json | None]) -> Json | None:
    """Change a step, or each step of a sequence at any depth; None leaves a step out."""
    key = next((key for key in ("normalizers", "pretokenizers") if step is not None and key in step), None)
    if step is None or key is None:
        return None if step is None else change(step)
    kept = [changed for one in step[key] if (changed := _map_steps(one, change)) is not None]
    return {**step, key: kept}


def _map_first(step: Json | None, change: Callable[[Json], Json]) -> Json | None:
    """Change a step, or the first of a sequence, which sees the text before it is cut."""
    if step is None:
        return None
    if step.get("pretokenizers"):
        first, *others = step["pretokenizers"]
        return {**step, "pretokenizers": [_map_first(first, change), *others]}
    return change(step)


def _faster(step: Json) -> Json:
    pattern = step.get("pattern", {}).get("Regex", "") if step["type"] == "Split" else ""
    return {**step, "pattern": {"Regex": _FASTER[pattern]}} if pattern in _FASTER else step


def _unless_first(step: Json) -> Json:
    """Put no space before a text that does not begin the whole."""
    return {**step, "prepend_scheme": "never"} if step.get("prepend_scheme") == "first" else step


def _spaceless(step: Json) -> Json:
    """Put no space before a text."""
    if "prepend_scheme" in step:
        return {**step, "prepend_scheme": "never"}
    return {**step, "add_prefix_space": False} if "add_prefix_space" in step else step


def _without_prefix(step: Json) -> Json | None:
    """Normalize without putting anything before a text, and without removing spaces there."""
    if step["type"] == "Prepend":
        return None
    pattern = step["pattern"].get("Regex", "") if step["type"] == "Replace" else ""
    if pattern in _AT_BEGINNING:
        rest = _AT_BEGINNING[pattern]
        return None if rest is None else {**step, "pattern": {"Regex": rest}}
    return {**step, "strip_left": False} if step["type"] == "Strip" else step

"""`ClassifyOptions`: the options of classification. Imports no numpy, so that commands can show their help fast."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal, TypedDict, Unpack

from nextword.checks import check_value, checked_fields, is_unicode, shown
from nextword.errors import RequestError

Calibration = Literal["content-free", "none"]
Normalization = Literal["tokens", "none"]


@checked_fields
@dataclass(frozen=True, kw_only=True)
class ClassifyOptions:
    """Options by which a label is chosen."""

    prompt: str = "{text}\n\nIn one word:"
    """Prompt that a label follows after a space; {text} stands for the text."""
    calibration: Calibration = "content-free"
    """Correct for labels that the model prefers in any text, by texts without content; or not."""
    normalization: Normalization = "tokens"
    """Divide a label's log-probability by its number of tokens, or take the sum."""

    def __post_init__(self) -> None:
        if not is_unicode(self.prompt) or "{text}" not in self.prompt:
            raise RequestError(f"prompt = {shown(self.prompt)}: must be a string with {{text}} where the text belongs")
        check_value("calibration", self.calibration, Calibration)
        check_value("normalization", self.normalization, Normalization)


class ClassifyKeywords(TypedDict, total=False):
    """The keywords of `classify`: the fields of `ClassifyOptions`, none of which must be given."""

    prompt: str
    calibration: Calibration
    normalization: Normalization


def classify_options(**options: Unpack[ClassifyKeywords]) -> ClassifyOptions:
    """Return the options that keywords name. Raises RequestError for an unknown one."""
    known = [field.name for field in dataclasses.fields(ClassifyOptions)]
    for name in options:
        if name not in known:
            raise RequestError(f"unknown option {name!r} of classification: there are {', '.join(known)}")
    return ClassifyOptions(**options)

"""Registration of `nextword` in lm-eval's command, run at the start of Python by nextword_lm_eval.pth.

lm-eval up to 0.4.13, the newest release, looks for no plugins. The line in the .pth file runs in every Python process
of the environment, so this module does nothing unless the process is that command, and never prints or raises.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import PurePath

_COMMANDS = ("lm_eval", "lm-eval", "lm_eval.exe", "lm-eval.exe")
_MODULES = ("lm_eval", "lm_eval.__main__")
_OPTIONS_WITH_VALUE = ("-W", "-X", "--check-hash-based-pycs")


def register_if_lm_eval() -> None:
    """Add `nextword` to lm-eval's models if this process is `lm_eval`, `lm-eval` or `python -m lm_eval`."""
    if not is_lm_eval(sys.orig_argv[1:]) or importlib.util.find_spec("lm_eval") is None:
        return
    try:
        importlib.import_module("lm_eval.models")
        from lm_eval.api.registry import model_registry

        model_registry.register("nextword", target="nextword.lm_eval_plugin:NextwordLM")
    except Exception:  # the command itself will raise and report the error
        return


def is_lm_eval(arguments: Sequence[str]) -> bool:
    """True if Python's own arguments start lm-eval: its script, or its module by `-m`; not if they only mention it."""
    rest = iter(arguments)
    for argument in rest:
        if argument == "-m":
            return next(rest, None) in _MODULES
        if argument in _OPTIONS_WITH_VALUE:
            next(rest, None)
        elif argument == "-" or argument.startswith("-c"):
            return False
        elif not argument.startswith("-"):
            return PurePath(argument).name in _COMMANDS
    return False

"""What a command works on: the model it names, and text from an argument, a file, or standard input."""

from __future__ import annotations

import dataclasses
import gc
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from nextword.cli.console import waiting_for
from nextword.errors import RequestError
from nextword.inference.choices import BackendName, Weights

if TYPE_CHECKING:
    from nextword.language_model import LanguageModel

ModelArgument = Annotated[
    tyro.conf.Positional[str],
    tyro.conf.arg(metavar="MODEL", help="A catalogue name, a Hugging Face folder, a .gguf file, or hf:owner/name."),
]
"""The model that a command works with."""

TextArgument = Annotated[
    tyro.conf.Positional[str], tyro.conf.arg(metavar="TEXT", help="The text; - reads standard input.")
]
"""The text that a command works on."""


@dataclasses.dataclass(frozen=True)
class ComputeOptions:
    """How the model is computed."""

    adapter: Annotated[str | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of an adapter (LoRA, DoRA, IA3; peft's format) that is merged into the model."""
    backend: BackendName = "auto"
    """native: our own C++; torch: PyTorch; auto: native where it was built."""
    weights: Weights = "auto"
    """The numbers to compute with: floats, or blocks with 8 or 4 bits each; auto: as in the file, where possible."""
    num_threads: Annotated[int | None, tyro.conf.arg(name="threads")] = None
    """Cores to use; None: all."""


ComputeArguments = Annotated[ComputeOptions, tyro.conf.arg(name="")]
"""How to compute the model."""
DEFAULT_COMPUTE = ComputeOptions()


def load_model(name: str, compute: ComputeArguments) -> LanguageModel:
    """The model of that name; a terminal shows that it is being loaded. Raises as `nextword.load`."""
    gc.disable()  # all that loading makes, a hundred thousand strings among it, stays: there is no garbage to find
    try:
        from nextword.language_model import load

        with waiting_for(f"loading {name} ..."):
            return load(name, **dataclasses.asdict(compute))
    finally:
        gc.enable()


def read_text(source: str) -> str:
    """The content of the file of that name, or of standard input for "-". Raises RequestError if it is not text."""
    try:
        return sys.stdin.read() if source == "-" else Path(source).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise RequestError(f"{'standard input' if source == '-' else source}: {_reason(error)}") from None


def text_or_stdin(text: str) -> str:
    """The text itself, or standard input for "-"."""
    return read_text("-") if text == "-" else text


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"not UTF-8 text at byte {error.start}"
    return f"cannot be read: {error.strerror if isinstance(error, OSError) else error}"

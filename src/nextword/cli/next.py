"""`nextword next`: the distribution of the next token, and what each truncation leaves of it. Textbook section 2."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated

import tyro

from nextword.cli.generate import changed_params
from nextword.cli.sources import ModelArgument, text_or_stdin
from nextword.decoding.params import SamplingParams


@dataclasses.dataclass(frozen=True)
class Options:
    """Show the distribution of the token that follows a text, and what temperature and truncations make of it."""

    model: ModelArgument
    prompt: tyro.conf.Positional[str]
    """The text before the token; - reads standard input."""
    top: int = 10
    """Rows of each table."""
    params: Annotated[SamplingParams, tyro.conf.arg(name="")] = dataclasses.field(default_factory=SamplingParams)
    json: bool = False
    """Print one JSON object."""


def run(options: Options) -> None:
    """Print one table for the model's own distribution and one for what is left after each step."""
    from nextword.decoding.processors import stages
    from nextword.language_model import load

    model = load(options.model)
    distribution = model.next(text_or_stdin(options.prompt))
    params = model.params(**changed_params(options.params))
    steps = [("model", distribution), *stages(distribution, params)]
    if options.json:
        tables = {name: dataclasses.asdict(step.table(options.top)) | {"entropy": step.entropy} for name, step in steps}
        print(json.dumps(tables, ensure_ascii=False))
        return
    for name, step in steps:
        print(f"{name}: {len(step)} tokens, entropy {step.entropy:.3f} nats\n{step.table(options.top)}\n")

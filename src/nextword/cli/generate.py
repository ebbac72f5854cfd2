"""`nextword generate`: a prompt in, its continuation out."""

from __future__ import annotations

import dataclasses
import json
import time
from typing import Annotated

import tyro

from nextword.cli.report import note, rate
from nextword.cli.sources import ModelArgument, text_or_stdin
from nextword.decoding.params import SamplingParams


@dataclasses.dataclass(frozen=True)
class Options:
    """Continue a prompt."""

    model: ModelArgument
    prompt: tyro.conf.Positional[str]
    """The text to continue; - reads standard input."""
    params: Annotated[SamplingParams, tyro.conf.arg(name="")] = dataclasses.field(default_factory=SamplingParams)
    json: bool = False
    """Print one JSON object with tokens, log-probabilities and finish reasons."""


def run(options: Options) -> None:
    """Stream one completion, or print all n."""
    from nextword.language_model import load

    prompt = text_or_stdin(options.prompt)
    model = load(options.model)
    overrides = changed_params(options.params)
    start = time.perf_counter()
    if options.json or options.params.n > 1:
        generation = model.generate(prompt, **overrides)
        if options.json:
            print(json.dumps(dataclasses.asdict(generation), ensure_ascii=False))
        else:
            print("\n---\n".join(completion.text for completion in generation.completions))
    else:
        stream = model.stream(prompt, **overrides)
        print(prompt if options.params.echo else "", end="", flush=True)
        for piece in stream:
            print(piece, end="", flush=True)
        print()
        generation = stream.generation
    num_tokens = sum(len(completion.tokens) for completion in generation.completions)
    note(f"{rate(num_tokens, time.perf_counter() - start)}, seed {generation.seed}")


def changed_params(params: SamplingParams) -> dict[str, object]:
    """The fields that differ from the built-in defaults: what the person said, over what the checkpoint says."""
    default = SamplingParams()
    names = [field.name for field in dataclasses.fields(params)]
    return {name: getattr(params, name) for name in names if getattr(params, name) != getattr(default, name)}

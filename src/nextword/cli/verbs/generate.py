"""`nextword generate`: a prompt in, its continuation out."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Annotated

import tyro

from nextword.cli.arguments import (
    DEFAULT_COMPUTE,
    ComputeArguments,
    ModelArgument,
    PromptArgument,
    SpecialArgument,
    load_model,
    prompt_or_stdin,
    read_text,
)
from nextword.cli.console import INCOMPLETE, note, rate
from nextword.cli.sampling_flags import SamplingFlags, check_sampling_flags, no_sampling_flags

if TYPE_CHECKING:
    from nextword import Generation
    from nextword.language_model import LanguageModel


@dataclasses.dataclass(frozen=True)
class Options:
    """Continue a prompt. Sampling parameters in the model's own files replace the defaults."""

    model: ModelArgument
    prompt: PromptArgument = "-"
    parse_special: SpecialArgument = False
    prediction: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """File of a text of which the completion is expected to have long parts; it changes no token but saves time."""
    params: SamplingFlags = dataclasses.field(default_factory=no_sampling_flags)
    json: bool = False
    """Print one JSON object: completions with their tokens, log-probabilities and finish reasons."""
    compute: ComputeArguments = DEFAULT_COMPUTE


def run(options: Options) -> None:
    """Print one completion as it is generated, or all n at the end."""
    check_sampling_flags(options.params)
    prompt = prompt_or_stdin(options.prompt)
    prediction = None if options.prediction is None else read_text(options.prediction)
    model = load_model(options.model, options.compute)
    start = time.perf_counter()
    if options.json or model.params(**options.params).n > 1:
        generation = _print_at_once(model, prompt, prediction, options)
    else:
        generation = _print_as_it_comes(model, prompt, prediction, options)
    if model.params(**options.params).constraint and any(
        one.finish_reason == "length" for one in generation.completions
    ):
        note(INCOMPLETE)
    if any(one.score is not None for one in generation.completions):
        note(f"scores {', '.join(f'{one.score:.4f}' for one in generation.completions)}")
    num_tokens = sum(len(completion.tokens) for completion in generation.completions)
    note(f"{rate(num_tokens, time.perf_counter() - start)}, seed {generation.seed}")


def _print_at_once(model: LanguageModel, prompt: str, prediction: str | None, options: Options) -> Generation:
    from nextword.cli.json_output import generation_json, print_json

    special = options.parse_special
    generation = model.generate(prompt, parse_special=special, prediction=prediction, **options.params)
    if options.json:
        print_json(generation_json(generation, model.tokenizer))
    else:
        print("\n---\n".join(completion.text for completion in generation.completions))
    return generation


def _print_as_it_comes(model: LanguageModel, prompt: str, prediction: str | None, options: Options) -> Generation:
    special = options.parse_special
    stream = model.stream(prompt, parse_special=special, prediction=prediction, **options.params)
    for piece in stream:
        print(piece, end="", flush=True)
    print()
    return stream.generation

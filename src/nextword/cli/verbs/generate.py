"""`nextword generate`: a prompt in, its continuation out."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Annotated, TypedDict

import tyro

from nextword.cli.arguments import (
    DEFAULT_COMPUTE,
    AmateurArgument,
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
from nextword.errors import RequestError

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
    negative_prompt: Annotated[str | None, tyro.conf.arg(metavar="TEXT")] = None
    """Prompt that --guidance-scale moves away from; by default the last token of the prompt alone."""
    amateur: AmateurArgument = None
    params: SamplingFlags = dataclasses.field(default_factory=no_sampling_flags)
    json: bool = False
    """Print one JSON object: completions with their tokens, log-probabilities and finish reasons."""
    compute: ComputeArguments = DEFAULT_COMPUTE


def run(options: Options) -> None:
    """Print one completion as it is generated, or all n at the end."""
    check_sampling_flags(options.params)
    prompt = prompt_or_stdin(options.prompt)
    how = _how(options)
    if options.amateur is not None and not options.params.get("contrastive_alpha"):
        raise RequestError("--amateur has no effect without --contrastive-alpha, such as 0.1")
    model = load_model(options.model, options.compute, amateur=options.amateur)
    start = time.perf_counter()
    if options.json or model.params(**options.params).n > 1:
        generation = _print_at_once(model, prompt, how, options)
    else:
        generation = _print_as_it_comes(model, prompt, how, options)
    if model.params(**options.params).constraint and any(
        one.finish_reason == "length" for one in generation.completions
    ):
        note(INCOMPLETE)
    if any(one.score is not None for one in generation.completions):
        note(f"scores {', '.join(f'{one.score:.4f}' for one in generation.completions)}")
    num_tokens = sum(len(completion.tokens) for completion in generation.completions)
    note(f"{rate(num_tokens, time.perf_counter() - start)}, seed {generation.seed}")


class _How(TypedDict):
    """Keywords of `generate` and `stream` besides sampling parameters."""

    parse_special: bool
    prediction: str | None
    negative_prompt: str | None


def _how(options: Options) -> _How:
    return {
        "parse_special": options.parse_special,
        "prediction": None if options.prediction is None else read_text(options.prediction),
        "negative_prompt": options.negative_prompt,
    }


def _print_at_once(model: LanguageModel, prompt: str, how: _How, options: Options) -> Generation:
    from nextword.cli.json_output import generation_json, print_json

    generation = model.generate(prompt, **how, **options.params)
    if options.json:
        print_json(generation_json(generation, model.tokenizer))
    else:
        print("\n---\n".join(completion.text for completion in generation.completions))
    return generation


def _print_as_it_comes(model: LanguageModel, prompt: str, how: _How, options: Options) -> Generation:
    stream = model.stream(prompt, **how, **options.params)
    for piece in stream:
        print(piece, end="", flush=True)
    print()
    return stream.generation

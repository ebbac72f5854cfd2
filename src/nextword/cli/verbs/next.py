"""`nextword next`: the distribution of the next token, before and after each truncation. Textbook section 2."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import tyro

from nextword.cli.arguments import (
    DEFAULT_COMPUTE,
    ComputeArguments,
    ModelArgument,
    PromptArgument,
    SpecialArgument,
    load_model,
    prompt_or_stdin,
)
from nextword.cli.console import count
from nextword.cli.sampling_flags import SamplingFlags, check_sampling_flags, no_sampling_flags


@dataclasses.dataclass(frozen=True)
class Options:
    """Show the distribution of the token that follows a text, before and after temperature and truncations.

    Sampling parameters in the model's own files replace the defaults.
    """

    model: ModelArgument
    prompt: PromptArgument = "-"
    top: int = 10
    """Rows of each table."""
    plot: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """Also draw the rows as bars, in a .png or .svg file."""
    parse_special: SpecialArgument = False
    params: SamplingFlags = dataclasses.field(default_factory=no_sampling_flags)
    json: bool = False
    """Print one JSON object: for each step its rows, number of tokens and entropy."""
    compute: ComputeArguments = DEFAULT_COMPUTE


def run(options: Options) -> None:
    """Print a table of the model's own distribution, then one after each step."""
    from nextword.cli.json_output import print_json

    check_sampling_flags(options.params)
    prompt = prompt_or_stdin(options.prompt)
    model = load_model(options.model, options.compute)
    steps = model.next_steps(prompt, parse_special=options.parse_special, **options.params)
    if options.plot is not None:
        from nextword.workflows.next_plot import save_next_plot

        save_next_plot(options.plot, prompt, steps, top=options.top)
    if options.json:
        print_json(
            {
                name: dataclasses.asdict(step.table(options.top)) | {"entropy": step.entropy}
                for name, step in steps.items()
            }
        )
        return
    for name, step in steps.items():
        print(f"{name}: {count(len(step), 'token')}, entropy {step.entropy:.3f} nats\n{step.table(options.top)}\n")

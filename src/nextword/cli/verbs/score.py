"""`nextword score`: the log-probability of each token of a text."""

from __future__ import annotations

import dataclasses

from nextword.cli.arguments import (
    DEFAULT_COMPUTE,
    ComputeArguments,
    ModelArgument,
    SpecialArgument,
    TextArgument,
    load_model,
    text_or_stdin,
)
from nextword.cli.console import count


@dataclasses.dataclass(frozen=True)
class Options:
    """Show how probable a model finds each token of a text."""

    model: ModelArgument
    text: TextArgument = "-"
    parse_special: SpecialArgument = False
    json: bool = False
    """Print one JSON object: tokens with their log-probabilities, and the sum."""
    compute: ComputeArguments = DEFAULT_COMPUTE


def run(options: Options) -> None:
    """Print a line for each token, then the sum in nats."""
    from nextword.cli.json_output import print_json, tokens_json

    text = text_or_stdin(options.text)
    model = load_model(options.model, options.compute)
    score = model.score(text, parse_special=options.parse_special)
    if options.json:
        print_json({"tokens": tokens_json(score.tokens, model.tokenizer), "log_prob": score.log_prob})
        return
    for token in score.tokens:
        print(f"{token.log_prob:10.4f}  {model.tokenizer.token_text(token.token_id)!r}")
    print(f"{score.log_prob:10.4f}  nats, {count(len(score.tokens), 'token')}")

"""`nextword score`: the log-probability of each token of a text."""

from __future__ import annotations

import dataclasses
import json

import tyro

from nextword.cli.sources import ModelArgument, text_or_stdin


@dataclasses.dataclass(frozen=True)
class Options:
    """Show how probable a model finds each token of a text."""

    model: ModelArgument
    text: tyro.conf.Positional[str]
    """The text; - reads standard input."""
    json: bool = False
    """Print one JSON object."""


def run(options: Options) -> None:
    """Print a line for each token, then the sum in nats."""
    from nextword.language_model import load

    model = load(options.model)
    score = model.score(text_or_stdin(options.text))
    if options.json:
        print(json.dumps(dataclasses.asdict(score) | {"log_prob": score.log_prob}, ensure_ascii=False))
        return
    for token in score.tokens:
        print(f"{token.log_prob:10.4f}  {model.tokenizer.token_text(token.token_id)!r}")
    print(f"{score.log_prob:10.4f}  nats, {len(score.tokens)} tokens")

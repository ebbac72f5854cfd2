"""`nextword tokenize`: the tokens of a text."""

from __future__ import annotations

import dataclasses

from nextword.cli.arguments import ModelArgument, SpecialArgument, TextArgument, text_or_stdin


@dataclasses.dataclass(frozen=True)
class Options:
    """Show the tokens of a text."""

    model: ModelArgument
    text: TextArgument = "-"
    parse_special: SpecialArgument = False
    json: bool = False
    """Print a JSON list: id and text of each token."""


def run(options: Options) -> None:
    """Print a line for each token: id and text. The weights are not read."""
    from nextword.cli.json_output import print_json
    from nextword.loading import load_tokenizer

    text = text_or_stdin(options.text)
    tokenizer = load_tokenizer(options.model)
    token_ids = tokenizer.encode(text, parse_special=options.parse_special)
    tokens = [(token_id, tokenizer.token_text(token_id)) for token_id in token_ids]
    if options.json:
        print_json([{"token_id": token_id, "text": text} for token_id, text in tokens])
        return
    for token_id, text in tokens:
        print(f"{token_id:8d}  {text!r}")

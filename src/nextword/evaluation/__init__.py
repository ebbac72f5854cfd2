"""Measure a model: how well it predicts held-out text, and how good its answers are.

In: an `Engine` and documents. Out: report values that print themselves. Knows no command.

The scoring chain, from text to report; each step adds one thing:

- `StreamedDocument` (scoring/documents.py): the text of one document in pieces, with its bytes and words counted.
- `Convention` (conventions.py): the rule by which a tool cuts a text's tokens into windows, with its settings.
- `Window` (scoring/windows.py): token ids that the model sees together, and how many of the last are scored.
- `score_windows` (scoring/batches.py): runs windows together on an `Engine`'s backend; a `TokenScores` for each.
- `ScoredToken` (scoring/tokens.py): a token's scores beside its bytes of the text.
- `PairedPiece` (scoring/pairs.py): the scores of two models for the same bytes.
- `ScoredPiece` (surprise.py): the scored tokens that make whole characters together.
- `Sums` (perplexity_accumulator.py): nats, tokens, bytes and words of scored text, and the figures that follow.
- `PerplexityAccumulator` (perplexity_accumulator.py): sums, resamples and histograms of all text scored so far.
- `Resamples` (bootstrap.py): sums over bootstrap resamples, from which an `Interval` is drawn.
- `PerplexityReport`, `Comparison`, `SurpriseReport`: the results.
"""

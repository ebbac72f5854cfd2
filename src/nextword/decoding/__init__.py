"""From logits to a token: parameters, the next-token distribution, logits processors, sampling.

In: one row of logits, the parameters of the request, the tokens seen so far. Out: a token id, its log-probability,
the distribution it came from. Knows numpy only: nothing of models, text or the loop over tokens.
"""

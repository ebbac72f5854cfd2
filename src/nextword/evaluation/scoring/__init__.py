"""Score text with a model: documents, the windows they are cut into, batches of windows, tokens with their scores.

In: documents, an engine. Out: surprisal, entropy and rank of each token. Memory does not grow with texts.
"""

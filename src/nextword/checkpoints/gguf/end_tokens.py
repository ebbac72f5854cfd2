"""`end_token_ids`: the tokens of a GGUF vocabulary that end a completion, as llama.cpp finds them.

A file names at most three by keys; older files name the end of a text alone. llama.cpp also ends at tokens with the
texts below (`load_vocab` in src/llama-vocab.cpp), whatever the file says of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

END_TEXTS = (
    *("<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>", "<|calls|>", "<end_of_turn>"),
    *("<|endoftext|>", "</s>", "<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]", "<|end_of_text|>"),
    *("<end_of_utterance>", "<eos>", "<turn|>", "<|tool_response>", "<｜end▁of▁sentence｜>", "[e~["),
)
"""Ends of texts, turns, messages and calls."""
FILE_TEXTS = (
    *("<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"),
    *("<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>", "<|file_sep|>"),
)
"""Tokens that begin another file or repository after a completed one."""
_NOT_ENDS = (
    ("<|end|>", ("<|return|>", "<|call|>")),
    ("<|end|>", ("<|calls|>", "<|flush|>")),
    ("</s>", ("<|tool_response>",)),
    ("</s>", ("<|plamo:eos|>",)),
)
"""A text that ends only a part of a message in vocabularies that have all of the others."""
_KNOWN = frozenset((*END_TEXTS, *FILE_TEXTS, *(other for _, others in _NOT_ENDS for other in others)))


def end_token_ids(tokens: Sequence[str], declared: Iterable[int]) -> tuple[int, ...]:
    """Return the ids, those that the file declares first."""
    are_known = map(_KNOWN.__contains__, tokens)  # no step of Python's for each token: a model waits for this
    ids = {tokens[token_id]: token_id for token_id in itertools.compress(itertools.count(), are_known)}
    found = dict.fromkeys([*declared, *(ids[text] for text in (*END_TEXTS, *FILE_TEXTS) if text in ids)])
    for text, others in _NOT_ENDS:
        if text in ids and all(ids.get(other) in found for other in others):
            found.pop(ids[text], None)
    return tuple(found)

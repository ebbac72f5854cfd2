"""llama.cpp in a process of its own, through its C interface: tokens of a text, and their surprisal in chunks.

Or the tokens of a text and its most probable continuation, as JSON.

    python -m tests.peers.run_llama_cpp MODEL TEXT_FILE OUT.npz NUM_CHUNKS
    python -m tests.peers.run_llama_cpp MODEL TEXT NUM_TOKENS

The library is the one inside the wheel of xllamacpp, of which nothing else is used. Contexts are as llama.cpp makes
them by default: 512 positions. What is passed by value and not read here needs no declaration, only room.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import sys
from ctypes import POINTER, Structure, c_bool, c_char_p, c_float, c_int8, c_int32, c_uint8, c_void_p
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.inference.native import log_probs

CHUNK = 512


class Params(Structure):
    """Of a model or a context, larger than either, as the library fills it."""

    _fields_ = (("room", c_uint8 * 1024),)


class Batch(Structure):
    """llama_batch."""

    _fields_ = (
        ("n_tokens", c_int32),
        ("token", POINTER(c_int32)),
        ("embd", POINTER(c_float)),
        ("pos", POINTER(c_int32)),
        ("n_seq_id", POINTER(c_int32)),
        ("seq_id", POINTER(POINTER(c_int32))),
        ("logits", POINTER(c_int8)),
    )


FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    "llama_backend_init": (None, []),
    "llama_model_default_params": (Params, []),
    "llama_model_load_from_file": (c_void_p, [c_char_p, Params]),
    "llama_model_get_vocab": (c_void_p, [c_void_p]),
    "llama_vocab_n_tokens": (c_int32, [c_void_p]),
    "llama_vocab_get_add_bos": (c_bool, [c_void_p]),
    "llama_vocab_bos": (c_int32, [c_void_p]),
    "llama_tokenize": (c_int32, [c_void_p, c_char_p, c_int32, POINTER(c_int32), c_int32, c_bool, c_bool]),
    "llama_context_default_params": (Params, []),
    "llama_init_from_model": (c_void_p, [c_void_p, Params]),
    "llama_set_n_threads": (None, [c_void_p, c_int32, c_int32]),
    "llama_n_ctx": (c_int32, [c_void_p]),
    "llama_get_memory": (c_void_p, [c_void_p]),
    "llama_memory_clear": (None, [c_void_p, c_bool]),
    "llama_decode": (c_int32, [c_void_p, Batch]),
    "llama_get_logits": (POINTER(c_float), [c_void_p]),
}


def library() -> ctypes.CDLL:
    """llama.cpp. Raises ModuleNotFoundError where its wheel is not installed."""
    spec = importlib.util.find_spec("xllamacpp.xllamacpp")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("xllamacpp")
    llama = ctypes.CDLL(spec.origin)
    for name, (result, arguments) in FUNCTIONS.items():
        function = getattr(llama, name)
        function.restype, function.argtypes = result, arguments
    return llama


class Model:
    """A GGUF file with one context of `CHUNK` positions, computed by one thread: several would spin side by side."""

    def __init__(self, path: str) -> None:
        self._llama = library()
        self._llama.llama_backend_init()
        model = self._llama.llama_model_load_from_file(path.encode(), self._llama.llama_model_default_params())
        self._vocab = self._llama.llama_model_get_vocab(model)
        self.vocab_size = self._llama.llama_vocab_n_tokens(self._vocab)
        self.begin = (
            [self._llama.llama_vocab_bos(self._vocab)] if self._llama.llama_vocab_get_add_bos(self._vocab) else []
        )
        self._context = self._llama.llama_init_from_model(model, self._llama.llama_context_default_params())
        self._llama.llama_set_n_threads(self._context, 1, 1)
        assert self._llama.llama_n_ctx(self._context) == CHUNK

    def tokenize(self, text: str) -> npt.NDArray[np.int32]:
        """As llama-perplexity does: special tokens in the text stay text."""
        data = text.encode()
        token_ids = np.empty(len(data) + 1, np.int32)
        count = self._llama.llama_tokenize(
            self._vocab, data, len(data), _pointer(token_ids, c_int32), len(token_ids), True, False
        )
        return token_ids[:count]

    def logits(self, token_ids: npt.NDArray[np.int32], *, num_logits: int) -> npt.NDArray[np.float32]:
        """Of the last `num_logits` of a chunk: (num_logits, vocab_size)."""
        count = len(token_ids)
        ids, positions = np.ascontiguousarray(token_ids), np.arange(count, dtype=np.int32)
        ones, sequence = np.ones(count, np.int32), np.zeros(1, np.int32)
        wanted = (positions >= count - num_logits).astype(np.int8)
        sequences = (POINTER(c_int32) * count)(*[_pointer(sequence, c_int32)] * count)
        batch = Batch(
            count,
            _pointer(ids, c_int32),
            None,
            _pointer(positions, c_int32),
            _pointer(ones, c_int32),
            sequences,
            _pointer(wanted, c_int8),
        )
        self._llama.llama_memory_clear(self._llama.llama_get_memory(self._context), True)
        assert self._llama.llama_decode(self._context, batch) == 0
        rows = self._llama.llama_get_logits(self._context)
        return np.ctypeslib.as_array(rows, (num_logits, self.vocab_size)).copy()

    def continuation(self, prompt: npt.NDArray[np.int32], *, num_tokens: int) -> tuple[list[int], list[float]]:
        """Return the most probable tokens, one after the other, and by how much each logit exceeds the next one."""
        token_ids, margins = prompt, []
        for _ in range(num_tokens):
            logits = self.logits(token_ids, num_logits=1)[0]
            second, first = np.sort(logits)[-2:]
            margins.append(float(first - second))
            token_ids = np.append(token_ids, logits.argmax().astype(np.int32))
        return token_ids[len(prompt) :].tolist(), margins


def _pointer(array: npt.NDArray[Any], kind: Any) -> Any:
    return array.ctypes.data_as(POINTER(kind))


def main(path: str, text_file: str, out: str, num_chunks: int) -> None:
    """Write the chunks, each with BOS in the place of its first token if texts have one, and the surprisals.

    Those of the second half of each chunk but its first token, as llama-perplexity scores them.
    """
    model = Model(path)
    token_ids = model.tokenize(Path(text_file).read_text(encoding="utf-8"))
    chunks = token_ids[: num_chunks * CHUNK].reshape(num_chunks, CHUNK).copy()
    chunks[:, : len(model.begin)] = model.begin
    nats = []
    for chunk in chunks:
        logits = model.logits(chunk, num_logits=CHUNK // 2)[:-1]
        nats.append(-log_probs(logits)[np.arange(len(logits)), chunk[CHUNK // 2 + 1 :]])
    np.savez(out, token_ids=token_ids, chunks=chunks, nats=np.concatenate(nats))


def continue_text(path: str, text: str, num_tokens: int) -> None:
    """Print the tokens of a text, those that follow most probably, and how clearly."""
    model = Model(path)
    prompt = model.tokenize(text)
    print(json.dumps([prompt.tolist(), *model.continuation(prompt, num_tokens=num_tokens)]))


if __name__ == "__main__":
    if len(sys.argv) == 4:
        continue_text(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    else:
        main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))

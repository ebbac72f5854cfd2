"""llama.cpp, through the ctypes declarations of llama-cpp-python."""

from __future__ import annotations

from typing import Any

import llama_cpp

from benchmarks.peers.llama_interface import LlamaInterface


class LlamaCpp(LlamaInterface):
    """Model of llama.cpp with its defaults, which repack weights for the processor if they can."""

    def __init__(self, path: str, threads: int, *, flash_attention: bool, has_amx: bool) -> None:
        self._flash_attention, self._has_amx = flash_attention, has_amx
        super().__init__(llama_cpp, path, threads)

    def model_params(self) -> Any:
        """Return the default parameters for loading, which repack weights; without that there is no AMX either."""
        params = llama_cpp.llama_model_default_params()
        params.use_extra_bufts = self._has_amx
        return params

    def context_params(self) -> Any:
        """Return parameters with a part of the KV cache for each sequence: the default, and faster than one for all."""
        params = llama_cpp.llama_context_default_params()
        params.flash_attn_type = int(self._flash_attention)
        return params

    def clear(self, context: Any) -> None:
        """Forget all keys and values."""
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), False)


def load(path: str, threads: int, attention: str, *without: str) -> LlamaCpp:
    """A GGUF file; `attention` is "plain" or "flash"; the word "no AMX" may follow."""
    llama_cpp.llama_log_set(_SILENT, None)
    return LlamaCpp(path, threads, flash_attention=attention == "flash", has_amx="no AMX" not in without)


_SILENT = llama_cpp.llama_log_callback(lambda level, text, data: None)

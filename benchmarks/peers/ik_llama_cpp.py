"""ik_llama.cpp, the fork of llama.cpp for processors, through the ctypes declarations of ik-llama-cpp-python."""

from __future__ import annotations

from typing import Any

from ik_llama_cpp import _ctypes_api as ik

from benchmarks.peers.llama_interface import LlamaInterface


class IkLlamaCpp(LlamaInterface):
    """Model of ik_llama.cpp, with weights repacked at run time."""

    def __init__(self, path: str, threads: int, *, flash_attention: bool) -> None:
        super().__init__(ik, path, threads)
        self._flash_attention = flash_attention

    def model_params(self) -> Any:
        """Return the parameters for loading; repacking needs weights that are not mapped."""
        params = ik.llama_model_default_params()
        params.use_mmap = False
        params.repack_tensors = True
        return params

    def context_params(self) -> Any:
        """Return the default parameters of a context."""
        params = ik.llama_context_default_params()
        params.flash_attn = self._flash_attention
        return params

    def clear(self, context: Any) -> None:
        """Forget all keys and values."""
        ik.llama_kv_cache_clear(context)


def load(path: str, threads: int, attention: str) -> IkLlamaCpp:
    """A GGUF file; `attention` is "plain" or "flash"."""
    return IkLlamaCpp(path, threads, flash_attention=attention == "flash")

"""Lines of `inference`: each a library with a model file, in groups that are compared."""

from __future__ import annotations

from dataclasses import dataclass

OURS = "nextword"


@dataclass(frozen=True)
class Entry:
    """Library with a model file: a line of the table."""

    group: str
    """Entries of a group are compared with its first, ours. Its name is the weights by which it reads memory."""
    library: str
    module: str
    """Module in benchmarks/peers."""
    weights: str
    """Key of `model_files`."""
    settings: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """Title in the table."""
        details = (*self.settings, *((self.weights,) if self.weights != self.group else ()))
        return f"{self.library} ({', '.join(details)})" if details else self.library


def _llama(weights: str, library: str, module: str) -> list[Entry]:
    """Return entries with both kinds of attention, since either can be faster."""
    return [Entry(weights, library, module, weights, (attention,)) for attention in ("plain", "flash")]


ENTRIES = (
    Entry("Q4_1", OURS, "nextword_backend", "Q4_1"),
    Entry("Q4_1", f"{OURS} Engine", "nextword_engine", "Q4_1"),
    *_llama("Q4_1", "llama.cpp", "llama_cpp"),
    *_llama("Q4_1", "ik_llama.cpp", "ik_llama_cpp"),
    Entry("Q4_1", "OpenVINO GenAI", "openvino_pipeline", "Q4_1"),
    Entry("Q4_0", OURS, "nextword_backend", "Q4_0"),
    *_llama("Q4_0", "llama.cpp", "llama_cpp"),
    Entry("Q8_0", OURS, "nextword_backend", "Q8_0"),
    *_llama("Q8_0", "llama.cpp", "llama_cpp"),
    *_llama("Q8_0", "ik_llama.cpp", "ik_llama_cpp"),
    Entry("Q8_0", "OpenVINO GenAI", "openvino_pipeline", "Q8_0"),
    Entry("Q8_0", "CTranslate2", "ctranslate2_generator", "int8"),
    Entry("bf16", OURS, "nextword_backend", "bf16"),
    Entry("bf16", "transformers", "transformers_model", "bf16"),
)

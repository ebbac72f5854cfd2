"""Lines of `inference`: each a library with a model file, in groups that are compared."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nextword.native import core

OURS = "nextword"
GEMMA_270M = "270M Q4_K_M"
_ISAS = ("portable", "avx2", "avxvnni", "avx512", "amx", "neon", "dotprod", "i8mm")


@dataclass(frozen=True)
class Entry:
    """Library with a model file: a line of the table."""

    group: str
    """Name of the workload, whose entries are compared with the first, ours; it is also the kind of weights of ours."""
    library: str
    module: str
    """Module in benchmarks/peers."""
    weights: str
    """Key of `model_files`."""
    settings: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """Title in the table."""
        details = [word for word in self.settings if word not in self.library]
        details += [self.weights] if self.weights != self.group else []
        return f"{self.library} ({', '.join(details)})" if details else self.library


@dataclass(frozen=True)
class Workload:
    """Sides that are measured in turns, and what is measured of them."""

    prefills: tuple[int, ...]
    """Tokens of prompts."""
    contexts: tuple[int, ...]
    """Tokens before the ones that are decoded."""
    batches: dict[int, int]
    """Sequences in a step, and tokens of each prompt."""
    entries: tuple[Entry, ...]
    memory_bytes: int = 4_000_000_000
    """Memory that all sides take together, about."""


def _ours(weights: str) -> list[Entry]:
    """Return ours as it is, then with each lesser instruction set of this processor that has vectors."""
    others = [isa for isa in _ISAS[1:] if _runs(isa) and isa != core.choose_isa("")]
    return [
        Entry(weights, OURS, "nextword_backend", weights),
        *(Entry(weights, f"{OURS} {isa}", "nextword_backend", weights, (isa,)) for isa in others),
    ]


def _runs(isa: str) -> bool:
    try:
        core.choose_isa(isa)
    except ValueError:
        return False
    return True


def _llama(weights: str, library: str, module: str) -> list[Entry]:
    """Return entries with both kinds of attention, since either can be faster.

    On processors with AMX, llama.cpp without it, too: its tiles have crashed in threads that had not configured them.
    """
    settings: list[tuple[str, ...]] = [(attention,) for attention in ("plain", "flash")]
    if module == "llama_cpp" and has_amx():
        settings += [(attention, "no AMX") for attention in ("plain", "flash")]
    return [Entry(weights, library, module, weights, words) for words in settings]


def has_amx() -> bool:
    """Return True if this processor multiplies tiles of 8-bit integers."""
    cpuinfo = Path("/proc/cpuinfo")
    return cpuinfo.exists() and "amx_int8" in cpuinfo.read_text()


def _of_size(weights: str, batches: dict[int, int], memory_bytes: int) -> Workload:
    """Return what is measured of a larger model."""
    entries = [
        *_ours(weights),
        *_llama(weights, "llama.cpp", "llama_cpp"),
        *_llama(weights, "ik_llama.cpp", "ik_llama_cpp"),
    ]
    return Workload((512,), (512,), batches, tuple(entries), memory_bytes)


def _small(*entries: Entry) -> Workload:
    """Return what is measured of SmolLM2."""
    return Workload((32, 512, 2048), (128, 512, 2048), {4: 128, 16: 512, 64: 32}, entries)


WORKLOADS = {
    "Q4_1": _small(
        *_ours("Q4_1"),
        Entry("Q4_1", f"{OURS} Engine", "nextword_engine", "Q4_1"),
        *_llama("Q4_1", "llama.cpp", "llama_cpp"),
        *_llama("Q4_1", "ik_llama.cpp", "ik_llama_cpp"),
        Entry("Q4_1", "OpenVINO GenAI", "openvino_pipeline", "Q4_1"),
    ),
    "1B Q4_K_M": _of_size("1B Q4_K_M", {4: 128, 16: 128, 64: 32}, 9_000_000_000),
    "1B F16": _of_size("1B F16", {4: 128, 16: 128, 64: 32}, 15_000_000_000),
    "Q8_0": _small(
        Entry("Q8_0", OURS, "nextword_backend", "Q8_0"),
        *_llama("Q8_0", "llama.cpp", "llama_cpp"),
        *_llama("Q8_0", "ik_llama.cpp", "ik_llama_cpp"),
        Entry("Q8_0", "OpenVINO GenAI", "openvino_pipeline", "Q8_0"),
        Entry("Q8_0", "CTranslate2", "ctranslate2_generator", "int8"),
    ),
    "bf16": _small(
        Entry("bf16", OURS, "nextword_backend", "bf16"),
        Entry("bf16", "transformers", "transformers_model", "bf16"),
    ),
    "Q4_0": _small(Entry("Q4_0", OURS, "nextword_backend", "Q4_0"), *_llama("Q4_0", "llama.cpp", "llama_cpp")),
    GEMMA_270M: _of_size(GEMMA_270M, {4: 128}, 4_000_000_000),
    "3B Q4_K_M": _of_size("3B Q4_K_M", {4: 128}, 18_000_000_000),
}
"""SmolLM2 by its kinds of weights, shapes of Llama 3.2 with random weights, and Gemma 3 270M."""


def is_of_smollm2(name: str) -> bool:
    """Return True for a workload of SmolLM2; the names of others begin with the size of the model."""
    return " " not in name

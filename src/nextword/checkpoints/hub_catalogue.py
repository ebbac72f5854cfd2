"""Good small open models by name, each an address on the Hugging Face Hub.

They were chosen for an ordinary computer, and are not tested here one by one: the Hub serves what their publishers last
uploaded. Their families are. Sizes are those of 2026.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from nextword.checkpoints.hub_names import HubName, parse_hub_name

_LLAMA_LICENSE = "Llama 3.2 Community"
_QWEN3 = {"temperature": 0.6, "top_p": 0.95, "top_k": 20}
_SMOLLM2 = {"temperature": 0.2, "top_p": 0.9}
_GEMMA3 = {"temperature": 1.0, "top_p": 0.95, "top_k": 64}
_LLAMA3 = {"temperature": 0.6, "top_p": 0.9}


@dataclass(frozen=True)
class HubEntry:
    """A model of the Hub that has a short name here."""

    name: str
    """Short name, which `load` and `pull` take."""
    address: str
    """Name on the Hub, hf:owner/name and the quantization of its GGUF file."""
    family: str
    """Architecture, a key of `families.FAMILIES`."""
    license: str
    """Licence that the publisher names."""
    size_bytes: int
    """Size of the files with the weights, rounded."""
    chat_defaults: Mapping[str, object] = field(default_factory=dict)
    """Settings that the publisher recommends for chat, by the keys of generation_config.json."""

    @property
    def hub_name(self) -> HubName:
        """Address as its parts."""
        return parse_hub_name(self.address)


HUB_CATALOGUE: dict[str, HubEntry] = {
    entry.name: entry
    for entry in (
        HubEntry("gemma3-270m", "hf:ggml-org/gemma-3-270m-it-GGUF:Q8_0", "gemma3", "Gemma", 292_000_000, _GEMMA3),
        HubEntry("gemma3-1b", "hf:ggml-org/gemma-3-1b-it-GGUF:Q4_K_M", "gemma3", "Gemma", 806_000_000, _GEMMA3),
        HubEntry("gpt2", "hf:openai-community/gpt2", "gpt2", "MIT", 548_000_000),
        HubEntry(
            "llama3.2-1b",
            "hf:bartowski/Llama-3.2-1B-Instruct-GGUF:Q4_K_M",
            "llama",
            _LLAMA_LICENSE,
            808_000_000,
            _LLAMA3,
        ),
        HubEntry(
            "llama3.2-3b",
            "hf:bartowski/Llama-3.2-3B-Instruct-GGUF:Q4_K_M",
            "llama",
            _LLAMA_LICENSE,
            2_019_000_000,
            _LLAMA3,
        ),
        HubEntry("olmo2-1b", "hf:allenai/OLMo-2-0425-1B-Instruct-GGUF:Q4_K_M", "olmo2", "Apache-2.0", 936_000_000),
        HubEntry("pythia-160m", "hf:EleutherAI/pythia-160m", "gpt_neox", "Apache-2.0", 375_000_000),
        HubEntry("qwen3-0.6b", "hf:Qwen/Qwen3-0.6B-GGUF:Q8_0", "qwen3", "Apache-2.0", 639_000_000, _QWEN3),
        HubEntry("qwen3-1.7b", "hf:Qwen/Qwen3-1.7B-GGUF:Q8_0", "qwen3", "Apache-2.0", 1_834_000_000, _QWEN3),
        HubEntry("qwen3-4b", "hf:Qwen/Qwen3-4B-GGUF:Q4_K_M", "qwen3", "Apache-2.0", 2_497_000_000, _QWEN3),
        HubEntry(
            "smollm2-360m",
            "hf:HuggingFaceTB/SmolLM2-360M-Instruct-GGUF:Q8_0",
            "llama",
            "Apache-2.0",
            386_000_000,
            _SMOLLM2,
        ),
        HubEntry(
            "smollm2-1.7b",
            "hf:HuggingFaceTB/SmolLM2-1.7B-Instruct-GGUF:Q4_K_M",
            "llama",
            "Apache-2.0",
            1_056_000_000,
            _SMOLLM2,
        ),
        HubEntry(
            "smollm3-3b",
            "hf:ggml-org/SmolLM3-3B-GGUF:Q4_K_M",
            "smollm3",
            "Apache-2.0",
            1_915_000_000,
            {"temperature": 0.6, "top_p": 0.95},
        ),
    )
}
"""Entries by name."""

"""Reading and writing of adapters in the format of the peft library: adapter_config.json, adapter_model.safetensors.

Names and shapes of tensors are checked against a model when the adapter is used: see `adapted_weights`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nextword.adapters.adapter_files import CONFIG_NAME, WEIGHTS_NAME, base_name, open_weights, write_adapter
from nextword.adapters.method import METHODS, Array
from nextword.adapters.peft_config import PeftSettings, read_settings
from nextword.adapters.sites import Site, all_sites, chosen_sites
from nextword.adapters.spec import AdapterSpec
from nextword.checkpoints.gguf.adapter import read_gguf_adapter
from nextword.errors import CheckpointError
from nextword.json_file import read_json_object
from nextword.models.config import ModelConfig
from nextword.models.families import FAMILIES
from nextword.models.families.fields import ConfigFields
from nextword.models.stored_tensor import StoredTensor
from nextword.models.weights import require_names, require_shape

_PREFIX = "base_model.model."
"""Prefix of the name of every module in the file."""


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """Adapter read from disk or copied from a model."""

    settings: PeftSettings
    tensors: Mapping[str, StoredTensor]
    """Values by published module and name of the tensor, joined by a dot."""
    base: str | None
    """Name of the base model when the adapter was made."""
    source: str
    """Name of the adapter in messages."""
    folder: Path | None = None
    """Folder that it was read from."""

    @property
    def spec(self) -> AdapterSpec:
        """Settings to train it further. Raises CheckpointError for what is only computed here, and not trained."""
        settings = self.settings
        is_dora = any(name.endswith(".lora_magnitude_vector") for name in self.tensors)
        if settings.kind == "IA3":
            return AdapterSpec(method="ia3")
        if settings.kind != "LORA" or settings.ranks or settings.alphas:
            raise CheckpointError(f"{self.source}: an adapter of one rank and alpha can be trained further; merge this")
        return AdapterSpec(
            method="dora" if is_dora else "lora",
            rank=settings.rank,
            alpha=settings.alpha,
            is_rank_stabilized=settings.is_rank_stabilized,
        )

    def sites(self, config: ModelConfig) -> list[Site]:
        """Return the sites of an adapter that can be trained. Raises CheckpointError if they do not fit the model."""
        method, spec = METHODS[self.spec.method], self.spec
        sites = [
            site
            for site in all_sites(config)
            if any(f"{site.name}.{name}" in self.tensors for name in method.shapes(spec, site))
        ]
        shapes = {f"{site.name}.{name}": shape for site in sites for name, shape in method.shapes(spec, site).items()}
        require_names(self.tensors, shapes, source=self.source)
        for name, shape in shapes.items():
            require_shape(name, self.tensors[name].shape, shape, source=self.source)
        return sites


def open_adapter(folder: Path) -> Adapter:
    """Read an adapter that nextword or peft saved. Raises CheckpointError naming file, field and what is supported."""
    path = folder / CONFIG_NAME
    fields = ConfigFields(read_json_object(path), str(path))
    return _adapter(fields, open_weights(folder), source=str(folder / WEIGHTS_NAME), folder=folder)


def open_adapter_for(config: ModelConfig, path: Path) -> Adapter:
    """Read the adapter in a folder, or the LoRA adapter in a GGUF file, whose names of layers depend on the model.

    Raises CheckpointError as `open_adapter`, naming key or tensor of a file.
    """
    if path.is_dir():
        return open_adapter(path)
    content, stored = read_gguf_adapter(path, config)
    return _adapter(ConfigFields(content, str(path)), stored, source=str(path), folder=None)


def _adapter(fields: ConfigFields, stored: Mapping[str, StoredTensor], *, source: str, folder: Path | None) -> Adapter:
    return Adapter(
        settings=read_settings(fields),
        tensors={name.removeprefix(_PREFIX): tensor for name, tensor in stored.items()},
        base=base_name(fields),
        source=source,
        folder=folder,
    )


def save_adapter(
    folder: Path, *, spec: AdapterSpec, config: ModelConfig, tensors: Mapping[str, Array], base: str | None
) -> None:
    """Write an adapter in peft's format; `tensors` by published module and name, `base`: name of the base model.

    Raises CheckpointError if writing fails.
    """
    named = {f"{_PREFIX}{name}": values for name, values in tensors.items()}
    write_adapter(folder, _settings(spec, config), named, base=base)


def settings_of(spec: AdapterSpec) -> PeftSettings:
    """Return the settings of an adapter that was trained here."""
    if spec.method == "ia3":
        return PeftSettings(kind="IA3")
    return PeftSettings(kind="LORA", rank=spec.rank, alpha=spec.alpha, is_rank_stabilized=spec.is_rank_stabilized)


def _settings(spec: AdapterSpec, config: ModelConfig) -> dict[str, object]:
    sites = chosen_sites(config, spec.adapted)
    common: dict[str, object] = {
        "target_modules": sorted({site.kind for site in sites}),
        "fan_in_fan_out": any(rule.is_transposed for rule in FAMILIES[config.family].weights),
    }
    if spec.method == "ia3":
        feed_forward = sorted({site.kind for site in sites if site.is_feed_forward})
        return {**common, "peft_type": "IA3", "feedforward_modules": feed_forward}
    return {
        **common,
        "peft_type": "LORA",
        "r": spec.rank,
        "lora_alpha": spec.alpha,
        "use_rslora": spec.is_rank_stabilized,
        "use_dora": spec.method == "dora",
        "lora_dropout": 0.0,
        "bias": "none",
    }

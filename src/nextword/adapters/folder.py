"""Reading and writing of adapters in the format of the peft library: adapter_config.json, adapter_model.safetensors.

Names and shapes of tensors are checked against a model's config when the adapter is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nextword.adapters.adapter_files import CONFIG_NAME, WEIGHTS_NAME, base_name, write_adapter
from nextword.adapters.method import METHODS, Array, Method, of_part
from nextword.adapters.sites import Site, all_sites, chosen_sites
from nextword.adapters.spec import AdapterSpec, MethodName
from nextword.checkpoints.safetensors_file import open_safetensors
from nextword.errors import CheckpointError, ConfigError
from nextword.json_file import read_json_object
from nextword.models.config import ModelConfig
from nextword.models.families import FAMILIES
from nextword.models.families.fields import ConfigFields
from nextword.models.stored_tensor import StoredTensor
from nextword.models.weights import require_names, require_shape

_PREFIX = "base_model.model."
"""Prefix of the name of every module in the file."""
_PLAIN_STARTS = (True, False, "gaussian", "eva", "orthogonal")
"""Values of init_lora_weights that leave the base model's weights as they are."""


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """Adapter read from disk or copied from a model."""

    spec: AdapterSpec
    tensors: Mapping[str, StoredTensor]
    """Values by published module and name of the tensor, joined by a dot."""
    base: str | None
    """Name of the base model when the adapter was made."""
    source: str
    """Name of the adapter in messages."""

    @property
    def method(self) -> Method:
        """Module that computes with this kind of adapter."""
        return METHODS[self.spec.method]

    def sites(self, config: ModelConfig) -> list[Site]:
        """Return the sites with tensors. Raises CheckpointError if they do not fit a model of this config."""
        sites = [
            site
            for site in all_sites(config)
            if any(f"{site.name}.{name}" in self.tensors for name in self._names(site))
        ]
        shapes = {
            f"{site.name}.{name}": shape
            for site in sites
            for name, shape in self.method.shapes(self.spec, site).items()
        }
        require_names(self.tensors, shapes, source=self.source)
        if not sites:
            raise CheckpointError(f"{self.source}: has no tensors; save the adapter again")
        for name, shape in shapes.items():
            require_shape(name, self.tensors[name].shape, shape, source=self.source)
        return sites

    def of_site(self, site: Site) -> dict[str, Array]:
        """Read the tensors of one site, by name, as float32."""
        return {name: self.tensors[f"{site.name}.{name}"].to_float32() for name in self._names(site)}

    def of_part(self, site: Site, index: int) -> dict[str, Array]:
        """Read the tensors for one part of a site, by name, as float32."""
        return {name: of_part(self.method, site, index, name, values) for name, values in self.of_site(site).items()}

    def _names(self, site: Site) -> list[str]:
        return list(self.method.shapes(self.spec, site))


def open_adapter(folder: Path) -> Adapter:
    """Read an adapter that nextword or peft saved. Raises CheckpointError naming file, field and what is supported."""
    path = folder / CONFIG_NAME
    fields = ConfigFields(read_json_object(path), str(path))
    try:
        spec = _read_spec(fields)
    except ConfigError as error:
        raise CheckpointError(f"{path}: {error}") from None
    stored = open_safetensors(folder / WEIGHTS_NAME)
    return Adapter(
        spec=spec,
        tensors={name.removeprefix(_PREFIX): tensor for name, tensor in stored.items()},
        base=base_name(fields),
        source=str(folder / WEIGHTS_NAME),
    )


def save_adapter(
    folder: Path, *, spec: AdapterSpec, config: ModelConfig, tensors: Mapping[str, Array], base: str | None
) -> None:
    """Write an adapter in peft's format; `tensors` by published module and name, `base`: name of the base model.

    Raises CheckpointError if writing fails.
    """
    named = {f"{_PREFIX}{name}": values for name, values in tensors.items()}
    write_adapter(folder, _settings(spec, config), named, base=base)


def _read_spec(fields: ConfigFields) -> AdapterSpec:
    fields.require("modules_to_save", [])
    kind = fields.choice("peft_type", {"LORA": "lora", "IA3": "ia3"})
    if kind == "ia3":
        return AdapterSpec(method="ia3")
    fields.require("bias", "none")
    fields.require("lora_bias", False)
    fields.require("init_lora_weights", *_PLAIN_STARTS)
    for name in ("rank_pattern", "alpha_pattern"):
        fields.require(name, {})
    method: MethodName = "dora" if fields.flag("use_dora", False) else "lora"
    return AdapterSpec(
        method=method,
        rank=fields.integer("r"),
        alpha=fields.number("lora_alpha", 8.0),
        is_rank_stabilized=fields.flag("use_rslora", False),
    )


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

"""Adapters on a built `Transformer`: attach them for training, switch between them by name, save them.

The model's own weights keep their names and values and get no gradient; an adapter's are parameters of the module
`model.adapters`. Forward hooks change the outputs of linear layers, so the transformer knows nothing of adapters.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from nextword.adapters.folder import Adapter, save_adapter, settings_of
from nextword.adapters.method import METHODS, Array
from nextword.adapters.sites import Site, chosen_sites, whole_matrix
from nextword.adapters.spec import AdapterSpec
from nextword.errors import ConfigError
from nextword.models.config import ModelConfig
from nextword.models.stored_tensor import StoredTensor
from nextword.models.transformer import Transformer


class AttachedAdapter(nn.Module):
    """Tensors of one adapter as parameters."""

    def __init__(self, spec: AdapterSpec, sites: list[Site], tensors: dict[str, Array]) -> None:
        super().__init__()
        self.spec, self.sites = spec, sites
        # Names of parameters have no dots.
        self.values = nn.ParameterDict(
            {name.replace(".", "/"): nn.Parameter(torch.from_numpy(values.copy())) for name, values in tensors.items()}
        )

    def of_part(self, site: Site, index: int) -> dict[str, Tensor]:
        """Return the tensors for one part of a site, by name."""
        method, rows = METHODS[self.spec.method], site.parts[index].rows
        tensors = {
            name: self.values[f"{site.name}.{name}".replace(".", "/")] for name in method.shapes(self.spec, site)
        }
        is_whole = isinstance(rows, slice) and rows == slice(None)
        return {
            name: values[rows] if name in method.BY_OUTPUT and not is_whole else values
            for name, values in tensors.items()
        }

    def tensors(self) -> dict[str, Array]:
        """Return the values by published name, for `save_adapter`."""
        return {name.replace("/", "."): values.detach().float().cpu().numpy() for name, values in self.values.items()}


class Adapters(nn.Module):
    """Adapters of one model, of which at most one is active."""

    def __init__(self) -> None:
        super().__init__()
        self.by_name = nn.ModuleDict()
        self.active: str | None = None

    def add(self, model: Transformer, name: str, attached: AttachedAdapter) -> None:
        """Add an adapter and make it the active one. Raises ConfigError if the name is taken."""
        if name in self.by_name:
            raise ConfigError(f"adapter {name!r}: already exists; choose another name")
        weight = model.embedding.weight
        self.by_name[name] = attached.to(device=weight.device, dtype=weight.dtype)
        for site in attached.sites:
            for index, part in enumerate(site.parts):
                linear = model.get_submodule(part.module)
                linear.register_forward_hook(_Change(self, name, attached, site, index))
        self.active = name


class _Change:
    """Forward hook of one linear layer, which applies an adapter while it is active."""

    def __init__(self, adapters: Adapters, name: str, attached: AttachedAdapter, site: Site, index: int) -> None:
        self._adapters, self._name, self._attached, self._site, self._index = adapters, name, attached, site, index

    def __call__(self, linear: nn.Module, inputs: tuple[Tensor, ...], outputs: Tensor) -> Tensor:
        if self._adapters.active != self._name:
            return outputs
        assert isinstance(linear, nn.Linear)
        spec = self._attached.spec
        tensors = self._attached.of_part(self._site, self._index)
        return METHODS[spec.method].adapted(spec, self._site, linear, inputs[0], outputs, tensors)


def attach(model: Transformer, spec: AdapterSpec, *, name: str = "default", seed: int = 0) -> list[nn.Parameter]:
    """Attach a new adapter to a model; return its parameters, which are then the only trainable ones.

    The adapter is active and changes no output until it is trained. Raises ConfigError if the model lacks one of the
    targets, or has an adapter of that name.
    """
    sites = chosen_sites(model.config, spec.adapted)
    random, method = np.random.default_rng(seed), METHODS[spec.method]
    tensors = {
        f"{site.name}.{key}": values
        for site in sites
        for key, values in method.initial(spec, site, functools.partial(_matrix, model, site), random).items()
    }
    return _add(model, name, AttachedAdapter(spec, sites, tensors))


def attach_saved(model: Transformer, adapter: Adapter, *, name: str = "default") -> list[nn.Parameter]:
    """Attach an adapter read from disk, as `attach` does. Raises CheckpointError if it does not fit the model."""
    sites = adapter.sites(model.config)
    tensors = {name: tensor.to_float32() for name, tensor in adapter.tensors.items()}
    return _add(model, name, AttachedAdapter(adapter.spec, sites, tensors))


def switch(model: Transformer, name: str | None) -> None:
    """Activate the adapter of that name, or none. Raises ConfigError for an unknown name."""
    adapters = _adapters(model)
    if name is not None and name not in adapters.by_name:
        raise ConfigError(f"adapter {name!r}: there are {', '.join(adapters.by_name) or 'none'}")
    adapters.active = name


def detached(model: Transformer, *, name: str = "default", base: str | None = None) -> Adapter:
    """Copy the adapter of that name out of the model, with its current values."""
    attached = _named(model, name)
    tensors = {key: StoredTensor(key, "F32", values.shape, values) for key, values in attached.tensors().items()}
    return Adapter(settings=settings_of(attached.spec), tensors=tensors, base=base, source=f"adapter {name}")


def save(model: Transformer, folder: Path, *, name: str = "default", base: str | None = None) -> None:
    """Write the adapter of that name in peft's format; `base`: name of the base model. Raises CheckpointError."""
    attached = _named(model, name)
    save_adapter(folder, spec=attached.spec, config=model.config, tensors=attached.tensors(), base=base)


def save_trained(
    state: Mapping[str, Tensor], folder: Path, *, spec: AdapterSpec, config: ModelConfig, base: str | None
) -> None:
    """Write the adapter in the state dict of a model, as `save` does. Raises CheckpointError."""
    tensors = {
        name.partition(".values.")[2].replace("/", "."): values.detach().float().cpu().numpy()
        for name, values in state.items()
        if name.startswith("adapters.")
    }
    save_adapter(folder, spec=spec, config=config, tensors=tensors, base=base)


def _add(model: Transformer, name: str, attached: AttachedAdapter) -> list[nn.Parameter]:
    if not hasattr(model, "adapters"):
        model.adapters = Adapters()
    model.requires_grad_(False)
    _adapters(model).add(model, name, attached)
    return list(attached.requires_grad_(True).parameters())


def _adapters(model: Transformer) -> Adapters:
    adapters = getattr(model, "adapters", None)
    if not isinstance(adapters, Adapters):
        raise ConfigError("the model has no adapter: attach one first")
    return adapters


def _named(model: Transformer, name: str) -> AttachedAdapter:
    adapters = _adapters(model)
    if name not in adapters.by_name:
        raise ConfigError(f"adapter {name!r}: there are {', '.join(adapters.by_name) or 'none'}")
    attached = adapters.by_name[name]
    assert isinstance(attached, AttachedAdapter)
    return attached


def _matrix(model: Transformer, site: Site) -> Array:
    return whole_matrix(
        site, [model.get_parameter(f"{part.module}.weight").detach().float().cpu().numpy() for part in site.parts]
    )

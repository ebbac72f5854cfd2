"""Weights that an adapter replaces whole: saved modules, biases, embeddings of a grown vocabulary, trained rows.

The embedding and the output head may be one matrix: whether what changes one of them changes the other follows the
peft library.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt

from nextword.adapters.folder import Adapter
from nextword.errors import CheckpointError
from nextword.models.config import ModelConfig
from nextword.models.families import FAMILIES
from nextword.models.families.published_weights import from_published_part, published_name, published_shapes
from nextword.models.stored_tensor import FloatDtype, StoredTensor
from nextword.models.weights import require_shape

Array = npt.NDArray[np.float32]
Maker = Callable[[], StoredTensor]

_EMBEDDING, _HEAD = "embedding.weight", "output_head.weight"


@dataclass
class Replaced:
    """Weights that an adapter replaces."""

    config: ModelConfig
    """Config with the vocabulary of the adapter; its head may no longer be tied."""
    makers: dict[str, Maker]
    """The weights replaced, by name, computed when called."""
    used: set[str]
    """Names of the tensors of the adapter that went into them."""


def replaced_weights(config: ModelConfig, tensors: Mapping[str, StoredTensor], adapter: Adapter) -> Replaced:
    """Find the weights that an adapter replaces in a model. Raises CheckpointError for tensors that do not fit it."""
    family, untied = FAMILIES[config.family], dataclasses.replace(config, is_tied=False)
    known, given, used = published_shapes(family, untied), {}, set()
    for name, tensor in adapter.tensors.items():
        plain = re.sub(r"\.(base_layer|ln_tuning_layers|modules_to_save|original_module)\.", ".", name)
        if plain in known:
            used.add(name)
            if ".original_module." not in name:  # that is the base's
                given[plain] = tensor.renamed(plain)
    _require_saved(adapter, given)
    sized = _resized(untied, given, adapter)
    makers = dict(from_published_part(family, sized, given, source=adapter.source))
    ends = _Ends(sized, tensors, makers, adapter, used)
    ends.decide_head(is_tied=config.is_tied)
    ends.add_low_rank()
    ends.set_rows(is_tied=config.is_tied)
    return Replaced(config=dataclasses.replace(sized, is_tied=ends.is_tied), makers=makers, used=used)


def encoded_like(base: StoredTensor, name: str, values: Array) -> StoredTensor:
    """Encode values in the type of the base's; float32 where that is quantised."""
    dtype = "F32" if base.is_quantized else cast("FloatDtype", base.dtype)
    return StoredTensor(name, "F32", values.shape, values).encoded_as(dtype)


def _require_saved(adapter: Adapter, given: Mapping[str, StoredTensor]) -> None:
    for saved in adapter.settings.saved_modules:
        if not any(f".{name}".rpartition(".")[0].endswith(f".{saved}") for name in given):
            raise CheckpointError(
                f"{adapter.source}: modules_to_save has {saved!r}, of which there is no tensor that the model has; "
                "the adapter is incomplete, or of another model"
            )


def _resized(config: ModelConfig, given: Mapping[str, StoredTensor], adapter: Adapter) -> ModelConfig:
    """Return the config with the number of rows of the embedding and the head that the adapter holds."""
    family = FAMILIES[config.family]
    names = [published_name(family, name) for name in (_EMBEDDING, _HEAD)]
    rows = {name: given[name].shape[0] for name in names if name in given and given[name].shape}
    if len(set(rows.values())) > 1:
        found = " and ".join(f"{count} for {name}" for name, count in rows.items())
        raise CheckpointError(f"{adapter.source}: the vocabulary has {found}; save the adapter again with both resized")
    return dataclasses.replace(config, vocab_size=next(iter(rows.values()), config.vocab_size))


class _Ends:
    """Embedding and output head of an adapted model, while the changes of the adapter are put together."""

    def __init__(
        self,
        config: ModelConfig,
        tensors: Mapping[str, StoredTensor],
        makers: dict[str, Maker],
        adapter: Adapter,
        used: set[str],
    ) -> None:
        self._tensors, self._makers, self._adapter, self._used = tensors, makers, adapter, used
        self._hidden, self._rows = config.hidden_size, config.vocab_size
        family = FAMILIES[config.family]
        self._modules = {name: published_name(family, name).removesuffix(".weight") for name in (_EMBEDDING, _HEAD)}
        self.is_tied = False

    def decide_head(self, *, is_tied: bool) -> None:
        """Decide whether a tied head is still the embedding after weights were replaced."""
        has_embedding, has_head = _EMBEDDING in self._makers, _HEAD in self._makers
        is_same = self._adapter.settings.ties_weights or not self._is_saved(_EMBEDDING)
        self.is_tied = is_tied
        if is_tied and has_embedding and is_same and not self._is_saved(_HEAD):
            self._makers.pop(_HEAD, None)  # it is the same matrix
        elif is_tied and has_head and not has_embedding and not self._is_saved(_HEAD):
            self._makers[_EMBEDDING] = self._makers.pop(_HEAD)
        elif is_tied and (has_embedding or has_head):
            self._untie(functools.partial(self._tensors.__getitem__, _EMBEDDING))
        for name in (_EMBEDDING,) if self.is_tied else (_EMBEDDING, _HEAD):
            rows = self._rows if name in self._makers else self._tensors[name].shape[0]
            if rows != self._rows:
                raise CheckpointError(
                    f"{self._adapter.source}: the vocabulary has {self._rows} tokens, and {self._modules[name]} of the "
                    f"model {rows}; save the adapter with both"
                )

    def add_low_rank(self) -> None:
        """Add a low-rank update of the embedding, E + (B A)^T."""
        module, settings = self._modules[_EMBEDDING], self._adapter.settings
        names = [f"{module}.lora_embedding_{letter}" for letter in "AB"]
        if not any(name in self._adapter.tensors for name in names):
            return
        if f"{module}.lora_magnitude_vector" in self._adapter.tensors:
            raise CheckpointError(
                f"{self._adapter.source}: use_dora on {module} is not implemented; merge it with peft"
            )
        rank = settings.rank_of(module)
        first, second = (
            self._tensor(name, shape)
            for name, shape in zip(names, ((rank, self._rows), (self._hidden, rank)), strict=True)
        )
        if self.is_tied:
            self._untie(self._maker(_EMBEDDING))  # what changes the head as well is saved for it, too
        scale = np.float32(settings.scaling_of(module))
        self._change(_EMBEDDING, lambda values: values + (second.to_float32() @ first.to_float32()).T * scale)

    def set_rows(self, *, is_tied: bool) -> None:
        """Set the rows of trained tokens; in a tied head as in the embedding, unless it has rows of its own."""
        deltas = {name: self._delta(name) for name in self._modules}
        if is_tied and not self._indices(_HEAD):
            deltas[_HEAD] = None  # the embedding's again
        if deltas[_HEAD] is not None and self.is_tied:
            self._untie(self._maker(_EMBEDDING))
        for name in self._modules:
            source = name if deltas[name] is not None or not is_tied or self.is_tied else _EMBEDDING
            delta = deltas[source]
            if delta is not None and not (name == _HEAD and self.is_tied):
                self._set(name, self._indices(source), delta)

    def _delta(self, name: str) -> StoredTensor | None:
        stems = (f"{self._modules[name]}.token_adapter", self._modules[name])
        found = [key for stem in stems if (key := f"{stem}.trainable_tokens_delta") in self._adapter.tensors]
        if not found:
            return None
        return self._tensor(found[0], (len(self._indices(name) or self._indices(_EMBEDDING)), self._hidden))

    def _indices(self, name: str) -> tuple[int, ...]:
        listed = self._adapter.settings.token_indices
        module = self._modules[name]
        for key, indices in listed.items():
            if (key == "" and name == _EMBEDDING) or (key and f".{module}".endswith(f".{key}")):
                if any(index >= self._rows for index in indices):
                    raise CheckpointError(
                        f"{self._adapter.source}: trainable_token_indices has {max(indices)}, the vocabulary "
                        f"{self._rows} tokens; the adapter is of another model"
                    )
                return indices
        return ()

    def _set(self, name: str, indices: tuple[int, ...], delta: StoredTensor) -> None:
        def changed(values: Array) -> Array:
            copy = values.copy()
            copy[list(indices)] = delta.to_float32()
            return copy

        self._change(name, changed)

    def _change(self, name: str, change: Callable[[Array], Array]) -> None:
        maker = self._maker(name)

        def make() -> StoredTensor:
            tensor = maker()
            return encoded_like(tensor, name, change(tensor.to_float32()))

        self._makers[name] = make

    def _untie(self, embedding: Maker) -> None:
        """Give the head a matrix of its own: this embedding, unless it has one."""
        self._makers.setdefault(_HEAD, lambda: embedding().renamed(_HEAD))
        self.is_tied = False

    def _maker(self, name: str) -> Maker:
        return self._makers.get(name) or functools.partial(self._tensors.__getitem__, name)

    def _is_saved(self, name: str) -> bool:
        module = self._modules[name]
        return any(f".{module}".endswith(f".{key}") for key in self._adapter.settings.saved_modules)

    def _tensor(self, name: str, shape: tuple[int, ...]) -> StoredTensor:
        tensors = self._adapter.tensors
        if name not in tensors:
            raise CheckpointError(f"{self._adapter.source}: missing tensor {name}; save the adapter again")
        require_shape(name, tensors[name].shape, shape, source=self._adapter.source)
        self._used.add(name)
        return tensors[name]

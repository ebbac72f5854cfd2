"""Reading of Hugging Face folders: config.json, safetensors, generation_config.json, the licence in README.md.

In: a folder as published on the Hub. Out: a `ModelDirectory` whose weights have the names and shapes of the config.
"""

from __future__ import annotations

import dataclasses
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nextword.checkpoints.model_directory import ModelDirectory
from nextword.checkpoints.safetensors_file import INDEX_NAME, SINGLE_NAME, open_safetensors_folder
from nextword.checkpoints.saved_names import plain_tensors, without_further_layers
from nextword.errors import CheckpointError, ConfigError
from nextword.json_file import read_json_object
from nextword.models.config import ModelConfig
from nextword.models.families import FAMILIES, Family
from nextword.models.families.fields import ConfigFields
from nextword.models.families.published_weights import from_published, layer_stems, published_name
from nextword.models.stored_tensor import StoredTensor

if TYPE_CHECKING:
    from nextword.text.tokenizer import Tokenizer

CONFIG_NAME = "config.json"
GENERATION_CONFIG_NAME = "generation_config.json"

_README_BYTES = 65_536
"""Bytes of a README that are read: the front matter stands at the beginning."""


def open_huggingface_folder(folder: Path) -> ModelDirectory:
    """Open a folder as published on the Hub.

    Raises CheckpointError naming file and field if files are missing or damaged, the family or a setting is not
    supported, or weights do not fit the config.
    """
    _require_files(folder)
    family, config = read_config(folder / CONFIG_NAME)
    stored, size_bytes = open_safetensors_folder(folder)
    plain = plain_tensors(stored, ignored=family.ignored_weights, source=str(folder))
    plain = without_further_layers(plain, layer_stems(family), config.num_layers, source=str(folder))
    config, published = _decide_head(family, config, plain, source=str(folder))
    tensors = from_published(family, config, published, source=str(folder))
    generation_path = folder / GENERATION_CONFIG_NAME
    return ModelDirectory(
        path=folder,
        format="hf",
        config=config,
        tensors=tensors,
        load_tokenizer=lambda: _load_tokenizer(folder),
        generation_defaults=read_json_object(generation_path) if generation_path.exists() else {},
        license=read_license(folder / "README.md"),
        size_bytes=size_bytes,
    )


def _load_tokenizer(folder: Path) -> Tokenizer:
    from nextword.text.tokenizer_folder import load_tokenizer_folder  # with its library, beside packing

    return load_tokenizer_folder(folder)


def read_config(path: Path) -> tuple[Family, ModelConfig]:
    """Read family and config from config.json. Raises CheckpointError naming file, field, value and what is allowed."""
    return config_of(ConfigFields(read_json_object(path), str(path)))


def config_of(fields: ConfigFields) -> tuple[Family, ModelConfig]:
    """Return family and config by the fields of a config.json. Raises CheckpointError as `read_config`."""
    families = {family.model_type: family for family in FAMILIES.values()}
    if fields.content.get("model_type") == "gemma3":
        raise CheckpointError(
            f"{fields.source}: model_type gemma3 takes images; the text models (gemma3_text) are supported"
        )
    family = fields.choice("model_type", families)
    fields.require("is_causal", True)  # models that compute embeddings of texts look ahead
    try:
        return family, family.config_from_hf(fields)
    except ConfigError as error:
        raise CheckpointError(f"{fields.source}: {error}") from None


def read_license(readme: Path) -> str | None:
    """Read `license` from the front matter of a model card; None if there is no card or no such field."""
    try:
        with readme.open("rb") as file:
            text = file.read(_README_BYTES).decode(errors="replace")
    except OSError:
        return None
    front_matter = re.match(r"\s*---\n(.*?)\n---", text.replace("\r\n", "\n"), flags=re.DOTALL)
    found = front_matter and re.search(r"^license:[ \t]*(.+?)[ \t]*$", front_matter[1], flags=re.MULTILINE)
    return found[1].strip("\"'") if found else None


def _require_files(folder: Path) -> None:
    """Raise a CheckpointError that explains why a folder without config.json or safetensors cannot be opened."""
    has_weights = (folder / SINGLE_NAME).exists() or (folder / INDEX_NAME).exists()
    if has_weights and (folder / CONFIG_NAME).exists():
        return
    if (folder / "adapter_config.json").exists():
        raise CheckpointError(f"{folder}: holds an adapter; open its base model (base_model_name_or_path)")
    gguf = sorted(folder.glob("*.gguf"))
    if gguf:
        raise CheckpointError(f"{folder}: no {CONFIG_NAME} with {SINGLE_NAME}; name the file instead: {gguf[0]}")
    if not (folder / CONFIG_NAME).exists():
        raise CheckpointError(f"{folder}: no {CONFIG_NAME}, so not a model directory")
    pickles = sorted([*folder.glob("*.bin"), *folder.glob("*.pt"), *folder.glob("*.pth")])
    if pickles:
        raise CheckpointError(
            f"{pickles[0]}: a pickle, which can run any code and is not read; convert it to {SINGLE_NAME}"
        )
    others = sorted(path.name for path in folder.glob("*.safetensors"))
    if others:
        raise CheckpointError(
            f"{folder}: no {SINGLE_NAME} and no {INDEX_NAME}, but {others[0]}; fetch one of them, or rename it"
            " if it holds the whole model by the names of transformers"
        )
    raise CheckpointError(f"{folder}: no {SINGLE_NAME} and no {INDEX_NAME}; fetch the model again")


def _decide_head(
    family: Family, config: ModelConfig, published: Mapping[str, StoredTensor], *, source: str
) -> tuple[ModelConfig, Mapping[str, StoredTensor]]:
    """Decide from the stored weights, not from the flag, whether the output head is tied to the embedding.

    Absent: tied, with a warning if the flag says otherwise. Present where the flag says tied: the one matrix of both if
    there is no embedding or the same, used with a warning if it differs.
    """
    rule = next(rule for rule in family.weights if rule.ours == ("output_head",))
    names = [f"{stem}.weight" for stem in (rule.theirs, rule.alias) if stem is not None]
    name = next((name for name in names if name in published), None)
    embedding_name = published_name(family, "embedding.weight")
    if name is None and not config.is_tied:
        warnings.warn(
            f"{source}: tie_word_embeddings is false but there is no {names[0]}; {embedding_name} is used for it",
            stacklevel=4,
        )
    if name is None or not config.is_tied:
        return dataclasses.replace(config, is_tied=name is None), published
    embedding = published.get(embedding_name, published.get(embedding_name.removeprefix(family.base_prefix)))
    head = published[name]
    if embedding is None:
        return config, {embedding_name if key == name else key: tensor for key, tensor in published.items()}
    if head.dtype == embedding.dtype and np.array_equal(head.data, embedding.data):
        return config, {key: tensor for key, tensor in published.items() if key != name}
    warnings.warn(
        f"{source}: tie_word_embeddings is true but {name} differs from {embedding.name}; {name} is used", stacklevel=4
    )
    return dataclasses.replace(config, is_tied=False), published

"""Recipe files: YAML whose keys are the names of flags, converted to those flags.

So a recipe file is checked like the command line, whose flags override it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from nextword.errors import ConfigError, os_reason
from nextword.extras import needs_extra

_SUFFIXES = (".yaml", ".yml")
_TRUTH = "tag:yaml.org,2002:bool"


def with_recipe_files(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with each recipe file among them replaced by its flags, which come first.

    Raises ConfigError, naming the file, for what is no recipe.
    """
    recipes = [argument for argument in arguments if argument.endswith(_SUFFIXES)]
    flags = [flag for recipe in recipes for flag in _read_flags(Path(recipe))]
    return [*flags, *(argument for argument in arguments if argument not in recipes)]


def _read_flags(path: Path) -> list[str]:
    with needs_extra("train"):
        import yaml
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_loader())
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {os_reason(error)}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: a recipe is a list of settings such as lr: 0.001")
    positional = content.pop("files", [])
    return [*_texts(positional), *_flags(content)]


def _loader() -> Any:
    """Return YAML's safe loader with true and false as the only booleans: `on` is one of our settings."""
    import yaml

    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        yaml_implicit_resolvers: ClassVar = {
            first: [(tag, pattern) for tag, pattern in resolvers if tag != _TRUTH]
            for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

    Loader.add_implicit_resolver(_TRUTH, re.compile("true|false", flags=re.IGNORECASE), list("tTfF"))
    return Loader


def _flags(content: Mapping[object, object]) -> Iterator[str]:
    """Yield the flags of all settings; sections group them and have no flag of their own."""
    for key, value in content.items():
        if isinstance(value, dict):
            yield from _flags(value)
        elif value is True:
            yield _flag(key)
        elif value is not False:
            yield from (_flag(key), *_texts(value))


def _flag(key: object) -> str:
    return f"--{str(key).replace('_', '-')}"


def _texts(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]

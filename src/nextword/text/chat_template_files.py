"""`read_chat_templates`: the chat templates of a tokenizer folder, by name, from all files that may hold them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from nextword.errors import CheckpointError
from nextword.input_file import read_bounded
from nextword.json_file import read_json_object

DEFAULT = "default"
"""Name of the template that is applied where none is asked for."""
_LARGEST_BYTES = 10_000_000


def read_chat_templates(folder: Path, settings: Mapping[str, object]) -> dict[str, str]:
    """Return the templates by name; `settings` is the content of tokenizer_config.json.

    As in transformers, chat_template.jinja and additional_chat_templates/NAME.jinja come before the settings. Where
    neither has one, chat_template.json counts, which transformers reads for models of images. Raises CheckpointError
    naming the file that holds something else.
    """
    files = {DEFAULT: folder / "chat_template.jinja"} if (folder / "chat_template.jinja").exists() else {}
    files |= {path.stem: path for path in sorted((folder / "additional_chat_templates").glob("*.jinja"))}
    if files:
        return {name: _read_template(path) for name, path in files.items()}
    found = _named(settings.get("chat_template"), f"{folder / 'tokenizer_config.json'}: chat_template")
    path = folder / "chat_template.json"
    if not found and path.exists():
        return _named(read_json_object(path).get("chat_template"), f"{path}: chat_template")
    return found


def _named(template: object, source: str) -> dict[str, str]:
    """Return one template, or several in a list of names and templates, by name."""
    if template is None:
        return {}
    if isinstance(template, str):
        return {DEFAULT: template}
    entries = template if isinstance(template, list) else [None]
    pairs = [(entry.get("name"), entry.get("template")) for entry in entries if isinstance(entry, dict)]
    named = {name: text for name, text in pairs if isinstance(name, str) and isinstance(text, str)}
    if len(named) != len(entries):
        raise CheckpointError(f"{source} is {template!r:.80}; expected a text, or a list of names with templates")
    return named


def _read_template(path: Path) -> str:
    content = read_bounded(path, most=_LARGEST_BYTES, kind="a chat template")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{path} is not UTF-8: byte {error.start}") from None

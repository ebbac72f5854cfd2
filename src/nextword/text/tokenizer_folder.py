"""`load_tokenizer_folder`: build a `Tokenizer` from the tokenizer files of a Hugging Face folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nextword.errors import CheckpointError, TokenizerError
from nextword.json_file import read_json_object
from nextword.text.chat_template_files import DEFAULT, read_chat_templates
from nextword.text.class_settings import apply_class
from nextword.text.end_tokens import declared_end_tokens
from nextword.text.sentencepiece_tokenizer import read_sentencepiece
from nextword.text.special_tokens import add_tokens, class_name, read_special_tokens, sentencepiece_class
from nextword.text.tokenizer import Tokenizer
from nextword.text.tokenizer_json import read_tokenizer_json
from nextword.text.vocabulary_files import VOCABULARY, read_vocabulary_files, surround

MODEL = "tokenizer.model"


def load_tokenizer_folder(folder: Path) -> Tokenizer:
    """Read tokenizer.json and what the files beside it add: special tokens, their names, chat templates, end tokens.

    Without it, vocab.json and merges.txt of the classes of GPT-2 and Qwen 2 are read, or tokenizer.model.

    Raises CheckpointError naming the file that is missing or damaged.
    """
    path = folder / "tokenizer.json"
    settings: Mapping[str, Any] = _read(folder / "tokenizer_config.json")
    try:
        if path.exists():
            backend = read_tokenizer_json(path)
            apply_class(backend, class_name(folder, settings), settings)
        elif (folder / MODEL).exists() and not (folder / VOCABULARY).exists():
            backend, settings = read_sentencepiece(folder / MODEL, sentencepiece_class(folder, settings), settings)
        else:
            backend = read_vocabulary_files(folder, class_name(folder, settings), settings)
        found = read_special_tokens(folder, settings, backend)
        add_tokens(backend, found)
        if not path.exists():
            surround(backend, settings, found.variables)
        ids = {role: backend.token_to_id(text) for role, text in found.variables.items()}
        templates = read_chat_templates(folder, settings)
        return Tokenizer(
            backend,
            bos_token_id=ids.get("bos_token"),
            eos_token_ids=declared_end_tokens(folder, ids.get("eos_token"), vocab_size=backend.get_vocab_size()),
            chat_template=templates.pop(DEFAULT, None),
            named_templates=templates,
            special_variables=found.variables,
        )
    except TokenizerError as error:
        raise CheckpointError(f"{folder}: {error}") from None


def _read(path: Path) -> dict[str, Any]:
    """Read the object in a settings file; {} if there is no such file."""
    return read_json_object(path) if path.exists() else {}

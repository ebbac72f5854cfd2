"""Tokenizers of GGUF files saved in a folder: read back as the same, or refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tokenizers import pre_tokenizers

from nextword.checkpoints.gguf.metadata import GGUFMetadata
from nextword.checkpoints.gguf.tokenizer import build_gguf_tokenizer
from nextword.checkpoints.open_directory import open_model_directory
from nextword.checkpoints.save_directory import require_savable, save_model_directory
from nextword.errors import CheckpointError
from nextword.text.tokenizer import Tokenizer
from tests.checkpoints.tiny_folder import write_folder

LETTERS = sorted(pre_tokenizers.ByteLevel.alphabet())
NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5
TEMPLATE = "{% for message in messages %}<s>{{ message.content }}<end>{% endfor %}"


def from_gguf(*others: tuple[str, int], **settings: object) -> Tokenizer:
    """Byte-level BPE with "he" and these tokens, the last of which ends texts."""
    tokens = [*((letter, NORMAL) for letter in LETTERS), ("he", NORMAL), ("<s>", CONTROL), *others, ("<end>", CONTROL)]
    names = [token for token, _ in tokens]
    metadata: dict[str, Any] = {
        "model": "gpt2",
        "pre": "gpt-2",
        "merges": ["h e"],
        "tokens": names,
        "token_type": [kind for _, kind in tokens],
        "bos_token_id": names.index("<s>"),
        "eos_token_id": names.index("<end>"),
        **settings,
    }
    content = {f"tokenizer.ggml.{key}": value for key, value in metadata.items() if key != "chat_template"}
    content["tokenizer.chat_template"] = metadata.get("chat_template", TEMPLATE)
    return build_gguf_tokenizer(GGUFMetadata(content, Path("a.gguf")))


def saved(tokenizer: Tokenizer, tmp_path: Path) -> Tokenizer:
    model = open_model_directory(write_folder(tmp_path / "tiny"))
    save_model_directory(tmp_path / "out", config=model.config, tensors=model.tensors, tokenizer=tokenizer)
    return open_model_directory(tmp_path / "out").tokenizer


@pytest.mark.parametrize(
    "tokenizer",
    [
        from_gguf(),
        from_gguf(("<tool>", USER_DEFINED), ("caf\u00e9", USER_DEFINED)),
        from_gguf(("<unused0>", UNUSED), ("<unused1>", UNUSED)),
        from_gguf(add_bos_token=True, add_eos_token=True),
        from_gguf(add_bos_token=True, chat_template="{{ messages[0].content }}"),
        from_gguf(padding_token_id=LETTERS.index("!"), unknown_token_id=LETTERS.index("?")),
    ],
)
def test_what_a_folder_can_say_comes_back(tokenizer: Tokenizer, tmp_path: Path) -> None:
    require_savable(tokenizer)
    read_back = saved(tokenizer, tmp_path)
    for text in ("he said: <tool>caf\u00e9! <s>?", "<unused0>!", ""):
        token_ids = tokenizer.encode(text, parse_special=True)
        assert read_back.encode(text, parse_special=True) == token_ids
        assert read_back.decode(token_ids) == tokenizer.decode(token_ids)
    chat = [{"role": "user", "content": "he <s>"}]
    assert read_back.encode_chat(chat) == tokenizer.encode_chat(chat)
    assert read_back.turn_end_ids() == tokenizer.turn_end_ids()


@pytest.mark.parametrize(
    ("tokenizer", "problem"),
    [
        (from_gguf(("he", NORMAL)), r"tokens by ids: 256: 'he' would be read as None"),
        (from_gguf(("x", CONTROL), ("x", NORMAL)), r"tokens by ids: .*'x' would be read as None"),
        (from_gguf(bos_token_id=LETTERS.index("!")), rf"BOS token: {LETTERS.index('!')} would be read as None"),
    ],
)
def test_what_a_folder_cannot_say_is_refused_by_name(tokenizer: Tokenizer, problem: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=f"cannot express the tokenizer's {problem}"):
        saved(tokenizer, tmp_path)
    with pytest.raises(CheckpointError, match=f"cannot express the tokenizer's {problem}"):
        require_savable(tokenizer)
    assert not (tmp_path / "out").exists()

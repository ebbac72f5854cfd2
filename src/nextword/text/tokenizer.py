"""`Tokenizer`: text to token ids and back, special tokens, chats. Built on the `tokenizers` library.

Special tokens that a person wrote into text stay text: only the tokenizer itself and chat templates make control
tokens. It knows no model and no file format but its own folder.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import tokenizers

from nextword.errors import TokenizerError
from nextword.text.chat_template import Message, render_chat_template
from nextword.text.stream_decoder import StreamDecoder

_PRIVATE_USE = range(0xF0000, 0xFFFFE)
"""Characters that stand in for special tokens inside messages while a template is rendered."""


class Tokenizer:
    """Text <-> token ids of one model."""

    def __init__(
        self,
        backend: tokenizers.Tokenizer,
        *,
        bos_token_id: int | None,
        eos_token_ids: tuple[int, ...],
        add_bos: bool,
        chat_template: str | None,
        special_variables: Mapping[str, str],
    ) -> None:
        """`backend` must not add special tokens by itself where `add_bos` asks us to.

        `special_variables` are the names that chat templates use for special tokens, such as bos_token.
        """
        self.bos_token_id = bos_token_id
        self.eos_token_ids = eos_token_ids
        self.add_bos = add_bos
        self.chat_template = chat_template
        self.special_variables = dict(special_variables)
        self.vocab_size: int = backend.get_vocab_size(with_added_tokens=True)
        self._backend = backend
        self._lock = threading.Lock()
        added = backend.get_added_tokens_decoder()
        self._special_tokens = {token.content: token_id for token_id, token in added.items() if token.special}

    def encode(self, text: str, *, add_special_tokens: bool = True, parse_special: bool = False) -> list[int]:
        """Token ids of a text, begun with BOS where the model wants it.

        `parse_special`: read special tokens written in the text as control tokens; without it they stay text.
        """
        token_ids = self._encode_text(text, parse_special=parse_special)
        wants_bos = add_special_tokens and self.add_bos and self.bos_token_id is not None
        if wants_bos and token_ids[:1] != [self.bos_token_id]:
            assert self.bos_token_id is not None
            return [self.bos_token_id, *token_ids]
        return token_ids

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        """The text of token ids; bytes that are no character become U+FFFD. Raises TokenizerError for unknown ids."""
        for token_id in token_ids:
            if not 0 <= token_id < self.vocab_size:
                raise TokenizerError(f"token id {token_id}: this vocabulary ends at {self.vocab_size - 1}")
        return self._backend.decode(list(token_ids), skip_special_tokens=skip_special_tokens)

    def token_text(self, token_id: int) -> str:
        """One token for tables: its text, or the vocabulary's own spelling where it is only a part of a character."""
        text = self.decode([token_id], skip_special_tokens=False)
        return text if text and "\N{REPLACEMENT CHARACTER}" not in text else str(self._backend.id_to_token(token_id))

    def stream_decoder(self) -> StreamDecoder:
        """A decoder for tokens that arrive one at a time; its pieces add up to `decode` of all."""
        return StreamDecoder(self.decode, skipped=frozenset(self._special_tokens.values()))

    def render_chat(self, messages: Sequence[Message], *, add_generation_prompt: bool = True) -> str:
        """The messages ({"role", "content"}) as the model's chat template writes them.

        Raises TokenizerError if there is no template, or it refuses the messages.
        """
        if self.chat_template is None:
            raise TokenizerError("this model has no chat template: it continues text; use generate instead of chat")
        return render_chat_template(
            self.chat_template,
            messages,
            add_generation_prompt=add_generation_prompt,
            variables=self.special_variables,
        )

    def encode_chat(self, messages: Sequence[Message], *, add_generation_prompt: bool = True) -> list[int]:
        """Token ids of a conversation; no second BOS; special tokens inside a message stay text.

        Raises TokenizerError as `render_chat`.
        """
        marks = self._marks(messages)
        marked = [{key: _replaced(value, marks) for key, value in message.items()} for message in messages]
        rendered = self.render_chat(marked, add_generation_prompt=add_generation_prompt)
        if not marks:
            return self._encode_text(rendered, parse_special=True)
        texts = {mark: token for token, mark in marks.items()}
        token_ids: list[int] = []
        for part in _split_at(rendered, tuple(self._special_tokens)):
            if part in self._special_tokens:
                token_ids.append(self._special_tokens[part])
                continue
            token_ids.extend(self._encode_text(_replaced(part, texts), parse_special=False))
        return token_ids

    def save(self, folder: Path) -> None:
        """Write tokenizer.json and tokenizer_config.json as transformers' AutoTokenizer reads them."""
        self._backend.save(str(folder / "tokenizer.json"))
        settings: dict[str, object] = {"tokenizer_class": "PreTrainedTokenizerFast", **self.special_variables}
        settings["add_bos_token"] = self.add_bos
        if self.chat_template is not None:
            settings["chat_template"] = self.chat_template
        (folder / "tokenizer_config.json").write_text(json.dumps(settings, ensure_ascii=False, indent=2) + "\n")

    def _encode_text(self, text: str, *, parse_special: bool) -> list[int]:
        with self._lock:  # the library keeps this choice as a property of the whole tokenizer
            self._backend.encode_special_tokens = not parse_special
            return list(self._backend.encode(text, add_special_tokens=False).ids)

    def _marks(self, messages: Sequence[Message]) -> dict[str, str]:
        """Special tokens that the messages hold, longest first -> a character that no message holds."""
        written = "\n".join(value for message in messages for value in message.values())
        found = sorted((token for token in self._special_tokens if token in written), key=len, reverse=True)
        unused = (chr(point) for point in _PRIVATE_USE if chr(point) not in written)
        return dict(zip(found, unused, strict=False))


def _replaced(text: str, replacements: Mapping[str, str]) -> str:
    for old, new in replacements.items():
        text = text.replace(old, new)
    return text


def _split_at(text: str, tokens: Sequence[str]) -> list[str]:
    """The text cut before and after each of the tokens; nothing is lost."""
    parts: list[str] = []
    rest = text
    while rest:
        found = [(position, token) for token in tokens if (position := rest.find(token)) >= 0]
        if not found:
            return [*parts, rest]
        position, token = min(found, key=lambda match: (match[0], -len(match[1])))
        parts.extend(part for part in (rest[:position], token) if part)
        rest = rest[position + len(token) :]
    return parts

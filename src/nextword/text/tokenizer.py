"""`Tokenizer`: encode text as token ids, decode them, encode conversations. Built on the `tokenizers` library.

Special tokens written inside a text stay text: only the tokenizer itself and chat templates make control tokens. It
knows no model and no file format but its own folder.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import functools
import json
from collections.abc import Collection, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import tokenizers

from nextword.atomic_file import write_atomically
from nextword.checks import checked_arguments
from nextword.errors import DataError, RequestError, TokenizerError, os_reason
from nextword.text.chat_marks import MarkedText, Span
from nextword.text.chat_messages import Message
from nextword.text.chat_options import ChatOptions, check_chat_options
from nextword.text.choose_template import choose_template
from nextword.text.encoding_steps import Place
from nextword.text.end_tokens import PROBES, token_behind
from nextword.text.post_processor import tokens_around
from nextword.text.stream_decoder import StreamDecoder
from nextword.text.text_encoder import TextEncoder
from nextword.text.thoughts import KNOWN_MARKS, ThoughtMarks
from nextword.text.token_bytes import TokenBytes, checked_token_id

if TYPE_CHECKING:
    from nextword.text.chat_input import ChatInput


class Tokenizer:
    """Conversion between text and token ids of one model."""

    def __init__(
        self,
        backend: tokenizers.Tokenizer,
        *,
        bos_token_id: int | None,
        eos_token_ids: tuple[int, ...],
        chat_template: str | None,
        special_variables: Mapping[str, str],
        named_templates: Mapping[str, str] | None = None,
        other_tokens: Mapping[int, str] | None = None,
        begins_chats: bool = False,
    ) -> None:
        """Wrap a tokenizer of the `tokenizers` library, whose post-processor says which tokens stand around a text.

        `special_variables`: special tokens by the names that chat templates use, such as bos_token. `named_templates`:
        chat templates for other uses by name, such as tool_use. `other_tokens`: tokens by ids that `backend` does not
        know, since they appear twice in the vocabulary; "" for ids without text. `begins_chats`: what stands before
        a text stands before a conversation, too, if the template does not write it. Raises TokenizerError for a decoder
        or post-processor that does more than those of language models.
        """
        self.bos_token_id = bos_token_id
        self.eos_token_ids = eos_token_ids
        self.prefix_token_ids, self.suffix_token_ids = tokens_around(backend)
        self.chat_template = chat_template
        self.named_templates = dict(named_templates or {})
        self.special_variables = dict(special_variables)
        self._backend = backend
        self._turn_ends: dict[str, int | None] = {}
        """Token that ends an answer, by chat template."""
        self._encoder = TextEncoder(backend)
        self.begins_chats = begins_chats
        self.other_tokens = dict(other_tokens or {})
        self._token_bytes = TokenBytes(backend, other_tokens=self.other_tokens)

    def __repr__(self) -> str:
        return f"Tokenizer({self.vocab_size:,} tokens)"

    @functools.cached_property
    def vocab_size(self) -> int:
        """Largest token id plus one; the embedding of a model can have more rows."""
        return max((*self._backend.get_vocab().values(), *self.other_tokens), default=-1) + 1

    @checked_arguments
    def encode(self, text: str, *, add_special_tokens: bool = True, parse_special: bool = False) -> list[int]:
        """Encode a whole text as token ids, with the tokens that the model was trained with around a text, such as BOS.

        `add_special_tokens`: False leaves these out. `parse_special`: read special tokens written in the text as
        control tokens; without it they stay text. Raises TokenizerError if the text is not Unicode.
        """
        token_ids = self._encoder.token_ids(text, parse_special=parse_special)
        if not add_special_tokens:
            return token_ids
        begun = self._begun(token_ids, parse_special=parse_special)
        suffix = list(self.suffix_token_ids)
        return begun if parse_special and _ends_with(begun, suffix) else [*begun, *suffix]

    @checked_arguments
    def encode_prompt(self, text: str, *, parse_special: bool = False) -> list[int]:
        """Encode a text that is to be continued: as `encode`, but without the tokens that stand after a whole text."""
        token_ids = self._encoder.token_ids(text, parse_special=parse_special)
        return self._begun(token_ids, parse_special=parse_special)

    @checked_arguments
    def encode_continuation(self, text: str) -> list[int]:
        """Encode a text that directly continues another: without BOS and the space that only a beginning gets."""
        return self._encoder.token_ids(text, place=Place.CONTINUATION)

    def is_border(self, text: str, at: int) -> bool:
        """Return True if a text cut at this index, as a beginning and a continuation, has the tokens of the whole."""
        return self._encoder.is_border(text, at)

    @checked_arguments
    def encode_batch(self, texts: Sequence[str], *, add_special_tokens: bool = True) -> list[list[int]]:
        """Encode each text as `encode` does, on all cores."""
        encoded = self._encoder.batch(texts)
        if not add_special_tokens:
            return encoded
        return [[*self.prefix_token_ids, *token_ids, *self.suffix_token_ids] for token_ids in encoded]

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the vocabulary: equal for tokenizers with the same tokens, from any file format."""
        import hashlib  # imports OpenSSL, 3 MB that generation does not need

        vocabulary = sorted((token_id, token) for token, token_id in self._backend.get_vocab().items())
        return hashlib.sha256(json.dumps(vocabulary).encode()).hexdigest()

    @checked_arguments
    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        """Decode token ids as text; bytes that are not UTF-8 become U+FFFD, ids without a token are left out.

        Padded vocabularies have such ids. Raises TokenizerError for a number that is no token id.
        """
        skipped = self._encoder.special_ids if skip_special_tokens else frozenset()
        data = b"".join(
            [self._token_bytes[checked_token_id(token_id)] for token_id in token_ids if token_id not in skipped]
        )
        text = self._token_bytes.decoder()(data, True)
        return text.removeprefix(" ") if self._token_bytes.removes_space else text

    @property
    def special_ids(self) -> frozenset[int]:
        """The control tokens, which have no text unless it is asked for."""
        return frozenset(self._encoder.special_ids)

    def special_token_id(self, text: str) -> int | None:
        """Return the id of a special token; None if the vocabulary has no such special token."""
        token_id = self._backend.token_to_id(text)
        return token_id if token_id in self._encoder.special_ids else None

    def token_text(self, token_id: int) -> str:
        """Return one token's text for display: bytes of an incomplete character as <0xE2>, no token as <unused 7>."""
        if not self.other_tokens.get(token_id, self._backend.id_to_token(checked_token_id(token_id))):
            return f"<unused {token_id}>"
        return self._token_bytes.show(token_id)

    def token_bytes(self, token_id: int, *, begins_text: bool = False) -> bytes:
        """Return the UTF-8 bytes of a token's text; none for a special token.

        `begins_text`: leave out the space that the vocabulary may put before a text.
        """
        if checked_token_id(token_id) in self._encoder.special_ids:
            return b""
        found = self._token_bytes[token_id]
        return found.removeprefix(b" ") if begins_text and self._token_bytes.removes_space else found

    @functools.lru_cache(maxsize=8)  # noqa: B019 -- one tokenizer lives as long as its model
    def tokens_with(self, strings: tuple[str, ...]) -> frozenset[int]:
        """Return the ids of the tokens whose text has one of these strings in it."""
        wanted = [string.encode() for string in strings]
        ids = range(self.vocab_size)
        return frozenset(token_id for token_id in ids if any(part in self.token_bytes(token_id) for part in wanted))

    @checked_arguments
    def stream_decoder(self, *, after: Sequence[int] = (), shown: Collection[int] = ()) -> StreamDecoder:
        """Return a decoder for tokens that arrive one at a time; its pieces add up to `decode` of all.

        `after`: token ids before them. The pieces then continue the text of those: vocabularies of SentencePiece write
        no space at the beginning of a text, and one between words. `shown`: control tokens that are text here.
        """
        skipped = self._encoder.special_ids
        return StreamDecoder(self._token_bytes, skipped=skipped.difference(shown) if shown else skipped, after=after)

    @checked_arguments
    def render_chat(
        self, messages: Sequence[Message], *, add_generation_prompt: bool = True, **options: Unpack[ChatOptions]
    ) -> str:
        """Render messages as text by the model's chat template; a message is a mapping in OpenAI's form.

        `add_generation_prompt`: end with the beginning of the assistant's next message, unless the last one is
        continued. Other keywords: tools, template_variables, chat_template, continue_final_message; see `ChatOptions`.

        Raises RequestError naming a message or value that cannot be shown, TokenizerError if there is no template, if
        it refuses the messages, or if it does not show tools.
        """
        return self._chat(messages, add_generation_prompt, options).render()

    @checked_arguments
    def encode_chat(
        self, messages: Sequence[Message], *, add_generation_prompt: bool = True, **options: Unpack[ChatOptions]
    ) -> list[int]:
        """Encode a conversation as token ids, with one BOS at most; special tokens inside what is given stay text.

        Arguments and errors as those of `render_chat`.
        """
        chat, marked = self._marked(self._chat(messages, add_generation_prompt, options))
        return [token_id for token_id, _ in self._encode_chat(*marked.unwrap(chat.render()))]

    @checked_arguments
    def encode_answers(
        self, messages: Sequence[Message], *, learnt: Sequence[bool] | None = None, **options: Unpack[ChatOptions]
    ) -> list[tuple[list[int], list[bool]]]:
        """Encode a conversation to learn its answers; return one or more examples: token ids, and their loss mask.

        The mask is True for what the assistant writes, as the template shows it, with the token that ends each answer.
        One example has all answers, but for those that the template shows in another way once the conversation goes
        on: each of these ends an example of its own. `learnt` says of each message whether it carries loss if it is the
        assistant's; None: all do. Raises as `render_chat`, and TokenizerError if the template leaves out a part of a
        message, or rewrites answers so that their tokens are unknown.
        """
        from nextword.text.answer_spans import AnswerFinder, answer_tokens

        if learnt is not None and len(learnt) != len(messages):
            raise RequestError(f"learnt has {len(learnt)} values for {len(messages)} messages: give one for each")
        chat, marked = self._marked(self._chat(messages, False, options))
        finder = AnswerFinder(
            chat=chat,
            unwrap=marked.unwrap,
            special_tokens=self._encoder.special_tokens,
            end_token_ids=self.turn_end_ids(options.get("chat_template")),
        )
        examples = []
        for rendering in finder.find([True] * len(messages) if learnt is None else learnt):
            tokens = self._encode_chat(rendering.text, rendering.kept_as_text)
            is_answer = answer_tokens([place for _, place in tokens], rendering.answers)
            examples.append(([token_id for token_id, _ in tokens], is_answer))
        return examples

    def _chat(self, messages: Sequence[Message], add_generation_prompt: bool, options: ChatOptions) -> ChatInput:
        from nextword.text.chat_input import chat_input  # imports a library that generation does not need

        check_chat_options(options)
        if options.get("tool_choice") == "none":
            options = {**options, "tools": None}
        choice, tools = options.get("chat_template"), options.get("tools")
        return chat_input(
            choose_template(self.chat_template, self.named_templates, choice, has_tools=bool(tools)),
            messages,
            special_tokens=self.special_variables,
            add_generation_prompt=add_generation_prompt,
            options=options,
        )

    def _marked(self, chat: ChatInput) -> tuple[ChatInput, MarkedText]:
        """Mark the special tokens written in messages, tools and variables: they stay text."""
        marked = MarkedText([chat.messages, chat.given], self._special_texts)
        messages, given = marked.values
        return dataclasses.replace(chat, messages=messages, given=given), marked

    @checked_arguments
    def turn_end_ids(self, chat_template: str | PathLike[str] | None = None) -> tuple[int, ...]:
        """Return the tokens that end an answer in a chat: `eos_token_ids`, and the one that the template writes there.

        `chat_template` as in `ChatOptions`.
        """
        if chat_template is None and self.chat_template is None:
            return self.eos_token_ids
        template = choose_template(self.chat_template, self.named_templates, chat_template, has_tools=False)
        if template not in self._turn_ends:
            self._turn_ends[template] = self._find_turn_end(template)
        found = self._turn_ends[template]
        return self.eos_token_ids if found is None else tuple(dict.fromkeys((*self.eos_token_ids, found)))

    def _find_turn_end(self, template: str) -> int | None:
        for messages in PROBES:
            with contextlib.suppress(TokenizerError):  # of a template that refuses the probe
                text = self.render_chat(messages, add_generation_prompt=False, chat_template=template, tools=[])
                found = token_behind(text, self._encoder.rendered(text, ()), self._encoder.added)
                if found is not None:
                    return found
        return None

    @checked_arguments
    def thought_marks(self, **options: Unpack[ChatOptions]) -> ThoughtMarks:
        """Return how the thoughts of an answer are found: by what the chat template writes around them, or a list.

        Keywords as in `ChatOptions`.
        """
        choice, given = options.get("chat_template"), options.get("template_variables")
        found = KNOWN_MARKS
        if choice is not None or self.chat_template is not None:
            from nextword.text.thought_marks import (
                find_thought_marks,  # imports a library that generation does not need
            )

            has_tools = bool(options.get("tools"))
            template = choose_template(self.chat_template, self.named_templates, choice, has_tools=has_tools)
            found = find_thought_marks(template, tuple(self.special_variables.items()), json.dumps(given or {}))
        written = [mark for mark in found if mark not in KNOWN_MARKS or self.find_special_tokens(mark.begin)]
        tokens = [self.find_special_tokens(mark.begin + mark.end + mark.after) for mark in written]
        token_ids = frozenset(token_id for one in tokens for token_id, _ in one)
        return ThoughtMarks(found, token_ids, bool(options.get("continue_final_message")))

    def ending_at(self, token_ids: Sequence[int]) -> Tokenizer:
        """Return this tokenizer with other end tokens."""
        other = copy.copy(self)
        other.eos_token_ids = tuple(token_ids)
        return other

    def definition(self) -> dict[str, Any]:
        """Return the content of tokenizer.json: vocabulary, merges, pre-tokenizer, decoder."""
        content: dict[str, Any] = json.loads(self._backend.to_str())
        return content

    @checked_arguments
    def save(self, folder: Path | str) -> None:
        """Write tokenizer.json and tokenizer_config.json, which transformers' AutoTokenizer reads.

        Raises DataError if `folder` is no folder or cannot be written.
        """
        folder = Path(folder)
        try:
            self.write_files(folder)
        except OSError as error:
            raise DataError(f"{folder}: cannot be written: {os_reason(error)}") from None

    def write_files(self, folder: Path) -> None:
        """Write the files of `save`. Raises OSError."""
        with write_atomically(folder / "tokenizer.json") as out:
            out.write(self._backend.to_str(pretty=True).encode())
        # Readers make every named token an added one, which texts are cut at: a name must not change the tokens.
        added = {token.content for token in self._encoder.added.values()}
        named = {role: token for role, token in self.special_variables.items() if token in added}
        settings: dict[str, object] = {"tokenizer_class": "PreTrainedTokenizerFast", **named}
        templates = {"default": self.chat_template} if self.chat_template is not None else {}
        templates = {name: self.written_template(text) for name, text in {**templates, **self.named_templates}.items()}
        if self.named_templates:
            settings["chat_template"] = [{"name": name, "template": text} for name, text in templates.items()]
        elif templates:
            settings["chat_template"] = templates["default"]
        with write_atomically(folder / "tokenizer_config.json") as out:
            out.write((json.dumps(settings, ensure_ascii=False, indent=2) + "\n").encode())

    def written_template(self, template: str) -> str:
        """Return a chat template as it is saved: with the tokens that begin chats, if it does not write them itself."""
        prefix = "".join(self._backend.id_to_token(token_id) or "" for token_id in self.prefix_token_ids)
        if not (self.begins_chats and prefix):
            return template
        from nextword.text.begun_template import begun_template  # jinja2 is loaded for chats alone

        return begun_template(template, prefix, self.special_variables)

    def _begun(self, token_ids: list[int], *, parse_special: bool) -> list[int]:
        """Put the prefix before token ids, unless it is written in the text itself."""
        prefix = list(self.prefix_token_ids)
        return token_ids if parse_special and token_ids[: len(prefix)] == prefix else [*prefix, *token_ids]

    @checked_arguments
    def find_special_tokens(self, text: str) -> list[tuple[int, Span]]:
        """Return the special tokens written in a text with their spans, without the spaces that some of them absorb."""
        return [(token_id, _without_spaces(text, span)) for token_id, span in self._encoder.special_tokens(text)]

    def _special_texts(self, text: str) -> list[Span]:
        return [span for _, span in self.find_special_tokens(text)]

    def _encode_chat(self, text: str, kept_as_text: Sequence[Span]) -> list[tuple[int, Span]]:
        """Encode a rendered conversation; return tokens with spans, empty ones for what is put before the text."""
        tokens = self._encoder.rendered(text, kept_as_text)
        prefix = list(self.prefix_token_ids)
        if not self.begins_chats or [token_id for token_id, _ in tokens[: len(prefix)]] == prefix:
            return tokens
        return [*((token_id, (0, 0)) for token_id in prefix), *tokens]


def _ends_with(token_ids: list[int], suffix: list[int]) -> bool:
    return token_ids[len(token_ids) - len(suffix) :] == suffix


def _without_spaces(text: str, span: Span) -> Span:
    start, stop = span
    inner = text[start:stop].strip()
    if not inner:
        return span
    start += text[start:stop].index(inner)
    return start, start + len(inner)

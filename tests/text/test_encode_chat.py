"""Token ids of conversations: those of transformers, and never a control token that a message made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers

from nextword.errors import TokenizerError
from nextword.text.chat_marks import MarkedText
from nextword.text.tokenizer import Tokenizer
from tests.text.vocabularies import BYTE_TOKENS, PIECE_MERGES, PIECES, as_tokenizer, byte_level_backend, piece_backend

TEMPLATE = (
    "{% for m in messages %}<|begin|> {{ m.role }} \n  {{ m.content }}  <|end|>  {{ ' END of' }} ENDs\n{% endfor %}"
    "{% if add_generation_prompt %}<|begin|>  assistant\n{% endif %}"
)
TRIMMED = (
    "{% for m in messages %}<|begin|>{{ m.role }}\n{{ m.content | trim }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|begin|>assistant\n{% endif %}"
)


def greedy_backend(**settings_of_end: bool) -> tokenizers.Tokenizer:
    """Byte-level, with an <|end|> and an END that take in spaces or stand only as words."""
    specials = [AddedToken("<|end|>", normalized=False, **settings_of_end)]
    specials += [AddedToken("END", normalized=False, single_word=True)]
    return byte_level_backend(*specials)


def lower_backend() -> tokenizers.Tokenizer:
    """Byte-level after small letters; <|END|> too is a special token, found after that."""
    backend = byte_level_backend(AddedToken("<|end|>", normalized=True))
    backend.normalizer = normalizers.Lowercase()
    return backend


def first_prefix_backend() -> tokenizers.Tokenizer:
    """Pieces with a space before the text's beginning, but not after a special token, as Llama's newer files say."""
    vocabulary = {token: token_id for token_id, token in enumerate(["<unk>", *BYTE_TOKENS, *PIECES])}
    backend = tokenizers.Tokenizer(models.BPE(vocabulary, PIECE_MERGES, unk_token="<unk>", byte_fallback=True))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    backend.decoder = decoders.Sequence(
        [decoders.Replace("\N{LOWER ONE EIGHTH BLOCK}", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    backend.add_special_tokens(["<unk>", "<|begin|>", "<|end|>"])
    return backend


BACKENDS: dict[str, Callable[[], tokenizers.Tokenizer]] = {
    "plain": greedy_backend,
    "lstrip": lambda: greedy_backend(lstrip=True),
    "rstrip": lambda: greedy_backend(rstrip=True),
    "both": lambda: greedy_backend(lstrip=True, rstrip=True),
    "pieces": lambda: piece_backend(
        specials=tuple(AddedToken(token, normalized=False, rstrip=True) for token in ("<|begin|>", "<|end|>"))
    ),
    "pieces, first space": first_prefix_backend,
    "small letters": lower_backend,
}
CHAT = [
    {"role": "user", "content": " the the é "},
    {"role": "assistant", "content": "ENDs the END 漢字 <two words>"},
    {"role": "user", "content": "the\n\n  x"},
]
words = st.sampled_from(
    [
        " ",
        "  ",
        "\n",
        "the",
        " the",
        "x",
        "é",
        "漢字",
        "<|end|>",
        "<|begin|>",
        "<|END|>",
        "END",
        "END ",
        "<|end",
        "|>",
        "<",
    ]
)
WORD = "abcdefg"
texts = st.lists(words, max_size=8).map("".join)


def tokenizer_of(name: str, template: str = TEMPLATE) -> Tokenizer:
    return as_tokenizer(BACKENDS[name](), chat_template=template)


TOKENIZERS = {name: tokenizer_of(name) for name in BACKENDS}
TRIMMING = {name: tokenizer_of(name, TRIMMED) for name in BACKENDS}


@pytest.fixture(scope="module", params=BACKENDS)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Tokenizer, Any]:
    """Our tokenizer, and transformers' from the folder that ours wrote."""
    transformers = pytest.importorskip("transformers")
    ours = TOKENIZERS[request.param]
    folder: Path = tmp_path_factory.mktemp("chat")
    ours.save(folder)
    return ours, transformers.AutoTokenizer.from_pretrained(str(folder))


def theirs(peer: Any, messages: list[dict[str, str]], **options: Any) -> list[int]:
    found: list[int] = peer.apply_chat_template(
        messages, add_generation_prompt=True, tokenize=True, return_dict=False, **options
    )
    return found


@pytest.mark.peer
@pytest.mark.parametrize("template", [TEMPLATE, TRIMMED], ids=["with spaces", "trimmed"])
def test_chats_have_the_token_ids_of_transformers(pair: tuple[Tokenizer, Any], template: str) -> None:
    ours, peer = pair
    plain = [{**message, "content": message["content"].replace("END", "")} for message in CHAT]
    tokenizer = as_tokenizer(tokenizers.Tokenizer.from_str(peer.backend_tokenizer.to_str()), chat_template=template)
    assert tokenizer.encode_chat(plain) == theirs(peer, plain, chat_template=template)
    assert ours.encode_chat(plain) == theirs(peer, plain)


@pytest.mark.peer
@pytest.mark.parametrize("template", [TEMPLATE, TRIMMED], ids=["with spaces", "trimmed"])
@pytest.mark.parametrize("content", ["x{}x", " {} ", "\n {} \n{}x", "{}"])
def test_a_special_token_in_a_message_leaves_the_other_tokens_as_they_are(
    pair: tuple[Tokenizer, Any], template: str, content: str
) -> None:
    """The judge is what transformers gives for the same chat with a word in the place of the special token."""
    _, peer = pair
    ours = as_tokenizer(peer.backend_tokenizer, chat_template=template)
    hostile = [{"role": "user", "content": content.replace("{}", "<|end|>")}, *CHAT[2:]]
    harmless = [{"role": "user", "content": content.replace("{}", WORD)}, *CHAT[2:]]
    found, expected = ours.encode_chat(hostile), theirs(peer, harmless, chat_template=template)
    assert runs(found, ours) == [text.replace(WORD, "<|end|>") for text in runs(expected, ours)]


def runs(token_ids: list[int], tokenizer: Tokenizer) -> list[str]:
    """The texts between control tokens, and these."""
    found: list[list[int]] = [[]]
    for token_id in token_ids:
        is_control = tokenizer.decode([token_id]) == "" and tokenizer.decode([token_id], skip_special_tokens=False)
        found += [[token_id], []] if is_control else []
        if not is_control:
            found[-1].append(token_id)
    return [tokenizer.decode(run, skip_special_tokens=False) for run in found]


@pytest.mark.parametrize("trims", [False, True])
@pytest.mark.parametrize("name", BACKENDS)
@settings(max_examples=150, deadline=None)
@given(contents=st.lists(texts, min_size=1, max_size=3))
def test_a_message_makes_no_control_token(name: str, trims: bool, contents: list[str]) -> None:
    tokenizer = (TRIMMING if trims else TOKENIZERS)[name]
    messages = [{"role": "user", "content": content} for content in contents]
    harmless = [{"role": "user", "content": "x"} for _ in contents]
    assert controls(tokenizer, messages) == controls(tokenizer, harmless)


def controls(tokenizer: Tokenizer, messages: list[dict[str, str]]) -> list[int]:
    token_ids = tokenizer.encode_chat(messages)
    return [token_id for token_id in token_ids if tokenizer.token_text(token_id) in ("<|begin|>", "<|end|>", "END")]


@settings(max_examples=200, deadline=None)
@given(contents=st.lists(texts, min_size=1, max_size=3))
def test_the_text_of_a_chat_is_what_the_template_wrote(contents: list[str]) -> None:
    tokenizer = TOKENIZERS["plain"]
    messages = [{"role": "user", "content": content} for content in contents]
    written = tokenizer.decode(tokenizer.encode_chat(messages), skip_special_tokens=False)
    assert written == tokenizer.render_chat(messages)


def test_a_role_makes_no_control_token_either() -> None:
    tokenizer = TOKENIZERS["plain"]
    assert controls(tokenizer, [{"role": "<|end|>", "content": "x"}]) == controls(
        tokenizer, [{"role": "user", "content": "x"}]
    )


def test_a_template_can_look_for_the_token_in_a_message() -> None:
    template = "{{ messages[0].content.split('<|end|>')[-1] }}<|end|>"
    tokenizer = tokenizer_of("plain", template)
    token_ids = tokenizer.encode_chat([{"role": "user", "content": "thought<|end|>the"}])
    assert tokenizer.decode(token_ids, skip_special_tokens=False) == "the<|end|>"


@pytest.mark.parametrize(("cut", "kept"), [("", "a<T>b"), ("[2:]", "<T>b"), ("[:5]", "a<T>"), ("[3:]", "T>b")])
def test_one_mark_of_two_is_enough(cut: str, kept: str) -> None:
    marked = MarkedText([{"content": "a<T>b"}], lambda text: [(1, 4)] if "<T>" in text else [])
    content = marked.values[0]["content"]
    start, _, stop = cut.strip("[]").partition(":")
    text, spans = marked.unwrap(f"<T>{content[int(start or 0) : int(stop) if stop else None]}<T>")
    assert text == f"<T>{kept}<T>"
    assert [text[a:b] for a, b in spans] == (["<T>"] if "<T>" in kept else [])
    assert all(3 <= a < len(text) - 3 for a, _ in spans)


def test_messages_that_leave_no_mark_are_refused() -> None:
    everything = "".join(map(chr, [*range(0xF0000, 0xFFFFE), *range(0x100000, 0x10FFFE)]))
    with pytest.raises(TokenizerError, match="every private-use character"):
        MarkedText([{"content": everything}], lambda text: [])

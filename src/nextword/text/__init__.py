"""Conversion between text and token ids: tokenizers, chat templates, and decoding a token at a time."""

from nextword.text.tokenizer import Tokenizer

__all__ = ["Tokenizer"]

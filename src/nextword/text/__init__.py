"""Conversion between text and token ids: tokenizers, chat templates, and decoding a token at a time."""

from nextword.text.tokenizer import Tokenizer
from nextword.text.tokenizer_folder import load_tokenizer_folder

__all__ = ["Tokenizer", "load_tokenizer_folder"]

"""Conversion between text and token ids: tokenizers, chat templates, and decoding a token at a time."""

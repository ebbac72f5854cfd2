"""Decoder-only transformers: configuration, weights by name, published families, and the PyTorch module."""

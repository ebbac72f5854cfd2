"""GGUF files, read and written: metadata, tensors and vocabulary."""

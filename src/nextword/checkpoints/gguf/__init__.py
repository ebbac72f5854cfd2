"""Reading and writing of GGUF files: metadata, tensors and vocabulary."""

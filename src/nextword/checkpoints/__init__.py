"""Model directories on disk, opened and saved: Hugging Face folders and GGUF files."""

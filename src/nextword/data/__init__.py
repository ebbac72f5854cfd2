"""Training data, from files of text to batches of token ids: reading, shards, packing, conversations with loss masks.

This room knows no model."""

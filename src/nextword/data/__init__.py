"""From files of text to batches of token ids: reading, preparing, packing, supervised examples. It knows no model."""

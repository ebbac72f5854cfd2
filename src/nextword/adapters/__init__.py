"""Adapters: parameter-efficient fine-tuning as a small change made to a built model. See `spec` and `attach`."""

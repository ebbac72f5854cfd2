"""Adapters: parameter-efficient fine-tuning (PEFT) as a small change to a built model. See `spec` and `attach`."""

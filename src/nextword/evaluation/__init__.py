"""Measuring a model: how well it predicts a text that it has not seen. Knows the engine's parts, no command."""

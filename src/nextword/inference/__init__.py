"""Run a model: token ids in, sampled token ids and scores out. Backends, sequences, scheduler and engine."""

"""Token ids in, token ids out: backends, sequences, the scheduler and the engine that runs them."""

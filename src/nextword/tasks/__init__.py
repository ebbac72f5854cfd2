"""Uses of a language model that are cast as word prediction."""

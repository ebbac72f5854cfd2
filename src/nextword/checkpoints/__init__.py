"""Models on disk: opening and saving model directories, in every format we know."""

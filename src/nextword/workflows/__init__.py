"""What joins tasks, evaluation and training: whole runs, called with values and callbacks. None prints."""

"""Whole runs that join tasks, evaluation and training: functions of values and callbacks. None prints."""

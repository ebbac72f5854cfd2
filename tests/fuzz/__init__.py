"""Fuzzers: mutated files, templates, command lines and calls end with a result or with one line of error.

CI runs a fixed set of examples (`test_fuzz.py`, half a minute); `python -m tests.fuzz --minutes 10` looks for new ones.
Each input is tried in a child process with bounded memory and a deadline: see `children.py`.
"""

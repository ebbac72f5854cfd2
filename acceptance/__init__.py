"""Other projects' tests of servers, run against `nextword serve`: `python -m acceptance SUITE`.

Nothing of theirs is kept here. A suite is an archive at a pinned version, a module that adapts its fixtures, and a file
of `exclusions/` with the tests that are left out, under the reason why.
"""

"""Programs that are checked by mypy and pyright, and never run.

What must be inferred is asserted with `assert_type`. What must be refused carries the comments that
allow it to both checkers; both are told to complain about a comment that allows nothing, so that a
mistake which is no longer found fails the check.
"""

"""The tests of exeunt."""

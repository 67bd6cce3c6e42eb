"""A bank whose money survives the crashes of its accounts."""

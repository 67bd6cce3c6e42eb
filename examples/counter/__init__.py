"""A counter: the smallest supervised server."""

"""A crawler whose workers crash at every trouble, and are back after a while."""

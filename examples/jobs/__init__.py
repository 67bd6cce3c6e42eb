"""Jobs, so many at a time and so many a second, and those that fail again."""

"""A live page of sensors that crash and vanish."""

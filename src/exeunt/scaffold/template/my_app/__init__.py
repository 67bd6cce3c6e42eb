"""Visitors, supervised."""

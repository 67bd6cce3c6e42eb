"""Recorded conversations with a Phoenix server, held again with the contract server."""

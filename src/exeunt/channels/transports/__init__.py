"""The ways a client can be connected: one small contract, and a module for each way."""

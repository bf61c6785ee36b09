"""Cordons: whether a ring is sealed, its leaks, and sealing plans."""

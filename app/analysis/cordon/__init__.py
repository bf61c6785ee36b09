"""Cordons: whether a ring is closed, leaks and sealing plans."""

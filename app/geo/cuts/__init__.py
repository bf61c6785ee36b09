"""Cordons as minimum cuts of a road graph."""

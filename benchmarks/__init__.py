"""Measurements against what a user would pick instead, as ratios from one run."""

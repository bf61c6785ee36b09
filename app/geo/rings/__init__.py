"""Rings: membership, partition of roads, validity."""

"""Exports of a collection as a file."""

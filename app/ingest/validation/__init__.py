"""Validation of rows: everything that is wrong with each row."""

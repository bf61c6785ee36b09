"""Columns: which column of a file feeds which field."""

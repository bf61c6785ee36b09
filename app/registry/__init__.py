"""All SQL: one question per function."""

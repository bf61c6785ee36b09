"""All SQL about imports."""

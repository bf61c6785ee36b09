"""All SQL about records."""

"""All SQL of the OGC API."""

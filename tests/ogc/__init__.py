"""The GIS interface over HTTP, and CQL2 against the published predicates."""

"""Use cases of the GIS interface."""

"""The GIS interface: what OGC API clients ask, answered from the same records and the same rights."""

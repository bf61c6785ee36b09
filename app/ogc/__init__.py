"""The OGC API: collections, CQL2 filters, features, tiles, QGIS project."""

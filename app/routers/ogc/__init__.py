"""Routes of the GIS interface under ``/ogc``: OGC API Features and Tiles for every collection."""

from app.routers.ogc import features, metadata, tiles

ROUTERS = (features.router, tiles.router, metadata.router)

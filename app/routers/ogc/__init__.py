"""Routes of the GIS interface under ``/ogc``: OGC API Features and Tiles for every collection."""

from app.routers.lean import LeanRoute
from app.routers.ogc import described, features, tiles, writes

ROUTES: list[LeanRoute] = [
    *features.ROUTES,
    *tiles.ROUTES,
    *described.ROUTES,
    *writes.ROUTES,
]
"""The hot ones first: routes are searched in order."""

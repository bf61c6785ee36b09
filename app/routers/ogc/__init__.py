"""Routes of the GIS interface under ``/ogc``: OGC API Features and Tiles for every collection."""

from app.http.asgi_routes import LeanRoute
from app.routers.ogc import features, metadata, tiles

ROUTES: list[LeanRoute] = [
    *features.ROUTES,
    *tiles.ROUTES,
    *metadata.ROUTES,
    *features.WRITE_ROUTES,
]
"""The hot ones first: routes are searched in order."""

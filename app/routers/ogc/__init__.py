"""Routes of the GIS interface under ``/ogc``: OGC API Features for every collection."""

from starlette.routing import BaseRoute

from app.routers.ogc import described, features, writes

ROUTES: list[BaseRoute] = [*features.ROUTES, *described.ROUTES, *writes.ROUTES]
"""The hot ones first: routes are searched in order."""

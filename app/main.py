"""Creates the application: routers, error handlers, middleware, and the services that live as long as the process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRouter
from fastapi_offline import FastAPIOffline
from starlette.datastructures import State

from app import __version__
from app.access.keys import Authenticator, load_service_secret
from app.access.roles import build_anonymous_principal
from app.analysis.service import AnalysisService
from app.changes.service import ChangeStreams
from app.db import schema
from app.db.engine import Database
from app.errors import Unavailable
from app.exports.service import ExportService
from app.http import openapi, problems
from app.http.middleware import RequestMiddleware
from app.http.routing import Route, RouteTable
from app.imports.jobs import ImportService
from app.logs import configure_logging
from app.ogc.features import FeatureService
from app.ogc.tiles import TileService
from app.routers import (
    area,
    changes,
    cordons,
    coverage,
    crossings,
    exports,
    health,
    imports,
    keys,
    ogc,
    planning,
    records,
    rings,
    states,
)
from app.settings import Settings

DESCRIPTION = (
    "Registry of video checkpoint coverage: cameras, face and vehicle checkpoints, three control "
    "rings, control points, and the gaps between them. It holds equipment and places, never people."
)
_MODULES = (rings, states, changes, imports, coverage, crossings, cordons, area, planning, exports, keys, health)
ROUTERS: tuple[APIRouter, ...] = (*records.ROUTERS, *(module.router for module in _MODULES), *ogc.ROUTERS)


class DatabaseNotSet(Exception):
    """The application needs the URL of its database."""


def create_app(settings: Settings | None = None) -> FastAPI:
    """Return the application for these settings (default: those of the environment)."""
    settings = settings or Settings()
    configure_logging(settings.log_format, settings.log_level)
    app = FastAPIOffline(  # its pages load nothing from the internet
        title="Checkpoint coverage registry",
        version=__version__,
        description=DESCRIPTION,
        lifespan=_run_services,
        redirect_slashes=False,
        docs_url="/docs" if settings.docs else None,
        redoc_url=None,
        static_url="/docs/assets",
    )
    _create_services(app.state, settings)
    problems.install_handlers(app)
    app.add_middleware(
        RequestMiddleware,
        max_body_bytes=settings.max_body_bytes,
        max_bytes_by_path={imports.PATH: settings.import_max_bytes},
    )
    routes = [route for router in ROUTERS for route in router.routes if isinstance(route, Route)]
    app.router.routes.insert(0, RouteTable(routes))
    app.openapi = lambda: openapi.build_openapi(app)  # type: ignore[method-assign]  # FastAPI's documented way
    return app


def _create_services(state: State, settings: Settings) -> None:
    """Create the services of the process; raise DatabaseNotSet without the URL of a database."""
    if settings.database_url is None:
        msg = "REGISTRY_DATABASE_URL is not set. Set it, or run `coverage-registry serve` with a local database."
        raise DatabaseNotSet(msg)
    database = Database(
        settings.database_url.get_secret_value(),
        pool_size=settings.pool_size,
        statement_timeout_s=settings.statement_timeout_s,
    )
    state.settings, state.database = settings, database
    state.secret = load_service_secret(
        settings.secret.get_secret_value() if settings.secret else None, settings.data_dir
    )
    state.authenticator = Authenticator(database, state.secret, build_anonymous_principal(settings.anonymous_role))
    state.analysis = AnalysisService(database)
    state.streams = ChangeStreams(database)
    state.exports = ExportService(database, state.analysis)
    state.features = FeatureService(database, state.analysis)
    state.tiles = TileService(database, state.analysis)
    state.imports = ImportService(
        database,
        settings.import_dir,
        keep_days=settings.import_keep_days,
        max_vertices=settings.max_ring_vertices,
    )


@asynccontextmanager
async def _run_services(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    """Start and stop the services; refuse another schema, but start while the database is not reachable."""
    with suppress(Unavailable):
        await schema.require_head(app.state.database)
        await app.state.imports.start()
    yield {}
    await app.state.analysis.close()
    await app.state.imports.stop()
    await app.state.database.close()

"""Puts the service together: routers, failures, middleware, and what lives as long as the process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from app import __version__
from app.access.keys import Gate, service_secret
from app.access.roles import anonymous
from app.analysis.service import Answers
from app.changes.service import Streams
from app.db import schema
from app.db.engine import Database
from app.errors import Unavailable
from app.exports.service import Exports
from app.http import openapi, problems
from app.http.asgi_routes import Below
from app.http.middleware import Envelope
from app.imports.jobs import Imports
from app.logs import configure
from app.ogc.features import Features
from app.ogc.tiles import Tiles
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


class NoDatabase(Exception):
    """The application was started without being told its database."""


def create_app(settings: Settings | None = None) -> FastAPI:
    """Return the application for these settings (default: those of the environment)."""
    known = settings or Settings()
    configure(known.log_format, known.log_level)
    if known.database_url is None:
        msg = "REGISTRY_DATABASE_URL is not set; `coverage-registry serve` runs a database of its own"
        raise NoDatabase(msg)
    app = FastAPIOffline(  # its pages load nothing from the internet
        title="Checkpoint coverage registry",
        version=__version__,
        description=DESCRIPTION,
        lifespan=_lifespan,
        redirect_slashes=False,
        docs_url="/docs" if known.docs else None,
        redoc_url=None,
        static_url="/docs/assets",
    )
    app.state.settings = known
    app.state.secret = service_secret(known.secret.get_secret_value() if known.secret else None, known.data_dir)
    app.state.database = Database(
        known.database_url.get_secret_value(),
        pool_size=known.pool_size,
        statement_timeout_s=known.statement_timeout_s,
    )
    app.state.gate = Gate(app.state.database, app.state.secret, anonymous(known.anonymous_role))
    app.state.answers = Answers(app.state.database)
    app.state.streams = Streams(app.state.database)
    app.state.exports = Exports(app.state.database, app.state.answers)
    app.state.features = Features(app.state.database, app.state.answers)
    app.state.tiles = Tiles(app.state.database, app.state.answers)
    problems.install(app)
    app.state.imports = Imports(
        app.state.database,
        known.import_dir,
        keep_days=known.import_keep_days,
        max_vertices=known.max_ring_vertices,
    )
    app.add_middleware(
        Envelope,
        max_body_bytes=known.max_body_bytes,
        larger={imports.PATH: known.import_max_bytes},
    )
    routers = [*records.ROUTERS]
    routers += [
        module.router
        for module in (
            rings,
            states,
            changes,
            imports,
            coverage,
            crossings,
            cordons,
            area,
            planning,
            exports,
            keys,
            health,
        )
    ]
    for router in routers:
        # Routes side by side are found once; routers inside routers are searched on every level.
        app.router.routes.extend(router.routes)
    app.router.routes.insert(0, Below("/ogc", ogc.ROUTES))
    app.openapi = lambda: openapi.describe(app)  # type: ignore[method-assign]  # FastAPI's documented way
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    """Refuse to serve on another schema; a database that is away now may come back."""
    with suppress(Unavailable):
        await schema.require_head(app.state.database)
        await app.state.imports.start()
    yield {}
    await app.state.answers.close()
    await app.state.imports.stop()
    await app.state.database.close()

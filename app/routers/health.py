"""Health checks: is the process alive, can it serve, and which version is it. They need no key."""

from fastapi import APIRouter, Response

from app import __version__, health
from app.db.schema import head
from app.http.dependencies import DatabaseDep
from app.http.responses import build_value_response
from app.http.routing import Route

router = APIRouter(tags=["health"], route_class=Route)
_FRESH = {"Cache-Control": "no-store"}


@router.get("/livez", operation_id="livez_livez_get", summary="The process lives", response_model=dict[str, str])
async def check_life() -> Response:
    return build_value_response({"status": "alive"}, headers=_FRESH)


@router.get(
    "/readyz",
    operation_id="readyz_readyz_get",
    summary="The service can answer: database, PostGIS, migrations",
    responses={503: {"description": "Not ready; the failed checks are named."}},
)
async def check_readiness(database: DatabaseDep) -> Response:
    checks = await health.run_checks(database)
    if all(check["ok"] for check in checks.values()):
        return build_value_response({"status": "ready", "checks": checks}, headers=_FRESH)
    headers = {**_FRESH, "Retry-After": "2"}
    return build_value_response({"status": "not ready", "checks": checks}, status=503, headers=headers)


@router.get("/version", summary="Version of the service and of its schema", response_model=dict[str, str])
async def version() -> Response:
    return build_value_response({"name": "coverage-registry", "version": __version__, "schema": head()})

"""Routes that tell whether the service lives and is ready; they need no key and tell nothing else."""

from fastapi import APIRouter, Response

from app import __version__, health
from app.db.schema import head
from app.http import responses
from app.http.dependencies import DatabaseDep

router = APIRouter(tags=["health"])
_FRESH = {"Cache-Control": "no-store"}


@router.get("/livez", summary="The process lives")
async def livez(response: Response) -> dict[str, str]:
    response.headers.update(_FRESH)
    return {"status": "alive"}


@router.get(
    "/readyz",
    summary="The service can answer: database, PostGIS, migrations",
    responses={503: {"description": "Not ready; the failed checks are named."}},
)
async def readyz(database: DatabaseDep) -> Response:
    checks = await health.checks(database)
    ready = all(check["ok"] for check in checks.values())
    answer = responses.computed({"status": "ready" if ready else "not ready", "checks": checks})
    answer.status_code = 200 if ready else 503
    answer.headers.update(_FRESH if ready else {**_FRESH, "Retry-After": "2"})
    return answer


@router.get("/version", summary="Version of the service and of its schema")
async def version() -> dict[str, str]:
    return {"name": "coverage-registry", "version": __version__, "schema": head()}

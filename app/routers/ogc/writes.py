"""Features written through the GIS interface (OGC API Features Part 4), and what may be written."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import quote

from starlette.responses import Response

from app.deps import JSON_TYPES, PATCH_TYPES, json_body, write_context
from app.errors import NotPossible
from app.routers.lean import Call, LeanRoute
from app.routers.ogc.described import ONLY_FORMAT, base
from app.routers.ogc.features import ITEM, ITEMS, named
from app.schemas.collections import Collection
from app.services.ogc import features, query, writes
from app.services.ogc.features import may
from app.services.preconditions import Precondition, etag

_PATCHES: Final = ", ".join(PATCH_TYPES)
_POSTS: Final = ", ".join(JSON_TYPES)


@asynccontextmanager
async def _writing(call: Call) -> AsyncIterator[Any]:
    """Open the one transaction of a request; it commits before the answer leaves."""
    reason = call.request.headers.get("x-change-reason", "")[:500]
    context = write_context(call.request, call.who, reason)
    async with call.request.app.state.database.writing(context) as connection:
        yield connection


def _condition(call: Call) -> Precondition:
    headers = call.request.headers
    return Precondition(headers.get("if-match"), headers.get("if-none-match"))


def _check(call: Call, collection: Collection) -> None:
    """Refuse a method the collection does not have, then a caller who may not."""
    if call.request.method not in collection.writes:
        raise NotPossible(call.request.method, features.READS)
    call.who.need("editor")


async def create(call: Call) -> Response:
    collection = features.named(call.path["collection"], call.who)
    _check(call, collection)
    crs = query.content_crs(call.request.headers.get("content-crs"))
    payload = await json_body(call.request)
    async with _writing(call) as connection:
        done = await writes.create(
            connection, collection, payload, call.who, crs=crs, max_vertices=_most_vertices(call)
        )
    place = f"{base(call)}/collections/{collection.id}/items/{quote(done.code, safe='')}"
    return Response(None, 201, {"Location": place, "ETag": etag(done.version)})


async def put(call: Call) -> Response:
    collection, code = named(call)
    _check(call, collection)
    crs = query.content_crs(call.request.headers.get("content-crs"))
    payload = await json_body(call.request)
    async with _writing(call) as connection:
        done = await writes.put(
            connection, collection, code, payload, call.who, _condition(call),
            crs=crs, max_vertices=_most_vertices(call),
        )  # fmt: skip
    if done.created:
        place = f"{base(call)}/collections/{collection.id}/items/{quote(done.code, safe='')}"
        return Response(None, 201, {"Location": place, "ETag": etag(done.version)})
    return Response(None, 204, {"ETag": etag(done.version)})


async def patch(call: Call) -> Response:
    collection, code = named(call)
    _check(call, collection)
    crs = query.content_crs(call.request.headers.get("content-crs"))
    payload = await json_body(call.request)
    async with _writing(call) as connection:
        done = await writes.patch(
            connection, collection, code, payload, call.who, _condition(call),
            crs=crs, max_vertices=_most_vertices(call),
        )  # fmt: skip
    return Response(None, 204, {"ETag": etag(done.version)})


async def remove(call: Call) -> Response:
    collection, code = named(call)
    _check(call, collection)
    async with _writing(call) as connection:
        await writes.remove(connection, collection, code, call.who, _condition(call))
    return Response(None, 204)


async def items_options(call: Call) -> Response:
    collection = features.named(call.path["collection"], call.who)
    return _allowed(may(call.who, collection, on_item=False))


async def item_options(call: Call) -> Response:
    """Tell what may be done with a feature; QGIS asks for one that is not there, too."""
    collection, _ = named(call)
    return _allowed(may(call.who, collection, on_item=True))


def _allowed(methods: tuple[str, ...]) -> Response:
    headers = {"Allow": ", ".join(methods)}
    if "POST" in methods:
        headers["Accept-Post"] = _POSTS
    if "PATCH" in methods:
        headers["Accept-Patch"] = _PATCHES
    return Response(None, 200, headers)


def _most_vertices(call: Call) -> int:
    most: int = call.request.app.state.settings.max_ring_vertices
    return most


ROUTES: list[LeanRoute] = [
    LeanRoute(path, handler, methods=(method,), parameters=ONLY_FORMAT)
    for method, path, handler in (
        ("POST", ITEMS, create),
        ("OPTIONS", ITEMS, items_options),
        ("PUT", ITEM, put),
        ("PATCH", ITEM, patch),
        ("DELETE", ITEM, remove),
        ("OPTIONS", ITEM, item_options),
    )
]

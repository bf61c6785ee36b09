"""Features of the GIS interface: pages, single features, and which methods there are."""

import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import quote, urlencode

import orjson
from starlette.responses import Response, StreamingResponse

from app.errors import NotFound, NotPossible
from app.http.asgi_routes import Call, LeanRoute
from app.http.dependencies import JSON_TYPES, PATCH_TYPES, json_body, write_context
from app.ogc import features, parameters, writes
from app.ogc.collection_model import Collection
from app.ogc.documents import GEOJSON, HTML, link
from app.ogc.features import PIECE, Asked, Page, may
from app.records.payloads import Precondition, etag, unchanged
from app.routers.ogc import negotiation
from app.routers.ogc.metadata import ONLY_FORMAT, base, service

_PARAMETERS: Final = None
"""Depend on the collection: ``app.ogc.parameters`` checks them."""


async def items(call: Call) -> Response:
    collection = features.named(call.path["collection"], call.who)
    asked = parameters.items(collection, call.given, reveal=call.who.reveals)
    media_type = negotiation.chosen(call, negotiation.FEATURES)
    found = service(call)
    scoped = await found.scoped(collection, asked, call.who)
    first = await found.piece(collection, _at_most(scoped, PIECE))
    about = _about(collection, scoped, await found.matched(collection, scoped, first))
    if media_type == HTML:
        return _page(call, collection, first, about)
    headers = negotiation.PRIVATE | {"Content-Crs": f"<{asked.crs.uri}>"}
    if scoped.limit > PIECE and first.after is not None:
        pieces = found.pieces(collection, asked, call.who, first)
        stream = _streamed(call, collection, pieces, about)
        return StreamingResponse(stream, 200, headers, media_type)
    end, following = _end(call, collection, first.count, first.after, about)
    body = b"".join((_BEGIN, first.bodies, end))
    tag = f'"{hashlib.sha1(body, usedforsecurity=False).hexdigest()}"'
    if following is not None:
        headers["Link"] = f'<{following}>; rel="next"; type="{GEOJSON}"'
    headers["ETag"] = tag
    if tag in call.request.headers.get("if-none-match", ""):
        return Response(None, 304, headers)
    return Response(body, 200, headers, media_type)


_BEGIN: Final = b'{"type":"FeatureCollection","features":['


def _at_most(asked: Asked, limit: int) -> Asked:
    return asked if asked.limit <= limit else parameters.limited(asked, limit)


def _about(collection: Collection, scoped: Asked, matched: int | None) -> dict[str, Any]:
    """Return how many features there are, and what an answer could not assess: none is not zero."""
    told: dict[str, Any] = {} if matched is None else {"numberMatched": matched}
    return told | {"not_assessed": scoped.not_assessed} if collection.answer else told


async def _streamed(
    call: Call, collection: Collection, pieces: AsyncIterator[Page], about: dict[str, Any]
) -> AsyncIterator[bytes]:
    """Yield a long page piece by piece."""
    yield _BEGIN
    count, after = 0, None
    async for piece in pieces:
        if piece.count:
            yield b"," + piece.bodies if count else piece.bodies
        count, after = count + piece.count, piece.after
    yield _end(call, collection, count, after, about)[0]


def _end(
    call: Call, collection: Collection, count: int, after: str | None, about: dict[str, Any]
) -> tuple[bytes, str | None]:
    """Return what comes after the features, and where the next page is."""
    home = f"{base(call)}/collections/{collection.id}"
    here = f"{home}/items"
    links = [
        link(_address(here, call.given), "self", GEOJSON, "This page"),
        link(_address(here, call.given, f="html"), "alternate", HTML, "As HTML"),
        link(home, "collection", "application/json", "The collection"),
    ]
    following = None
    if after is not None:
        cursor = parameters.encode_cursor(after, call.given.get("sortby"))
        following = _address(here, call.given, cursor=cursor)
        links.append(link(following, "next", GEOJSON, "The next page"))
    told = {"numberReturned": count, "links": links, **about}
    return b"]," + orjson.dumps(told)[1:], following


def _address(url: str, given: Mapping[str, str], **changed: str) -> str:
    wanted = {**given, **changed}
    return f"{url}?{urlencode(wanted)}" if wanted else url


def _page(call: Call, collection: Collection, first: Page, about: dict[str, Any]) -> Response:
    end, following = _end(call, collection, first.count, first.after, about)
    told = orjson.loads(b"".join((_BEGIN, first.bodies, end)))
    return negotiation.page(
        "items.html",
        base=base(call),
        collection=collection,
        told=told,
        following=following,
        degrees="crs" not in call.given,
    )


async def item(call: Call) -> Response:
    collection, code = named(call)
    asked = parameters.one(collection, call.given, reveal=call.who.reveals)
    media_type = negotiation.chosen(call, negotiation.FEATURES)
    found = await service(call).item(collection, code, asked, call.who)
    home = f"{base(call)}/collections/{collection.id}"
    here = f"{home}/items/{quote(code, safe='')}"
    if media_type == HTML:
        told = orjson.loads(found.body)
        return negotiation.page(
            "item.html",
            base=base(call),
            collection=collection,
            told=told,
            degrees="crs" not in call.given,
        )
    headers = negotiation.PRIVATE | {"Content-Crs": f"<{asked.crs.uri}>"}
    if found.version is not None:
        headers["ETag"] = etag(found.version)
        timely = collection.kind is not None and collection.kind.device
        if not timely and unchanged(call.request.headers.get("if-none-match"), found.version):
            return Response(None, 304, headers)
    links = [
        link(_address(here, call.given), "self", GEOJSON, "This feature"),
        link(_address(here, call.given, f="html"), "alternate", HTML, "As HTML"),
        link(home, "collection", "application/json", "The collection"),
    ]
    body = b"".join((found.body[:-1], b',"links":', orjson.dumps(links), b"}"))
    return Response(body, 200, headers, media_type)


def named(call: Call) -> tuple[Collection, str]:
    """Return the collection and the id a path names."""
    collection = features.named(call.path["collection"], call.who)
    code = call.path["feature"]
    if "\x00" in code or len(code) > 200:
        raise NotFound("feature", code[:80].replace("\x00", ""))
    return collection, code


ITEMS: Final = "/ogc/collections/{collection}/items"
ITEM: Final = f"{ITEMS}/{{feature}}"

ROUTES: list[LeanRoute] = [
    LeanRoute(ITEMS, items, parameters=_PARAMETERS),
    LeanRoute(ITEM, item, parameters=_PARAMETERS),
]


# Features written through the GIS interface (OGC API Features Part 4), and what may be written.

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
    crs = parameters.content_crs(call.request.headers.get("content-crs"))
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
    crs = parameters.content_crs(call.request.headers.get("content-crs"))
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
    crs = parameters.content_crs(call.request.headers.get("content-crs"))
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


WRITE_ROUTES: list[LeanRoute] = [
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

"""Features of the GIS interface: pages, single features, writes (OGC API Features Part 4), and what may be written."""

import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import quote, urlencode

import orjson
from fastapi import APIRouter, Response
from fastapi.responses import StreamingResponse

from app.errors import MethodNotAllowed, NotFound
from app.http.dependencies import JSON_TYPES, PATCH_TYPES, build_write_context, read_json
from app.http.routing import Route
from app.ogc import features, parameters, writes
from app.ogc.collection_model import Collection
from app.ogc.documents import GEOJSON, HTML, JSON, build_link
from app.ogc.features import PIECE, FeaturePage, FeatureQuery, list_allowed_methods
from app.records.payloads import Precondition, format_etag, is_unchanged
from app.routers.ogc.context import FEATURE_FORMATS, OgcRequest, RequestDep, UncheckedRequestDep, choose_media_type
from app.routers.ogc.metadata import COLLECTION
from app.routers.ogc.openapi import (
    FEATURE_QUERY,
    PAGE_QUERY,
    PREFIX,
    describe_references,
    describe_responses,
    describe_write,
)
from app.routers.ogc.pages import PRIVATE_HEADERS, render_page

router = APIRouter(prefix=PREFIX, route_class=Route)
ITEMS: Final = f"{COLLECTION}/items"
ITEM: Final = f"{ITEMS}/{{feature}}"
_START: Final = b'{"type":"FeatureCollection","features":['
_MAX_ID_LENGTH: Final = 200


@router.get(
    ITEMS,
    operation_id="list_{id}",
    summary="{title}, page by page",
    responses=describe_responses(
        "A page of features.", GEOJSON, JSON, HTML, schema="FeatureCollection", problems=[403]
    ),
    openapi_extra=PAGE_QUERY,
)
async def list_features(request: UncheckedRequestDep) -> Response:
    collection = features.find_collection(request.path["collection"], request.principal)
    query = parameters.parse_items_query(collection, request.query, reveal=request.principal.sees_restricted)
    media_type = choose_media_type(request, FEATURE_FORMATS)
    service = request.features
    scoped = await service.apply_scope(collection, query, request.principal)
    first = await service.fetch_piece(collection, _limit_query(scoped, PIECE))
    members = _build_members(collection, scoped, await service.count_matches(collection, scoped, first))
    if media_type == HTML:
        return _render_features(request, collection, first, members)
    headers = {**PRIVATE_HEADERS, "Content-Crs": f"<{query.crs.uri}>"}
    if scoped.limit > PIECE and first.after is not None:
        pieces = service.iter_pieces(collection, query, request.principal, first)
        stream = _stream_features(request, collection, pieces, members)
        return StreamingResponse(stream, 200, headers, media_type)
    end, next_url = _build_end(request, collection, first.count, first.after, members)
    body = b"".join((_START, first.bodies, end))
    if next_url is not None:
        headers["Link"] = f'<{next_url}>; rel="next"; type="{GEOJSON}"'
    headers["ETag"] = f'"{hashlib.sha1(body, usedforsecurity=False).hexdigest()}"'
    if headers["ETag"] in request.request.headers.get("if-none-match", ""):
        return Response(None, 304, headers)
    return Response(body, 200, headers, media_type)


def _limit_query(query: FeatureQuery, limit: int) -> FeatureQuery:
    return query if query.limit <= limit else parameters.with_limit(query, limit)


def _build_members(collection: Collection, scoped: FeatureQuery, matched: int | None) -> dict[str, Any]:
    """Return the number of all features, and what could not be assessed: unknown is not zero."""
    members: dict[str, Any] = {} if matched is None else {"numberMatched": matched}
    return members | {"not_assessed": scoped.not_assessed} if collection.computed else members


async def _stream_features(
    request: OgcRequest, collection: Collection, pieces: AsyncIterator[FeaturePage], members: dict[str, Any]
) -> AsyncIterator[bytes]:
    """Yield a long page piece by piece."""
    yield _START
    count, after = 0, None
    async for piece in pieces:
        if piece.count:
            yield b"," + piece.bodies if count else piece.bodies
        count, after = count + piece.count, piece.after
    yield _build_end(request, collection, count, after, members)[0]


def _build_end(
    request: OgcRequest, collection: Collection, count: int, after: str | None, members: dict[str, Any]
) -> tuple[bytes, str | None]:
    """Return what follows the features of a page, and the address of the next page."""
    collection_url = f"{request.base_url}/collections/{collection.id}"
    items_url = f"{collection_url}/items"
    links = _build_links(request, items_url, collection_url, "This page")
    next_url = None
    if after is not None:
        cursor = parameters.encode_cursor(after, request.query.get("sortby"))
        next_url = _build_url(items_url, request.query, cursor=cursor)
        links.append(build_link(next_url, "next", GEOJSON, "The next page"))
    return b"]," + orjson.dumps({"numberReturned": count, "links": links, **members})[1:], next_url


def _build_links(request: OgcRequest, url: str, collection_url: str, title: str) -> list[dict[str, str]]:
    return [
        build_link(_build_url(url, request.query), "self", GEOJSON, title),
        build_link(_build_url(url, request.query, f="html"), "alternate", HTML, "As HTML"),
        build_link(collection_url, "collection", JSON, "The collection"),
    ]


def _build_url(url: str, query: Mapping[str, str], **changes: str) -> str:
    merged = {**query, **changes}
    return f"{url}?{urlencode(merged)}" if merged else url


def _render_features(
    request: OgcRequest, collection: Collection, first: FeaturePage, members: dict[str, Any]
) -> Response:
    end, next_url = _build_end(request, collection, first.count, first.after, members)
    return render_page(
        "items.html",
        base=request.base_url,
        collection=collection,
        document=orjson.loads(b"".join((_START, first.bodies, end))),
        next_url=next_url,
        degrees="crs" not in request.query,
    )


@router.get(
    ITEM,
    operation_id="get_{id}_item",
    summary="One feature of {title}",
    responses=describe_responses("The feature.", GEOJSON, JSON, HTML, schema="Feature", problems=[403, 404]),
    openapi_extra=FEATURE_QUERY,
)
async def get_feature(request: UncheckedRequestDep) -> Response:
    collection, code = _find_feature(request)
    query = parameters.parse_item_query(collection, request.query, reveal=request.principal.sees_restricted)
    media_type = choose_media_type(request, FEATURE_FORMATS)
    feature = await request.features.fetch_item(collection, code, query, request.principal)
    if media_type == HTML:
        return render_page(
            "item.html",
            base=request.base_url,
            collection=collection,
            document=orjson.loads(feature.body),
            degrees="crs" not in request.query,
        )
    headers = {**PRIVATE_HEADERS, "Content-Crs": f"<{query.crs.uri}>"}
    if feature.version is not None:
        headers["ETag"] = format_etag(feature.version)
        # The state of a device changes without a new version.
        has_state = collection.kind is not None and collection.kind.is_device
        if not has_state and is_unchanged(request.request.headers.get("if-none-match"), feature.version):
            return Response(None, 304, headers)
    collection_url = f"{request.base_url}/collections/{collection.id}"
    url = f"{collection_url}/items/{quote(code, safe='')}"
    links = orjson.dumps(_build_links(request, url, collection_url, "This feature"))
    return Response(b"".join((feature.body[:-1], b',"links":', links, b"}")), 200, headers, media_type)


def _find_feature(request: OgcRequest) -> tuple[Collection, str]:
    """Return the collection and the id of a path; raise NotFound when one of them cannot exist."""
    collection = features.find_collection(request.path["collection"], request.principal)
    code = request.path["feature"]
    if "\x00" in code or len(code) > _MAX_ID_LENGTH:
        raise NotFound("feature", code[:80].replace("\x00", ""))
    return collection, code


# Writes.

_WRITE_PROBLEMS: Final = describe_references(400, 403, 404, 409, 412, 413, 415, 422)
_CREATED: Final[dict[int | str, dict[str, Any]]] = {201: {"description": "Created."}}


@asynccontextmanager
async def _open_transaction(request: OgcRequest) -> AsyncIterator[Any]:
    """Open the one transaction of a request; it is committed before the response is sent."""
    reason = request.request.headers.get("x-change-reason", "")[:500]
    context = build_write_context(request.request, request.principal, reason)
    async with request.request.app.state.database.open_transaction(context) as connection:
        yield connection


def _parse_precondition(request: OgcRequest) -> Precondition:
    headers = request.request.headers
    return Precondition(headers.get("if-match"), headers.get("if-none-match"))


def _check_write(request: OgcRequest, collection: Collection) -> None:
    """Raise NotPossible if the collection does not have the method; then check the role."""
    if request.request.method not in collection.writes:
        raise MethodNotAllowed(request.request.method, features.READS)
    request.principal.require_role("editor")


def _read_options(request: OgcRequest) -> dict[str, Any]:
    """Return how the feature of a request is read: its CRS, and the limit of a ring."""
    crs = parameters.parse_content_crs(request.request.headers.get("content-crs"))
    return {"crs": crs, "max_vertices": request.request.app.state.settings.max_ring_vertices}


def _build_created(request: OgcRequest, collection: Collection, code: str, version: int) -> Response:
    url = f"{request.base_url}/collections/{collection.id}/items/{quote(code, safe='')}"
    return Response(None, 201, {"Location": url, "ETag": format_etag(version)})


@router.post(
    ITEMS,
    operation_id="post_{id}",
    summary="Create a feature of {title}",
    responses=_CREATED | _WRITE_PROBLEMS,
    openapi_extra=describe_write(has_id=False),
)
async def create_feature(request: RequestDep) -> Response:
    collection = features.find_collection(request.path["collection"], request.principal)
    _check_write(request, collection)
    options = _read_options(request)
    payload = await read_json(request.request)
    async with _open_transaction(request) as connection:
        result = await writes.create_feature(connection, collection, payload, request.principal, **options)
    return _build_created(request, collection, result.code, result.version)


@router.put(
    ITEM,
    operation_id="put_{id}",
    summary="Create or replace a feature of {title}",
    responses={**_CREATED, 204: {"description": "Replaced."}, **_WRITE_PROBLEMS},
    openapi_extra=describe_write(),
)
async def put_feature(request: RequestDep) -> Response:
    collection, code = _find_feature(request)
    _check_write(request, collection)
    options = _read_options(request)
    payload = await read_json(request.request)
    precondition = _parse_precondition(request)
    async with _open_transaction(request) as connection:
        result = await writes.put_feature(
            connection, collection, code, payload, request.principal, precondition, **options
        )
    if result.created:
        return _build_created(request, collection, result.code, result.version)
    return Response(None, 204, {"ETag": format_etag(result.version)})


@router.patch(
    ITEM,
    operation_id="patch_{id}",
    summary="Change a feature of {title}",
    responses={204: {"description": "Changed."}, **_WRITE_PROBLEMS},
    openapi_extra=describe_write(media_type="application/merge-patch+json"),
)
async def patch_feature(request: RequestDep) -> Response:
    collection, code = _find_feature(request)
    _check_write(request, collection)
    options = _read_options(request)
    payload = await read_json(request.request)
    precondition = _parse_precondition(request)
    async with _open_transaction(request) as connection:
        result = await writes.patch_feature(
            connection, collection, code, payload, request.principal, precondition, **options
        )
    return Response(None, 204, {"ETag": format_etag(result.version)})


@router.delete(
    ITEM,
    operation_id="delete_{id}",
    summary="Remove a feature of {title}",
    responses={204: {"description": "Removed."}, **_WRITE_PROBLEMS},
    openapi_extra=describe_write(media_type=None),
)
async def delete_feature(request: RequestDep) -> Response:
    collection, code = _find_feature(request)
    _check_write(request, collection)
    async with _open_transaction(request) as connection:
        await writes.remove_feature(connection, collection, code, request.principal, _parse_precondition(request))
    return Response(None, 204)


@router.options(ITEMS, include_in_schema=False)
async def list_methods_of_features(request: RequestDep) -> Response:
    collection = features.find_collection(request.path["collection"], request.principal)
    return _build_methods(list_allowed_methods(request.principal, collection, on_item=False))


@router.options(ITEM, include_in_schema=False)
async def list_methods_of_feature(request: RequestDep) -> Response:
    # QGIS also asks this about features that do not exist.
    collection, _ = _find_feature(request)
    return _build_methods(list_allowed_methods(request.principal, collection, on_item=True))


def _build_methods(methods: tuple[str, ...]) -> Response:
    headers = {"Allow": ", ".join(methods)}
    if "POST" in methods:
        headers["Accept-Post"] = ", ".join(JSON_TYPES)
    if "PATCH" in methods:
        headers["Accept-Patch"] = ", ".join(PATCH_TYPES)
    return Response(None, 200, headers)

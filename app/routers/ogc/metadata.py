"""What the GIS interface says about itself: landing page, conformance, API, collections, schemas."""

from collections.abc import Callable, Iterator
from typing import Any, Final

from fastapi import FastAPI
from starlette.responses import Response

from app.http.asgi_routes import Call, LeanRoute
from app.http.openapi import PROBLEM
from app.http.problems import MEDIA_TYPE, TITLES
from app.ogc import documents, features, parameters
from app.ogc.collection_model import Collection, Property
from app.ogc.collections import COLLECTIONS
from app.ogc.documents import GEOJSON, HTML, JSON, OPENAPI, SCHEMA
from app.ogc.features import Features
from app.routers.ogc import negotiation

# The GIS interface as an OpenAPI 3.0 document, as QGIS reads it: literal paths, one-word types.

_SIMPLE: Final = {
    "integer": "integer", "number": "number", "boolean": "boolean",
}  # fmt: skip


def describe(app: FastAPI, base: str) -> dict[str, Any]:
    """Return the document."""
    return {
        "openapi": "3.0.3",
        "info": {"title": app.title, "version": app.version, "description": app.description},
        "servers": [{"url": base}],
        "tags": [{"name": "service"}, *({"name": known.id} for known in COLLECTIONS)],
        "paths": dict(_paths()),
        "components": {
            "parameters": _PARAMETERS,
            "responses": _responses(),
            "schemas": {"Problem": PROBLEM, "FeatureCollection": _FEATURES, "Feature": _FEATURE},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "API key: ccr_..."}},
        },
        "security": [{"key": []}, {}],
    }


def _parameter(name: str, description: str, schema: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "in": "query",
        "description": description,
        "required": False,
        "schema": schema,
        "style": "form",
        "explode": False,
        **more,
    }


_TEXT: Final[dict[str, Any]] = {"type": "string"}
_PARAMETERS: Final[dict[str, Any]] = {
    "limit": _parameter(
        "limit", "Features per page; more than the maximum gives the maximum.",
        {"type": "integer", "minimum": 1, "maximum": parameters.MAX_LIMIT, "default": parameters.DEFAULT_LIMIT},
    ),
    "f": _parameter(
        "f", "Format; wins over Accept.", {"type": "string", "enum": ["json", "geojson", "html"]}
    ),
    "cursor": _parameter("cursor", "Where the page starts, from the `next` link.", _TEXT),
    "bbox": _parameter(
        "bbox", "Lower corner, upper corner; in degrees, west > east crosses the antimeridian.",
        {"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 6},
    ),
    "bbox-crs": _parameter("bbox-crs", "System of `bbox`, as its URI.", _TEXT),
    "datetime": _parameter("datetime", "An instant, or two with a slash between; `..` is open.", _TEXT),
    "crs": _parameter("crs", "System of the answer, as its URI.", _TEXT),
    "filter": _parameter("filter", "A CQL2 filter.", _TEXT),
    "filter-lang": _parameter(
        "filter-lang", "Language of `filter`.",
        {"type": "string", "enum": ["cql2-text", "cql2-json"], "default": "cql2-text"},
    ),
    "filter-crs": _parameter("filter-crs", "System of the geometries in `filter`.", _TEXT),
    "sortby": _parameter(
        "sortby", "Properties, with a minus before those in descending order.",
        {"type": "array", "items": {"type": "string"}},
    ),
    "properties": _parameter(
        "properties", "Properties to show.", {"type": "array", "items": {"type": "string"}}
    ),
    "skipGeometry": _parameter("skipGeometry", "Leave geometries out.", {"type": "boolean"}),
}  # fmt: skip
_ITEM: Final = {
    "name": "featureId",
    "in": "path",
    "required": True,
    "description": "Id of the feature.",
    "schema": _TEXT,
}
_FEATURE: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["type", "geometry", "properties"],
    "properties": {
        "type": {"type": "string", "enum": ["Feature"]},
        "id": {"type": "string"},
        "geometry": {"type": "object", "nullable": True},
        "properties": {"type": "object", "nullable": True},
        "links": {"type": "array", "items": {"type": "object"}},
    },
}
_FEATURES: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["type", "features"],
    "properties": {
        "type": {"type": "string", "enum": ["FeatureCollection"]},
        "features": {"type": "array", "items": {"$ref": "#/components/schemas/Feature"}},
        "numberReturned": {"type": "integer"},
        "numberMatched": {"type": "integer"},
        "not_assessed": {
            "type": "array",
            "description": "Answers only: what could not be assessed, where, and why.",
            "items": {"type": "object"},
        },
        "links": {"type": "array", "items": {"type": "object"}},
    },
}


def _responses() -> dict[str, Any]:
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    statuses = (400, 401, 403, 404, 405, 406, 409, 412, 413, 415, 422, 503)
    return {str(status): {"description": TITLES[status], "content": content} for status in statuses}


def _refusals(*statuses: int) -> dict[str, Any]:
    return {str(status): {"$ref": f"#/components/responses/{status}"} for status in sorted({*statuses, 401, 503})}


def _references(*names: str) -> list[dict[str, str]]:
    return [{"$ref": f"#/components/parameters/{name}"} for name in names]


def _answer(description: str, *media_types: str, schema: dict[str, Any] | None = None) -> Any:
    told = schema or {"type": "object"}
    content = {media: {"schema": _TEXT if media == HTML else told} for media in media_types}
    return {"200": {"description": description, "content": content}}


def _paths() -> Iterator[tuple[str, dict[str, Any]]]:
    for path, summary, media_types in (
        ("/", "Landing page", (JSON, HTML)),
        ("/conformance", "What the service conforms to", (JSON, HTML)),
        ("/functions", "Functions in filters", (JSON, HTML)),
        ("/api", "This document", (OPENAPI, HTML)),
        ("/collections", "The collections", (JSON, HTML)),
    ):
        yield path, _get(path, "service", summary, media_types)
    for collection in COLLECTIONS:
        home = f"/collections/{collection.id}"
        yield home, _get(home, collection.id, f"About {collection.title}", (JSON, HTML), 403)
        for name in ("schema", "schema/feature", "queryables", "sortables"):
            path = f"{home}/{name}"
            summary = f"{name.partition('/')[0].capitalize()} of {collection.title}"
            yield path, _get(path, collection.id, summary, (SCHEMA, HTML), 403)
        yield f"{home}/items", _items(collection)
        yield f"{home}/items/{{featureId}}", _item(collection)


def _get(path: str, tag: str, summary: str, media_types: tuple[str, ...], *refusals: int) -> dict[str, Any]:
    name = path.strip("/").replace("/", "_") or "landing"
    return {
        "get": {
            "operationId": f"get_{name}",
            "tags": [tag],
            "summary": summary,
            "parameters": _references("f"),
            "responses": _answer(summary, *media_types) | _refusals(400, 406, *refusals),
        }
    }


def _items(collection: Collection) -> dict[str, Any]:
    simple = [_simple(known) for known in collection.shown(reveal=False) if known.queryable]
    reference = {"$ref": "#/components/schemas/FeatureCollection"}
    return {
        "get": {
            "operationId": f"list_{collection.id}",
            "tags": [collection.id],
            "summary": f"{collection.title}, page by page",
            "parameters": [*_references(*_PARAMETERS), *simple],
            "responses": _answer("A page of features.", GEOJSON, JSON, HTML, schema=reference)
            | _refusals(400, 403, 406),
        },
        **(
            _write(collection, "post", f"Create a feature of {collection.title}", _201="Created.")
            if "POST" in collection.writes
            else {}
        ),
    }


_IF_MATCH: Final = {
    "name": "If-Match",
    "in": "header",
    "required": False,
    "description": "Version the feature must have.",
    "schema": _TEXT,
}
_CONTENT_CRS: Final = {
    "name": "Content-Crs",
    "in": "header",
    "required": False,
    "description": "System of the coordinates sent, as its URI.",
    "schema": _TEXT,
}


def _write(collection: Collection, method: str, summary: str, **answers: str) -> dict[str, Any]:
    reference = {"schema": {"$ref": "#/components/schemas/Feature"}}
    media = "application/merge-patch+json" if method == "patch" else GEOJSON
    told: dict[str, Any] = {
        "operationId": f"{method}_{collection.id}",
        "tags": [collection.id],
        "summary": summary,
        "parameters": [
            *([] if method == "post" else [_ITEM, _IF_MATCH]),
            *([] if method == "delete" else [_CONTENT_CRS]),
            *_references("f"),
        ],
        "responses": {
            **{status[1:]: {"description": description} for status, description in answers.items()},
            **_refusals(400, 403, 404, 409, 412, 413, 415, 422),
        },
    }
    if method != "delete":
        told["requestBody"] = {"required": True, "content": {media: reference}}
    return {method: told}


def _simple(known: Property) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": _SIMPLE.get(known.type, "string")}
    if known.words and known.type == "text":
        schema["enum"] = list(known.words)
    told = known.description or known.title
    return _parameter(known.name, f"{told} Several values, with commas: any of them.", schema)


def _item(collection: Collection) -> dict[str, Any]:
    reference = {"$ref": "#/components/schemas/Feature"}
    return {
        "get": {
            "operationId": f"get_{collection.id}_item",
            "tags": [collection.id],
            "summary": f"One feature of {collection.title}",
            "parameters": [_ITEM, *_references("f", "crs", "properties", "skipGeometry")],
            "responses": _answer("The feature.", GEOJSON, JSON, HTML, schema=reference) | _refusals(400, 403, 404, 406),
        },
        **_item_writes(collection),
    }


def _item_writes(collection: Collection) -> dict[str, Any]:
    title = collection.title
    told = {
        "PUT": _write(
            collection, "put", f"Create or replace a feature of {title}",
            _201="Created.", _204="Replaced.",
        ),
        "PATCH": _write(collection, "patch", f"Change a feature of {title}", _204="Changed."),
        "DELETE": _write(collection, "delete", f"Remove a feature of {title}", _204="Removed."),
    }  # fmt: skip
    found: dict[str, Any] = {}
    for method in collection.writes:
        found |= told.get(method, {})
    return found


ONLY_FORMAT: Final = frozenset({"f"})


def base(call: Call) -> str:
    """Return the address of the GIS interface."""
    return f"{call.base}/ogc"


def service(call: Call) -> Features:
    """Return the features of the running service."""
    found: Features = call.request.app.state.features
    return found


async def landing(call: Call) -> Response:
    app = call.request.app
    told = documents.landing(base(call), app.title, app.description)
    if negotiation.chosen(call, negotiation.DOCUMENT) == HTML:
        return negotiation.page("landing.html", base=base(call), told=told)
    return negotiation.document(told)


async def conformance(call: Call) -> Response:
    told = documents.conformance()
    if negotiation.chosen(call, negotiation.DOCUMENT) == HTML:
        return negotiation.page("conformance.html", base=base(call), told=told)
    return negotiation.document(told)


async def functions(call: Call) -> Response:
    told = documents.functions()
    if negotiation.chosen(call, negotiation.DOCUMENT) == HTML:
        return negotiation.page("functions.html", base=base(call), told=told)
    return negotiation.document(told)


async def api(call: Call) -> Response:
    told = describe(call.request.app, base(call))
    if negotiation.chosen(call, negotiation.API, lenient=True) == HTML:
        return negotiation.page("api.html", base=base(call), told=told)
    return negotiation.document(told, OPENAPI)


async def collections(call: Call) -> Response:
    known = features.known_to(call.who)
    extent = await service(call).extent(call.who)
    told = documents.collections(base(call), known, extent)
    if negotiation.chosen(call, negotiation.DOCUMENT) == HTML:
        return negotiation.page("collections.html", base=base(call), told=told)
    return negotiation.document(told)


async def collection(call: Call) -> Response:
    known = features.named(call.path["collection"], call.who)
    extent = await service(call).extent(call.who)
    told = documents.collection(base(call), known, extent)
    if negotiation.chosen(call, negotiation.DOCUMENT) == HTML:
        return negotiation.page("collection.html", base=base(call), told=told)
    return negotiation.document(told)


def _schema(heading: str, make: Callable[..., dict[str, Any]]) -> Callable[[Call], Any]:
    async def answer(call: Call) -> Response:
        known: Collection = features.named(call.path["collection"], call.who)
        told = make(base(call), known, reveal=call.who.reveals)
        if negotiation.chosen(call, negotiation.SCHEMAS) == HTML:
            members = told["properties"]
            members = members["properties"]["properties"] if make is documents.feature_schema else members
            return negotiation.page(
                "schema.html", base=base(call), collection=known, told=told, members=members,
                heading=heading,
            )  # fmt: skip
        return negotiation.document(told, SCHEMA)

    return answer


_COLLECTION: Final = "/ogc/collections/{collection}"

ROUTES: list[LeanRoute] = [
    LeanRoute(path, handler, parameters=ONLY_FORMAT)
    for path, handler in (
        ("/ogc", landing),
        ("/ogc/", landing),
        ("/ogc/conformance", conformance),
        ("/ogc/functions", functions),
        ("/ogc/api", api),
        ("/ogc/collections", collections),
        (_COLLECTION, collection),
        (f"{_COLLECTION}/schema", _schema("schema", documents.schema)),
        (
            f"{_COLLECTION}/schema/feature",
            _schema("schema of a GeoJSON Feature", documents.feature_schema),
        ),
        (f"{_COLLECTION}/queryables", _schema("what filters may name", documents.queryables)),
        (f"{_COLLECTION}/sortables", _schema("what sorts", documents.sortables)),
    )
]

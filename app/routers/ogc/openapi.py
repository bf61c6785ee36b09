"""The OpenAPI document of the GIS interface, from its routes and collections: OpenAPI 3.0, as QGIS reads it.

A route declares its summary, parameters, body and responses; a path with ``{collection}`` becomes one literal path for
each collection, since QGIS does not fill in templates. Types are one word.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from fastapi import FastAPI

from app.http.openapi import PROBLEM, SECURITY_SCHEMES, describe_problems
from app.http.routing import Route, iter_routes
from app.ogc import parameters
from app.ogc.collection_model import Collection, Property
from app.ogc.collections import COLLECTIONS
from app.ogc.documents import GEOJSON, HTML

PREFIX: Final = "/ogc"
_TEXT: Final[dict[str, Any]] = {"type": "string"}
_TEXTS: Final[dict[str, Any]] = {"type": "array", "items": _TEXT}
_OBJECTS: Final[dict[str, Any]] = {"type": "array", "items": {"type": "object"}}
_SIMPLE_TYPES: Final = ("integer", "number", "boolean")
_PROBLEM_STATUSES: Final = (400, 401, 403, 404, 405, 406, 409, 412, 413, 415, 422, 503)
_FEATURE: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["type", "geometry", "properties"],
    "properties": {
        "type": {"type": "string", "enum": ["Feature"]},
        "id": _TEXT,
        "geometry": {"type": "object", "nullable": True},
        "properties": {"type": "object", "nullable": True},
        "links": _OBJECTS,
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
            **_OBJECTS,
            "description": "Answers only: what could not be assessed, where, and why.",
        },
        "links": _OBJECTS,
    },
}
_LIMIT: Final = {
    "type": "integer",
    "minimum": 1,
    "maximum": parameters.MAX_LIMIT,
    "default": parameters.DEFAULT_LIMIT,
}
_NUMBERS: Final = {"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 6}
_FILTER_LANGUAGE: Final = {"type": "string", "enum": ["cql2-text", "cql2-json"], "default": "cql2-text"}
_QUERY: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "limit": ("Features per page; more than the maximum gives the maximum.", _LIMIT),
    "f": ("Format; wins over Accept.", {"type": "string", "enum": ["json", "geojson", "html"]}),
    "cursor": ("Where the page starts, from the `next` link.", _TEXT),
    "bbox": ("Lower corner, upper corner; in degrees, west > east crosses the antimeridian.", _NUMBERS),
    "bbox-crs": ("System of `bbox`, as its URI.", _TEXT),
    "datetime": ("An instant, or two with a slash between; `..` is open.", _TEXT),
    "crs": ("System of the answer, as its URI.", _TEXT),
    "filter": ("A CQL2 filter.", _TEXT),
    "filter-lang": ("Language of `filter`.", _FILTER_LANGUAGE),
    "filter-crs": ("System of the geometries in `filter`.", _TEXT),
    "sortby": ("Properties, with a minus before those in descending order.", _TEXTS),
    "properties": ("Properties to show.", _TEXTS),
    "skipGeometry": ("Leave geometries out.", {"type": "boolean"}),
}


def _build_parameter(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    parameter = {"name": name, "in": "query", "description": description, "required": False, "schema": schema}
    return {**parameter, "style": "form", "explode": False}


def _build_header(name: str, description: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, "description": description, "schema": _TEXT}


def _refer_to_parameters(*names: str) -> list[dict[str, str]]:
    return [{"$ref": f"#/components/parameters/{name}"} for name in names]


_FEATURE_ID: Final = {
    "name": "featureId",
    "in": "path",
    "required": True,
    "description": "Id of the feature.",
    "schema": _TEXT,
}
_IF_MATCH: Final = _build_header("If-Match", "Version the feature must have.")
_CONTENT_CRS: Final = _build_header("Content-Crs", "System of the coordinates sent, as its URI.")

# What a route declares, as arguments of its decorator.

FORMAT_QUERY: Final[dict[str, Any]] = {"parameters": _refer_to_parameters("f")}
PAGE_QUERY: Final[dict[str, Any]] = {"parameters": _refer_to_parameters(*_QUERY)}
FEATURE_QUERY: Final[dict[str, Any]] = {
    "parameters": [_FEATURE_ID, *_refer_to_parameters("f", "crs", "properties", "skipGeometry")]
}


def describe_write(*, has_id: bool = True, media_type: str | None = GEOJSON) -> dict[str, Any]:
    """Return the parameters and the body of a write; the media type is None where there is no body."""
    described: dict[str, Any] = {"parameters": [_FEATURE_ID, _IF_MATCH] if has_id else []}
    if media_type is not None:
        described["parameters"].append(_CONTENT_CRS)
        schema = {"$ref": "#/components/schemas/Feature"}
        described["requestBody"] = {"required": True, "content": {media_type: {"schema": schema}}}
    described["parameters"] += _refer_to_parameters("f")
    return described


def describe_responses(
    description: str, *media_types: str, schema: str | None = None, problems: Iterable[int] = ()
) -> dict[int | str, dict[str, Any]]:
    """Return the responses of a read: status 200 in each media type, and the problems."""
    body = {"type": "object"} if schema is None else {"$ref": f"#/components/schemas/{schema}"}
    content = {media_type: {"schema": _TEXT if media_type == HTML else body} for media_type in media_types}
    return {200: {"description": description, "content": content}, **describe_references(400, 406, *problems)}


def describe_references(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return references to the problems of a route; 401 and 503 are possible everywhere."""
    return {status: {"$ref": f"#/components/responses/{status}"} for status in sorted({*statuses, 401, 503})}


# The document.


def build_api_document(app: FastAPI, base_url: str) -> dict[str, Any]:
    """Return the OpenAPI document of the GIS interface."""
    problems = describe_problems(*_PROBLEM_STATUSES)
    return {
        "openapi": "3.0.3",
        "info": {"title": app.title, "version": app.version, "description": app.description},
        "servers": [{"url": base_url}],
        "tags": [{"name": "service"}, *({"name": collection.id} for collection in COLLECTIONS)],
        "paths": _build_paths(app),
        "components": {
            "parameters": {name: _build_parameter(name, *described) for name, described in _QUERY.items()},
            "responses": {str(status): problem for status, problem in problems.items()},
            "schemas": {"Problem": PROBLEM, "FeatureCollection": _FEATURES, "Feature": _FEATURE},
            "securitySchemes": SECURITY_SCHEMES,
        },
        "security": [{"key": []}, {}],
    }


def _build_paths(app: FastAPI) -> dict[str, dict[str, Any]]:
    paths: dict[str, dict[str, Any]] = {}
    for route in iter_routes(app.routes):
        if not isinstance(route, Route) or not route.path.startswith(PREFIX) or not route.include_in_schema:
            continue
        path = route.path.removeprefix(PREFIX)
        method = min(route.methods or ["GET"])
        if "{collection}" not in path:
            paths.setdefault(path, {})[method.lower()] = _build_operation(route, None)
            continue
        for collection in COLLECTIONS:
            if method == "GET" or method in collection.writes:
                literal = path.replace("{collection}", collection.id).replace("{feature}", "{featureId}")
                paths.setdefault(literal, {})[method.lower()] = _build_operation(route, collection)
    return paths


def _build_operation(route: Route, collection: Collection | None) -> dict[str, Any]:
    names = {"id": collection.id, "title": collection.title} if collection else {}
    declared = dict(route.openapi_extra or FORMAT_QUERY)
    if declared == PAGE_QUERY and collection is not None:
        queryable = [
            declared_property
            for declared_property in collection.visible_properties(reveal=False)
            if declared_property.queryable
        ]
        declared["parameters"] = [*declared["parameters"], *map(_build_property_parameter, queryable)]
    return {
        "operationId": (route.operation_id or "").format(**names),
        "tags": [collection.id if collection else "service"],
        "summary": (route.summary or "").format(**names),
        **declared,
        "responses": {
            str(status): _fill_in_description(response, names) for status, response in route.responses.items()
        },
    }


def _fill_in_description(response: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    if "description" not in response:
        return response
    return {**response, "description": response["description"].format(**names)}


def _build_property_parameter(declared_property: Property) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": declared_property.type if declared_property.type in _SIMPLE_TYPES else "string"}
    if declared_property.words and declared_property.type == "text":
        schema["enum"] = list(declared_property.words)
    description = declared_property.description or declared_property.title
    return _build_parameter(declared_property.name, f"{description} Several values, with commas: any of them.", schema)

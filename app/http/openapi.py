"""Parts of the API description that FastAPI does not see: bodies that are read raw, problems, security."""

from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from app.http.problems import MEDIA_TYPE, TITLES
from app.http.routing import iter_routes

_body_models: dict[str, type[BaseModel]] = {}

SECURITY_SCHEMES: Final = {"key": {"type": "http", "scheme": "bearer", "description": "API key: ccr_..."}}
PROBLEM: Final[dict[str, Any]] = {
    "type": "object",
    "title": "Problem",
    "description": "RFC 9457 problem details.",
    "required": ["type", "title", "status", "code", "detail", "request_id", "errors"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string", "description": "Stable machine code."},
        "detail": {"type": "string"},
        "instance": {"type": "string"},
        "request_id": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["pointer", "code", "message"],
                "properties": {
                    "pointer": {"type": "string", "description": "JSON Pointer (RFC 6901)."},
                    "code": {"type": "string"},
                    "message": {"type": "string"},
                },
            },
        },
    },
}
GEOJSON_CONTENT: Final[dict[str, Any]] = {"application/geo+json": {"schema": {"type": "object"}}}


def describe_problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the problem responses of a route; 503 is possible everywhere."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": TITLES[status], "content": content} for status in sorted({*statuses, 503})}


def describe_body(
    model: type[BaseModel], *, is_patch: bool = False, line_model: type[BaseModel] | None = None
) -> dict[str, Any]:
    """Return the request body of a route that reads it raw; with a ``line_model``, also newline-delimited JSON."""
    _body_models[model.__name__] = model
    content: dict[str, Any] = {"application/json": {"schema": _refer_to_schema(model)}}
    if is_patch:
        description = f"Members of {model.__name__} to change; null removes one."
        content = {"application/merge-patch+json": {"schema": {"type": "object", "description": description}}}
    if line_model is not None:
        _body_models[line_model.__name__] = line_model
        content["application/x-ndjson"] = {"schema": _refer_to_schema(line_model)}
    return {"requestBody": {"required": True, "content": content}}


def _refer_to_schema(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def build_openapi(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document of the native API, built once; ``/ogc/api`` describes the GIS interface."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title,
            version=app.version,
            description=app.description,
            routes=[route for route in iter_routes(app.routes) if not getattr(route, "path", "").startswith("/ogc")],
            tags=app.openapi_tags,
        )
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        _, bodies = models_json_schema(
            [(model, "validation") for model in _body_models.values()],
            ref_template="#/components/schemas/{model}",
        )
        for name, schema in bodies.get("$defs", {}).items():
            schemas.setdefault(name, schema)
        schemas["Problem"] = PROBLEM
        document["components"]["securitySchemes"] = SECURITY_SCHEMES
        document["security"] = [{"key": []}, {}]
        app.openapi_schema = document
    return app.openapi_schema

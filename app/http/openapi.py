"""What the API description says beyond what FastAPI sees: bodies read raw, problems, security."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from app.http.problems import MEDIA_TYPE, TITLES

_bodies: dict[str, type[BaseModel]] = {}

PROBLEM: dict[str, Any] = {
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


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the documented failures of a route; 503 is possible everywhere."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": TITLES[status], "content": content} for status in (*statuses, 503)}


def body_of(model: type[BaseModel], *, patch: bool = False, lines_of: type[BaseModel] | None = None) -> dict[str, Any]:
    """Return the request body of a route that reads its body raw; ``lines_of``: also NDJSON of it."""
    _bodies[model.__name__] = model
    reference = {"$ref": f"#/components/schemas/{model.__name__}"}
    if patch:
        schema: dict[str, Any] = {
            "type": "object",
            "description": f"Members of {model.__name__} to change; null removes one.",
        }
        content = {"application/merge-patch+json": {"schema": schema}}
    else:
        content = {"application/json": {"schema": reference}}
    if lines_of is not None:
        _bodies[lines_of.__name__] = lines_of
        line = {"$ref": f"#/components/schemas/{lines_of.__name__}"}
        content["application/x-ndjson"] = {"schema": line}
    return {"requestBody": {"required": True, "content": content}}


def describe(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document, made once."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title,
            version=app.version,
            description=app.description,
            routes=app.routes,
            tags=app.openapi_tags,
        )
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        _, extra = models_json_schema(
            [(model, "validation") for model in _bodies.values()],
            ref_template="#/components/schemas/{model}",
        )
        for name, schema in extra.get("$defs", {}).items():
            schemas.setdefault(name, schema)
        schemas["Problem"] = PROBLEM
        document["components"]["securitySchemes"] = {
            "key": {"type": "http", "scheme": "bearer", "description": "API key: ccr_..."}
        }
        document["security"] = [{"key": []}, {}]
        app.openapi_schema = document
    return app.openapi_schema

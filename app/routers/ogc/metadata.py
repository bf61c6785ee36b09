"""Descriptions of the GIS interface: landing page, conformance, API, collections and their schemas."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from fastapi import APIRouter, Response

from app.http.routing import Route
from app.ogc import documents, features
from app.ogc.documents import HTML, JSON, OPENAPI, SCHEMA
from app.routers.ogc.context import API_FORMATS, SCHEMA_FORMATS, OgcRequest, RequestDep
from app.routers.ogc.openapi import FORMAT_QUERY, PREFIX, build_api_document, describe_responses
from app.routers.ogc.pages import build_document_or_page

router = APIRouter(prefix=PREFIX, route_class=Route)
COLLECTION: Final = "/collections/{collection}"


@router.get("", include_in_schema=False)
@router.get(
    "/",
    operation_id="get_landing",
    summary="Landing page",
    responses=describe_responses("Landing page", JSON, HTML),
)
async def get_landing_page(request: RequestDep) -> Response:
    app = request.request.app
    document = documents.build_landing_page(request.base_url, app.title, app.description)
    return build_document_or_page(request, document, "landing.html")


@router.get(
    "/conformance",
    operation_id="get_conformance",
    summary="What the service conforms to",
    responses=describe_responses("What the service conforms to", JSON, HTML),
)
async def get_conformance(request: RequestDep) -> Response:
    return build_document_or_page(request, documents.build_conformance(), "conformance.html")


@router.get(
    "/functions",
    operation_id="get_functions",
    summary="Functions in filters",
    responses=describe_responses("Functions in filters", JSON, HTML),
)
async def list_functions(request: RequestDep) -> Response:
    return build_document_or_page(request, documents.build_functions(), "functions.html")


@router.get(
    "/api",
    operation_id="get_api",
    summary="This document",
    responses=describe_responses("This document", OPENAPI, HTML),
)
async def get_api(request: RequestDep) -> Response:
    document = build_api_document(request.request.app, request.base_url)
    return build_document_or_page(request, document, "api.html", formats=API_FORMATS, lenient=True)


@router.get(
    "/collections",
    operation_id="get_collections",
    summary="The collections",
    responses=describe_responses("The collections", JSON, HTML),
)
async def list_collections(request: RequestDep) -> Response:
    visible = features.list_readable_collections(request.principal)
    extent = await request.features.fetch_extent(request.principal)
    document = documents.build_collection_list(request.base_url, visible, extent)
    return build_document_or_page(request, document, "collections.html")


@router.get(
    COLLECTION,
    operation_id="get_collections_{id}",
    summary="About {title}",
    responses=describe_responses("About {title}", JSON, HTML, problems=[403]),
)
async def get_collection(request: RequestDep) -> Response:
    collection = features.find_collection(request.path["collection"], request.principal)
    extent = await request.features.fetch_extent(request.principal)
    document = documents.build_collection(request.base_url, collection, extent)
    return build_document_or_page(request, document, "collection.html")


def _create_schema_endpoint(
    heading: str, build_schema: Callable[..., dict[str, Any]]
) -> Callable[[OgcRequest], Awaitable[Response]]:
    """Return the endpoint of one kind of schema of a collection."""

    async def get_schema(request: RequestDep) -> Response:
        collection = features.find_collection(request.path["collection"], request.principal)
        document = build_schema(request.base_url, collection, reveal=request.principal.sees_restricted)
        members = document["properties"]
        if build_schema is documents.build_feature_schema:
            members = members["properties"]["properties"]
        return build_document_or_page(
            request,
            document,
            "schema.html",
            formats=SCHEMA_FORMATS,
            collection=collection,
            members=members,
            heading=heading,
        )

    return get_schema


for _name, _heading, _build in (
    ("schema", "schema", documents.build_schema),
    ("schema/feature", "schema of a GeoJSON Feature", documents.build_feature_schema),
    ("queryables", "what filters may name", documents.build_queryables),
    ("sortables", "what sorts", documents.build_sortables),
):
    _summary = f"{_name.partition('/')[0].capitalize()} of {{title}}"
    router.add_api_route(
        f"{COLLECTION}/{_name}",
        _create_schema_endpoint(_heading, _build),
        operation_id=f"get_collections_{{id}}_{_name.replace('/', '_')}",
        summary=_summary,
        responses=describe_responses(_summary, SCHEMA, HTML, problems=[403]),
        openapi_extra=FORMAT_QUERY,
    )

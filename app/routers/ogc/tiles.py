"""Vector tiles of the GIS interface, their tile sets, the styles, and the QGIS project."""

from typing import Any, Final

from fastapi import APIRouter, Response

from app.errors import NotFound
from app.http.routing import Route
from app.ogc import documents, features, qgis
from app.ogc.collection_model import Collection
from app.ogc.documents import HTML, JSON
from app.ogc.tiles import TileAddress, TileService, find_matrix_set
from app.routers.ogc.context import DOCUMENT_FORMATS, OgcRequest, PlainRequestDep, RequestDep, choose_media_type
from app.routers.ogc.metadata import COLLECTION
from app.routers.ogc.openapi import PREFIX
from app.routers.ogc.pages import PRIVATE_HEADERS, build_document, build_document_or_page, render_page

router = APIRouter(prefix=PREFIX, route_class=Route, include_in_schema=False)
_TILESETS: Final = f"{COLLECTION}/tiles"
_MATRIX_SETS: Final = "/tileMatrixSets"
_PROJECT_MEDIA_TYPE: Final = "application/x-qgis-project"
_SUFFIXES: Final = (".mvt", ".pbf")


@router.get(f"{_TILESETS}/{{matrices}}/{{matrix}}/{{row}}/{{column}}")
async def get_tile(request: PlainRequestDep) -> Response:
    service: TileService = request.request.app.state.tiles
    known_etag = request.request.headers.get("if-none-match", "")
    matrices, address = request.path["matrices"], _parse_tile_address(request)
    tile = await service.fetch_tile(_find_collection(request), matrices, address, request.principal, known_etag)
    if tile is None:
        return Response(None, 304, {**PRIVATE_HEADERS, "ETag": known_etag})
    headers = {**PRIVATE_HEADERS, "ETag": tile.etag}
    if not tile.body:
        return Response(None, 204, headers)
    return Response(tile.body, 200, headers, documents.MVT)


@router.get(_TILESETS)
async def list_tilesets(request: RequestDep) -> Response:
    collection = _find_collection(request)
    extent = await request.features.fetch_extent(request.principal)
    document = documents.build_tileset_list(request.base_url, collection, extent)
    return _build_tilesets(request, collection, document, document["tilesets"])


@router.get(f"{_TILESETS}/{{matrices}}")
async def get_tileset(request: RequestDep) -> Response:
    collection, matrices = _find_collection(request), find_matrix_set(request.path["matrices"])
    extent = await request.features.fetch_extent(request.principal)
    document = documents.build_tileset(request.base_url, collection, matrices, extent)
    return _build_tilesets(request, collection, document, [document])


@router.get(f"{_TILESETS}/{{matrices}}/tilejson.json")
async def get_tilejson(request: RequestDep) -> Response:
    collection, matrices = _find_collection(request), find_matrix_set(request.path["matrices"])
    extent = await request.features.fetch_extent(request.principal)
    return build_document(documents.build_tilejson(request.base_url, collection, matrices, extent), JSON)


@router.get(_MATRIX_SETS)
async def list_matrix_sets(request: RequestDep) -> Response:
    request.principal.require_role("reader")
    return build_document_or_page(request, documents.build_matrix_set_list(request.base_url), "matrix_sets.html")


@router.get(f"{_MATRIX_SETS}/{{matrices}}")
async def get_matrix_set(request: RequestDep) -> Response:
    request.principal.require_role("reader")
    return build_document_or_page(
        request, find_matrix_set(request.path["matrices"]).build_document(), "matrix_set.html"
    )


@router.get(f"{COLLECTION}/style.qml")
async def get_style(request: PlainRequestDep) -> Response:
    collection = _find_collection(request)
    style = qgis.render_style(collection.id)
    if style is None:
        raise NotFound("style", collection.id)
    return Response(style, 200, dict(PRIVATE_HEADERS), "application/xml")


@router.get("/qgis.qgs")
async def get_qgis_project(request: PlainRequestDep) -> Response:
    collections = [collection.id for collection in features.list_readable_collections(request.principal)]
    project = qgis.render_project(request.base_url, request.principal, collections)
    headers = {**PRIVATE_HEADERS, "Content-Disposition": 'attachment; filename="coverage.qgs"'}
    return Response(project, 200, headers, _PROJECT_MEDIA_TYPE)


def _find_collection(request: OgcRequest) -> Collection:
    return features.find_collection(request.path["collection"], request.principal)


def _build_tilesets(
    request: OgcRequest, collection: Collection, document: Any, tilesets: list[dict[str, Any]]
) -> Response:
    if choose_media_type(request, DOCUMENT_FORMATS) == HTML:
        return render_page("tilesets.html", base=request.base_url, collection=collection, tilesets=tilesets)
    return build_document(document)


def _parse_tile_address(request: OgcRequest) -> TileAddress:
    """Return matrix, row and column; raise NotFound when one of them is not a number."""
    texts = [request.path["matrix"], request.path["row"], request.path["column"]]
    for suffix in _SUFFIXES:
        texts[2] = texts[2].removesuffix(suffix)
    if not all(text.isascii() and text.isdigit() and len(text) < 10 for text in texts):
        raise NotFound("tile", "/".join(texts)[:80])
    matrix, row, column = map(int, texts)
    return matrix, row, column

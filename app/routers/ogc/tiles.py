"""Vector tiles of the GIS interface, the tile sets they make up, and the QGIS project."""

from typing import Any, Final

from starlette.responses import Response

from app.errors import NotFound
from app.http.asgi_routes import Call, LeanRoute
from app.ogc import features, qgis
from app.ogc import tile_documents as documents
from app.ogc.collection_model import Collection
from app.ogc.documents import HTML, JSON
from app.ogc.tiles import Place, Tiles, matrix_set
from app.routers.ogc import negotiation
from app.routers.ogc.metadata import ONLY_FORMAT, base, service

_PROJECT: Final = "application/x-qgis-project"
_SUFFIXES: Final = (".mvt", ".pbf")


def _collection(call: Call) -> Collection:
    return features.named(call.path["collection"], call.who)


async def matrix_sets(call: Call) -> Response:
    call.who.need("reader")
    told = documents.matrix_sets(base(call))
    if negotiation.chosen(call, negotiation.DOCUMENT) == HTML:
        return negotiation.page("matrix_sets.html", base=base(call), told=told)
    return negotiation.document(told)


async def matrices(call: Call) -> Response:
    call.who.need("reader")
    told = matrix_set(call.path["matrices"]).document()
    if negotiation.chosen(call, negotiation.DOCUMENT) == HTML:
        return negotiation.page("matrix_set.html", base=base(call), told=told)
    return negotiation.document(told)


async def tilesets(call: Call) -> Response:
    known = _collection(call)
    extent = await service(call).extent(call.who)
    told = documents.tilesets(base(call), known, extent)
    if negotiation.chosen(call, negotiation.DOCUMENT) == HTML:
        return _page(call, known, told["tilesets"])
    return negotiation.document(told)


async def tileset(call: Call) -> Response:
    known, found = _collection(call), matrix_set(call.path["matrices"])
    extent = await service(call).extent(call.who)
    told = documents.tileset(base(call), known, found, extent)
    if negotiation.chosen(call, negotiation.DOCUMENT) == HTML:
        return _page(call, known, [told])
    return negotiation.document(told)


def _page(call: Call, known: Collection, sets: list[dict[str, Any]]) -> Response:
    return negotiation.page("tilesets.html", base=base(call), collection=known, tilesets=sets)


async def tilejson(call: Call) -> Response:
    known, found = _collection(call), matrix_set(call.path["matrices"])
    extent = await service(call).extent(call.who)
    return negotiation.document(documents.tilejson(base(call), known, found, extent), JSON)


async def tile(call: Call) -> Response:
    tiles: Tiles = call.request.app.state.tiles
    known = call.request.headers.get("if-none-match", "")
    found = await tiles.tile(_collection(call), call.path["matrices"], _place(call), call.who, known)
    headers = dict(negotiation.PRIVATE)
    if found is None:
        return Response(None, 304, headers | {"ETag": known})
    headers["ETag"] = found.etag
    if not found.body:
        return Response(None, 204, headers)
    return Response(found.body, 200, headers, documents.MVT)


def _place(call: Call) -> Place:
    """Return matrix, row and column; what is no number is no tile."""
    words = [call.path["matrix"], call.path["row"], call.path["column"]]
    for suffix in _SUFFIXES:
        words[2] = words[2].removesuffix(suffix)
    if not all(word.isascii() and word.isdigit() and len(word) < 10 for word in words):
        raise NotFound("tile", "/".join(words)[:80])
    matrix, row, column = map(int, words)
    return matrix, row, column


async def project(call: Call) -> Response:
    served = [known.id for known in features.known_to(call.who)]
    made = qgis.project(base(call), call.who, served)
    headers = negotiation.PRIVATE | {"Content-Disposition": 'attachment; filename="coverage.qgs"'}
    return Response(made, 200, headers, _PROJECT)


async def style(call: Call) -> Response:
    known = _collection(call)
    made = qgis.style_document(known.id)
    if made is None:
        raise NotFound("style", known.id)
    return Response(made, 200, dict(negotiation.PRIVATE), "application/xml")


_TILES: Final = "/ogc/collections/{collection}/tiles"
_NOTHING: Final[frozenset[str]] = frozenset()

ROUTES: list[LeanRoute] = [
    LeanRoute(path, handler, parameters=parameters)
    for path, handler, parameters in (
        (f"{_TILES}/{{matrices}}/{{matrix}}/{{row}}/{{column}}", tile, _NOTHING),
        (_TILES, tilesets, ONLY_FORMAT),
        (f"{_TILES}/{{matrices}}", tileset, ONLY_FORMAT),
        (f"{_TILES}/{{matrices}}/tilejson.json", tilejson, ONLY_FORMAT),
        ("/ogc/tileMatrixSets", matrix_sets, ONLY_FORMAT),
        ("/ogc/tileMatrixSets/{matrices}", matrices, ONLY_FORMAT),
        ("/ogc/collections/{collection}/style.qml", style, _NOTHING),
        ("/ogc/qgis.qgs", project, _NOTHING),
    )
]

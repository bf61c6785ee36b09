"""Vector tiles of the GIS interface, the tile sets they make up, and the QGIS project."""

from typing import Any, Final

from starlette.responses import Response

from app.errors import NotFound
from app.routers.lean import Call, LeanRoute
from app.routers.ogc import formats
from app.routers.ogc.described import ONLY_FORMAT, base, service
from app.schemas import tiles as documents
from app.schemas.collections import Collection
from app.schemas.ogc import HTML, JSON
from app.services.ogc import features, qgis
from app.services.ogc.tiles import Place, Tiles, matrix_set

_PROJECT: Final = "application/x-qgis-project"
_SUFFIXES: Final = (".mvt", ".pbf")


def _collection(call: Call) -> Collection:
    return features.named(call.path["collection"], call.who)


async def matrix_sets(call: Call) -> Response:
    call.who.need("reader")
    told = documents.matrix_sets(base(call))
    if formats.chosen(call, formats.DOCUMENT) == HTML:
        return formats.page("matrix_sets.html", base=base(call), told=told)
    return formats.document(told)


async def matrices(call: Call) -> Response:
    call.who.need("reader")
    told = matrix_set(call.path["matrices"]).document()
    if formats.chosen(call, formats.DOCUMENT) == HTML:
        return formats.page("matrix_set.html", base=base(call), told=told)
    return formats.document(told)


async def tilesets(call: Call) -> Response:
    known = _collection(call)
    extent = await service(call).extent(call.who)
    told = documents.tilesets(base(call), known, extent)
    if formats.chosen(call, formats.DOCUMENT) == HTML:
        return _page(call, known, told["tilesets"])
    return formats.document(told)


async def tileset(call: Call) -> Response:
    known, found = _collection(call), matrix_set(call.path["matrices"])
    extent = await service(call).extent(call.who)
    told = documents.tileset(base(call), known, found, extent)
    if formats.chosen(call, formats.DOCUMENT) == HTML:
        return _page(call, known, [told])
    return formats.document(told)


def _page(call: Call, known: Collection, sets: list[dict[str, Any]]) -> Response:
    return formats.page("tilesets.html", base=base(call), collection=known, tilesets=sets)


async def tilejson(call: Call) -> Response:
    known, found = _collection(call), matrix_set(call.path["matrices"])
    extent = await service(call).extent(call.who)
    return formats.document(documents.tilejson(base(call), known, found, extent), JSON)


async def tile(call: Call) -> Response:
    tiles: Tiles = call.request.app.state.tiles
    known = call.request.headers.get("if-none-match", "")
    found = await tiles.tile(
        _collection(call), call.path["matrices"], _place(call), call.who, known
    )
    headers = dict(formats.PRIVATE)
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
    headers = formats.PRIVATE | {"Content-Disposition": 'attachment; filename="coverage.qgs"'}
    return Response(made, 200, headers, _PROJECT)


async def style(call: Call) -> Response:
    known = _collection(call)
    made = qgis.style_document(known.id)
    if made is None:
        raise NotFound("style", known.id)
    return Response(made, 200, dict(formats.PRIVATE), "application/xml")


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

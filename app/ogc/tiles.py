"""Vector tiles: made once for each state of the registry and each scope, then given from memory.

A tile is kept under everything it depends on: the revisions of the jurisdictions its reader may see,
and for what ages without a write, the half minute. So two readers with different rights never share a
tile, and an outdated one is never given again.
"""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import anyio
import orjson
import shapely

from app.access.roles import Principal
from app.analysis.service import AnalysisService
from app.db.engine import Database
from app.errors import BadQuery, NotFound
from app.geo.projection.tile_matrix import MATRIX_SETS, TileMatrixSet
from app.ogc.analysis_features import MOST_JURISDICTIONS, SOURCES
from app.ogc.collection_model import Collection
from app.ogc.queries import features as feature_queries
from app.ogc.queries import tiles as tile_queries

AGES_WITHIN_S: Final = 30
"""What changes by time passing shows on tiles after this time at the latest."""
_KEPT_BYTES: Final = 64 * 2**20
_KEPT_ANSWERS: Final = 64
Place = tuple[int, int, int]
"""Matrix, row, column."""


@dataclass(frozen=True)
class Given:
    """A tile and the entity tag it is known by; no bytes when nothing lies there."""

    etag: str
    body: bytes


@dataclass(frozen=True)
class _Drawn:
    """An answer as it is drawn: its shapes, found by place, and what is told about each."""

    answer: bytes
    shapes: Sequence[bytes]
    properties: Sequence[str]
    tree: shapely.STRtree


class Tiles:
    """The tiles of one process."""

    def __init__(self, database: Database, answers: AnalysisService) -> None:
        self._database = database
        self._answers = answers
        self._drawn: OrderedDict[tuple[str, str], _Drawn] = OrderedDict()
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._size = 0

    async def tile(
        self, collection: Collection, matrices: str, place: Place, who: Principal, known: str
    ) -> Given | None:
        """Return one tile, or None when its entity tag is among those ``known`` to the caller.

        Raises
        ------
        NotFound
            when there is no such matrix set or tile.
        """
        found = matrix_set(matrices)
        if not found.has_tile(*place):
            raise NotFound("tile", "/".join(map(str, place)))
        scope = who.scope(collection.role)
        etag = await self._tag(collection, matrices, place, scope)
        if etag in known:
            return None
        if etag in self._kept:
            self._kept.move_to_end(etag)
            return Given(etag, self._kept[etag])
        body = await self._make(collection, tile_queries.Tile(found, *place, scope), who)
        self._keep(etag, body)
        return Given(etag, body)

    async def _tag(self, collection: Collection, matrices: str, place: Place, scope: list[str] | None) -> str:
        """Return the entity tag: a digest of all the tile depends on."""
        ages = collection.answer or any(known.timely for known in collection.properties)
        moment = int(time.time()) // AGES_WITHIN_S if ages else 0
        pulse = await tile_queries.pulse(self._database.fetch, scope)
        parts = (collection.id, matrices, place, scope, moment, pulse)
        return f'"{hashlib.blake2b(repr(parts).encode(), digest_size=12).hexdigest()}"'

    async def _make(self, collection: Collection, tile: tile_queries.Tile, who: Principal) -> bytes:
        fetch = self._database.fetch
        if collection.kind is not None:
            return await tile_queries.of_kind(fetch, collection.kind, tile)
        if not collection.answer:
            return await tile_queries.of_rings(fetch, tile)
        owners = await feature_queries.jurisdictions(fetch, tile.scope)
        if len(owners) > MOST_JURISDICTIONS:
            raise BadQuery(
                f"This is computed for at most {MOST_JURISDICTIONS} jurisdictions at once.",
                parameter="",
                code="bad-query",
            )
        shapes: list[bytes] = []
        properties: list[str] = []
        box = shapely.box(*tile_queries.degrees(tile))
        for owner in owners:
            drawn = await self._of_answer(collection.id, owner, who)
            rows = drawn.tree.query(box)
            shapes += [drawn.shapes[row] for row in rows]
            properties += [drawn.properties[row] for row in rows]
        return await tile_queries.of_features(fetch, collection.id, tile, shapes, properties)

    async def _of_answer(self, collection: str, jurisdiction: str, who: Principal) -> _Drawn:
        answer = await SOURCES[collection](self._answers, jurisdiction, who)
        kept = self._drawn.get((collection, jurisdiction))
        if kept is not None and kept.answer is answer:
            return kept
        drawn = await anyio.to_thread.run_sync(_drawn, answer, jurisdiction)
        self._drawn[collection, jurisdiction] = drawn
        while len(self._drawn) > _KEPT_ANSWERS:
            self._drawn.popitem(last=False)
        return drawn

    def _keep(self, etag: str, body: bytes) -> None:
        if etag in self._kept:
            return  # another request made it meanwhile
        self._kept[etag] = body
        self._size += len(body) + len(etag)
        while self._size > _KEPT_BYTES:
            gone, old = self._kept.popitem(last=False)
            self._size -= len(old) + len(gone)


def _drawn(answer: bytes, jurisdiction: str) -> _Drawn:
    """Return an answer as it is drawn: a tile holds plain values, nothing nested."""
    features = orjson.loads(answer)["features"]
    shapes = shapely.from_geojson([orjson.dumps(found["geometry"]) for found in features])
    told = [_told(found, jurisdiction) for found in features]
    return _Drawn(answer, shapely.to_wkb(shapes).tolist(), told, shapely.STRtree(shapes))


def _told(feature: dict[str, Any], jurisdiction: str) -> str:
    plain = {
        name: value
        for name, value in feature["properties"].items()
        if value is not None and not isinstance(value, dict | list)
    }
    plain |= {"code": str(feature["id"]), "jurisdiction": jurisdiction}
    return orjson.dumps(plain).decode()


def matrix_set(name: str) -> TileMatrixSet:
    """Return a tile matrix set.

    Raises
    ------
    NotFound
        when there is none of this name.
    """
    if name not in MATRIX_SETS:
        raise NotFound("tile matrix set", name[:80])
    return MATRIX_SETS[name]

"""Vector tiles: built once per registry revision and scope, then served from memory.

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
from app.ogc.analysis_features import MAX_JURISDICTIONS, SOURCES
from app.ogc.collection_model import Collection
from app.ogc.queries import features as feature_queries
from app.ogc.queries import tiles as tile_queries

AGES_WITHIN_S: Final = 30
"""What changes by time passing shows on tiles after this time at the latest."""
_KEPT_BYTES: Final = 64 * 2**20
_KEPT_ANSWERS: Final = 64
TileAddress = tuple[int, int, int]
"""Matrix, row, column."""


@dataclass(frozen=True)
class TileResponse:
    """A tile and its entity tag; the body is empty when nothing is in the tile."""

    etag: str
    body: bytes


@dataclass(frozen=True)
class _AnswerLayer:
    """A result prepared for tiles: its geometries with a spatial index, and the properties of each."""

    answer: bytes
    shapes: Sequence[bytes]
    properties: Sequence[str]
    tree: shapely.STRtree


class TileService:
    """Builds and caches the tiles of one process."""

    def __init__(self, database: Database, service: AnalysisService) -> None:
        self._database = database
        self._service = service
        self._drawn: OrderedDict[tuple[str, str], _AnswerLayer] = OrderedDict()
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._size = 0

    async def fetch_tile(
        self, collection: Collection, matrices: str, address: TileAddress, principal: Principal, known_tags: str
    ) -> TileResponse | None:
        """Return one tile, None when its entity tag is among the ``known_tags`` of the caller.

        Raises
        ------
        NotFound
            when there is no such matrix set or tile.
        """
        drawn = find_matrix_set(matrices)
        if not drawn.has_tile(*address):
            raise NotFound("tile", "/".join(map(str, address)))
        scope = principal.require_scope(collection.role)
        etag = await self.compute_etag(collection, matrices, address, scope)
        if etag in known_tags:
            return None
        if etag in self._kept:
            self._kept.move_to_end(etag)
            return TileResponse(etag, self._kept[etag])
        body = await self.build_tile(collection, tile_queries.TileQuery(drawn, *address, scope), principal)
        self._cache_tile(etag, body)
        return TileResponse(etag, body)

    async def compute_etag(
        self, collection: Collection, matrices: str, address: TileAddress, scope: list[str] | None
    ) -> str:
        """Return the entity tag: a digest of all the tile depends on."""
        ages = collection.answer or any(known_tags.timely for known_tags in collection.properties)
        moment = int(time.time()) // AGES_WITHIN_S if ages else 0
        pulse = await tile_queries.fetch_change_marker(self._database.fetch, scope)
        digest_parts = (collection.id, matrices, address, scope, moment, pulse)
        return f'"{hashlib.blake2b(repr(digest_parts).encode(), digest_size=12).hexdigest()}"'

    async def build_tile(self, collection: Collection, tile: tile_queries.TileQuery, principal: Principal) -> bytes:
        """Return the bytes of a tile."""
        fetch = self._database.fetch
        if collection.kind is not None:
            return await tile_queries.fetch_kind_tile(fetch, collection.kind, tile)
        if not collection.answer:
            return await tile_queries.fetch_ring_tile(fetch, tile)
        owners = await feature_queries.fetch_jurisdictions(fetch, tile.scope)
        if len(owners) > MAX_JURISDICTIONS:
            raise BadQuery(
                f"This is computed for at most {MAX_JURISDICTIONS} jurisdictions at once.",
                parameter="",
                code="bad-query",
            )
        shapes: list[bytes] = []
        properties: list[str] = []
        box = shapely.box(*tile_queries.compute_tile_bounds(tile))
        for owner in owners:
            drawn = await self.load_answer_layer(collection.id, owner, principal)
            rows = drawn.tree.query(box)
            shapes += [drawn.shapes[row] for row in rows]
            properties += [drawn.properties[row] for row in rows]
        return await tile_queries.build_feature_tile(fetch, collection.id, tile, shapes, properties)

    async def load_answer_layer(self, collection: str, jurisdiction: str, principal: Principal) -> _AnswerLayer:
        """Return the layer of a result, from the cache while the result is unchanged."""
        answer = await SOURCES[collection](self._service, jurisdiction, principal)
        cached = self._drawn.get((collection, jurisdiction))
        if cached is not None and cached.answer is answer:
            return cached
        drawn = await anyio.to_thread.run_sync(build_answer_layer, answer, jurisdiction)
        self._drawn[collection, jurisdiction] = drawn
        while len(self._drawn) > _KEPT_ANSWERS:
            self._drawn.popitem(last=False)
        return drawn

    def _cache_tile(self, etag: str, body: bytes) -> None:
        if etag in self._kept:
            return  # another request made it meanwhile
        self._kept[etag] = body
        self._size += len(body) + len(etag)
        while self._size > _KEPT_BYTES:
            removed, old = self._kept.popitem(last=False)
            self._size -= len(old) + len(removed)


def build_answer_layer(answer: bytes, jurisdiction: str) -> _AnswerLayer:
    """Return a result prepared for tiles: tiles hold plain values without nesting."""
    features = orjson.loads(answer)["features"]
    shapes = shapely.from_geojson([orjson.dumps(drawn["geometry"]) for drawn in features])
    features_value = [encode_properties(drawn, jurisdiction) for drawn in features]
    return _AnswerLayer(answer, shapely.to_wkb(shapes).tolist(), features_value, shapely.STRtree(shapes))


def encode_properties(feature: dict[str, Any], jurisdiction: str) -> str:
    """Return the properties of a feature as JSON text."""
    values = {
        name: value
        for name, value in feature["properties"].items()
        if value is not None and not isinstance(value, dict | list)
    }
    values |= {"code": str(feature["id"]), "jurisdiction": jurisdiction}
    return orjson.dumps(values).decode()


def find_matrix_set(name: str) -> TileMatrixSet:
    """Return a tile matrix set by its name.

    Raises
    ------
    NotFound
        when there is none of this name.
    """
    if name not in MATRIX_SETS:
        raise NotFound("tile matrix set", name[:80])
    return MATRIX_SETS[name]

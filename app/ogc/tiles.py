"""Vector tiles, cached in memory for each registry revision and scope.

The key of a cached tile contains everything that the tile depends on: the revisions of the jurisdictions in the
scope of the client and, for properties that depend on the time, the half minute. So clients with different scopes
never share a tile, and an outdated tile is never served.
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
from app.messages import Message
from app.ogc.analysis_features import MAX_JURISDICTIONS, SOURCES
from app.ogc.collection_model import Collection
from app.ogc.queries import features as feature_queries
from app.ogc.queries import tiles as tile_queries

AGES_WITHIN_S: Final = 30
"""Greatest age of properties that change with time, such as stale states."""
_CACHE_BYTES: Final = 64 * 2**20
_CACHED_LAYERS: Final = 64
TileAddress = tuple[int, int, int]
"""Matrix, row, column."""


@dataclass(frozen=True)
class TileResponse:
    """A tile and its entity tag; the body is empty if the tile has no features."""

    etag: str
    body: bytes


@dataclass(frozen=True)
class _ResultLayer:
    """A result prepared for tiles: its geometries with a spatial index, and the properties of each."""

    result: bytes
    shapes: Sequence[bytes]
    properties: Sequence[str]
    tree: shapely.STRtree


class TileService:
    """Builds and caches the tiles of one process."""

    def __init__(self, database: Database, service: AnalysisService) -> None:
        self._database = database
        self._service = service
        self._layers: OrderedDict[tuple[str, str], _ResultLayer] = OrderedDict()
        self._tiles: OrderedDict[str, bytes] = OrderedDict()
        self._size = 0

    async def fetch_tile(
        self, collection: Collection, matrices: str, address: TileAddress, principal: Principal, known_tags: str
    ) -> TileResponse | None:
        """Return one tile; None if its entity tag is among the ``known_tags`` of the client.

        Raises
        ------
        NotFound
            if the matrix set or the tile does not exist.
        """
        matrix_set = find_matrix_set(matrices)
        if not matrix_set.has_tile(*address):
            raise NotFound("tile", "/".join(map(str, address)))
        scope = principal.require_scope(collection.role)
        etag = await self.compute_etag(collection, matrices, address, scope)
        if etag in known_tags:
            return None
        if etag in self._tiles:
            self._tiles.move_to_end(etag)
            return TileResponse(etag, self._tiles[etag])
        body = await self.build_tile(collection, tile_queries.TileQuery(matrix_set, *address, scope), principal)
        self._cache_tile(etag, body)
        return TileResponse(etag, body)

    async def compute_etag(
        self, collection: Collection, matrices: str, address: TileAddress, scope: list[str] | None
    ) -> str:
        """Return the entity tag: a digest of everything that the tile depends on."""
        ages = collection.computed or any(field.timely for field in collection.properties)
        moment = int(time.time()) // AGES_WITHIN_S if ages else 0
        marker = await tile_queries.fetch_change_marker(self._database.fetch, scope)
        digest_parts = (collection.id, matrices, address, scope, moment, marker)
        return f'"{hashlib.blake2b(repr(digest_parts).encode(), digest_size=12).hexdigest()}"'

    async def build_tile(self, collection: Collection, tile: tile_queries.TileQuery, principal: Principal) -> bytes:
        """Return the bytes of a tile."""
        fetch = self._database.fetch
        if collection.kind is not None:
            return await tile_queries.fetch_kind_tile(fetch, collection.kind, tile)
        if not collection.computed:
            return await tile_queries.fetch_ring_tile(fetch, tile)
        owners = await feature_queries.fetch_jurisdictions(fetch, tile.scope)
        if len(owners) > MAX_JURISDICTIONS:
            raise BadQuery(
                Message(
                    "This collection is computed for at most {limit} jurisdictions at once. "
                    "Use a key with fewer jurisdictions.",
                    limit=MAX_JURISDICTIONS,
                ),
                parameter="",
                code="bad-query",
            )
        shapes: list[bytes] = []
        properties: list[str] = []
        box = shapely.box(*tile_queries.compute_tile_bounds(tile))
        for owner in owners:
            layer = await self.load_result_layer(collection.id, owner, principal)
            rows = layer.tree.query(box)
            shapes += [layer.shapes[row] for row in rows]
            properties += [layer.properties[row] for row in rows]
        return await tile_queries.build_feature_tile(fetch, collection.id, tile, shapes, properties)

    async def load_result_layer(self, collection: str, jurisdiction: str, principal: Principal) -> _ResultLayer:
        """Return the layer of a result, from the cache while the result is unchanged."""
        result = await SOURCES[collection](self._service, jurisdiction, principal)
        cached = self._layers.get((collection, jurisdiction))
        if cached is not None and cached.result is result:
            return cached
        layer = await anyio.to_thread.run_sync(build_result_layer, result, jurisdiction)
        self._layers[collection, jurisdiction] = layer
        while len(self._layers) > _CACHED_LAYERS:
            self._layers.popitem(last=False)
        return layer

    def _cache_tile(self, etag: str, body: bytes) -> None:
        if etag in self._tiles:
            return  # a concurrent request built it
        self._tiles[etag] = body
        self._size += len(body) + len(etag)
        while self._size > _CACHE_BYTES:
            old_etag, old_body = self._tiles.popitem(last=False)
            self._size -= len(old_body) + len(old_etag)


def build_result_layer(result: bytes, jurisdiction: str) -> _ResultLayer:
    """Return a result prepared for tiles: tiles hold plain values without nesting."""
    features = orjson.loads(result)["features"]
    shapes = shapely.from_geojson([orjson.dumps(feature["geometry"]) for feature in features])
    properties = [encode_properties(feature, jurisdiction) for feature in features]
    return _ResultLayer(result, shapely.to_wkb(shapes).tolist(), properties, shapely.STRtree(shapes))


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
        if no set has this name.
    """
    if name not in MATRIX_SETS:
        raise NotFound("tile matrix set", name[:80])
    return MATRIX_SETS[name]

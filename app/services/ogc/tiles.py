"""Vector tiles: made once for each state of the registry and each scope, then given from memory.

A tile is kept under everything it depends on: the revisions of the jurisdictions its reader may see,
and for devices the half minute, because a device goes stale without a write. So two readers with
different rights never share a tile, and an outdated one is never given again.
"""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import orjson

from app.db.engine import Database, Fetch
from app.errors import NotFound
from app.geo.tiling import DEEPEST, MATRIX_SETS, Box, MatrixSet
from app.registry import tiles as registry
from app.schemas.kinds import KINDS
from app.services.access import Principal, Role

STALE_SHOWS_WITHIN_S: Final = 30
"""A device that went stale reads so on tiles after this time at the latest."""
_KEPT_BYTES: Final = 64 * 2**20
_SHAPED: Final = {kind.plural: kind for kind in KINDS if kind.shaped}

Features = Callable[[Principal], Awaitable[list[tuple[bytes, dict[str, Any]]]]]
"""Gives the features of an analysis a caller may see: WKB in degrees, and properties."""


@dataclass(frozen=True)
class Analysis:
    """A layer whose features are computed, not stored."""

    features: Features
    role: Role = "analyst"


@dataclass(frozen=True)
class Given:
    """A tile and the entity tag it is known by; no bytes when nothing lies there."""

    etag: str
    body: bytes


class Tiles:
    """The tiles of one process."""

    def __init__(self, database: Database, analyses: dict[str, Analysis] | None = None) -> None:
        self._database = database
        self._analyses = analyses or {}
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._size = 0

    def layers(self) -> list[str]:
        """Return the names of all layers."""
        return [*_SHAPED, "rings", *self._analyses]

    async def tile(
        self,
        layer: str,
        matrices: str,
        place: tuple[int, int, int],
        who: Principal,
        *,
        known: str | None = None,
    ) -> Given | None:
        """Return one tile; ``place`` is matrix, row, column. None: it is the one ``known`` names.

        Raises
        ------
        NotFound
            when there is no such layer, matrix set or tile.
        """
        scope = who.scope(self._role(layer))
        found = matrix_set(matrices)
        if not found.has(*place):
            raise NotFound("tile", "/".join(map(str, place)))
        fetch = self._database.fetch
        etag = await self._tag(fetch, layer, matrices, place, scope)
        if known is not None and etag in known:
            return None
        if etag in self._kept:
            self._kept.move_to_end(etag)
            return Given(etag, self._kept[etag])
        body = await self._make(fetch, layer, registry.Tile(found, *place, scope), who)
        self._keep(etag, body)
        return Given(etag, body)

    def _role(self, layer: str) -> Role:
        if layer in _SHAPED or layer == "rings":
            return "reader"
        if layer not in self._analyses:
            raise NotFound("collection", layer)
        return self._analyses[layer].role

    async def _tag(
        self,
        fetch: Fetch,
        layer: str,
        matrices: str,
        place: tuple[int, int, int],
        scope: list[str] | None,
    ) -> str:
        """Return the entity tag: a digest of all the tile depends on."""
        ages = layer in self._analyses or (layer in _SHAPED and _SHAPED[layer].device)
        moment = int(time.time()) // STALE_SHOWS_WITHIN_S if ages else 0
        parts = (layer, matrices, place, scope, moment, await registry.pulse(fetch, scope))
        return '"' + hashlib.blake2b(repr(parts).encode(), digest_size=12).hexdigest() + '"'

    async def _make(self, fetch: Fetch, layer: str, tile: registry.Tile, who: Principal) -> bytes:
        if layer in _SHAPED:
            return await registry.of_kind(fetch, _SHAPED[layer], tile)
        if layer == "rings":
            return await registry.of_rings(fetch, tile)
        features = await self._analyses[layer].features(who)
        shapes = [shape for shape, _ in features]
        properties = [orjson.dumps(told).decode() for _, told in features]
        return await registry.of_features(fetch, layer, tile, shapes, properties)

    def _keep(self, etag: str, body: bytes) -> None:
        if etag in self._kept:
            return  # another request made it meanwhile
        self._kept[etag] = body
        self._size += len(body) + len(etag)
        while self._size > _KEPT_BYTES:
            gone, old = self._kept.popitem(last=False)
            self._size -= len(old) + len(gone)


def matrix_set(name: str) -> MatrixSet:
    """Return a tile matrix set.

    Raises
    ------
    NotFound
        when there is none of this name.
    """
    if name not in MATRIX_SETS:
        raise NotFound("tile matrix set", name)
    return MATRIX_SETS[name]


def tilejson(layer: str, matrices: str, url: str, box: Box | None) -> dict[str, Any]:
    """Return the TileJSON 3.0.0 document of a layer; ``url`` has {z}, {y} and {x}."""
    matrix_set(matrices)
    return {
        "tilejson": "3.0.0",
        "name": layer,
        "scheme": "xyz",
        "tiles": [url],
        "minzoom": 0,
        "maxzoom": DEEPEST,
        "bounds": list(box or (-180.0, -85.051129, 180.0, 85.051129)),
        "vector_layers": [{"id": layer, "fields": {}}],
    }

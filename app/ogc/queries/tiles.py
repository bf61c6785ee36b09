"""SQL of vector tiles: PostGIS clips, scales and encodes them.

A tile with too many points is thinned to one point per cell of a grid. An index scan finds the point of each cell,
so a million points take as long as a few thousand.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from app.db.engine import Fetch
from app.geo.projection.tile_matrix import TileMatrixSet
from app.records.kinds import Kind
from app.records.queries.documents import EFFECTIVE_STATE, build_record_source, quote_identifier

EXTENT: Final = 4096
"""Units along the side of a tile."""
BUFFER: Final = 64
"""Units beyond the side of a tile that are included, so that symbols are not cut."""
MAX_POINTS: Final = 3000
"""A tile with more points is thinned."""
_SPARSE_FROM: Final = 13
"""From this matrix on few tiles are thinned: the full tile is built first and counted afterwards."""
MAX_SHAPES: Final = 20_000
"""Limit of lines or areas in a tile."""
_CELLS: Final = 48
"""Cells along the side of a thinned tile: about one every five pixels, the size of a symbol."""
_MINOR_FROM: Final = {
    "county": 9,
    "urban_arterial": 10,
    "urban_minor": 12,
    "service": 13,
    "path": 13,
}
"""First matrix that contains a class of road; all matrices contain larger roads."""


@dataclass(frozen=True)
class TileQuery:
    """One tile of one layer, for one scope."""

    matrices: TileMatrixSet
    matrix: int
    row: int
    column: int
    scope: Sequence[str] | None


async def fetch_change_marker(fetch: Fetch, scope: Sequence[str] | None) -> str:
    """Return a text that changes with every write to a jurisdiction in scope."""
    rows = await fetch(
        "SELECT coalesce(md5(string_agg(jurisdiction || ':' || revision, ',' ORDER BY jurisdiction)), "
        "'') FROM revision WHERE $1::text[] IS NULL OR jurisdiction = ANY($1::text[])",
        scope,
    )
    return str(rows[0][0])


async def fetch_kind_tile(fetch: Fetch, kind: Kind, tile: TileQuery) -> bytes:
    """Return one tile of records, empty without features."""
    pointlike = "Point" in kind.geometry_types
    if pointlike and tile.matrix < _SPARSE_FROM and await _is_dense(fetch, kind, tile):
        return await fetch_thinned_tile(fetch, kind, tile)
    rows = await fetch(
        build_full_tile(kind, tile, MAX_POINTS + 1 if pointlike else MAX_SHAPES), *list_tile_values(tile)
    )
    if pointlike and rows[0][1] > MAX_POINTS:
        return await fetch_thinned_tile(fetch, kind, tile)
    return bytes(rows[0][0] or b"")


async def fetch_thinned_tile(fetch: Fetch, kind: Kind, tile: TileQuery) -> bytes:
    """Return one tile of records, with one point per grid cell if it holds too many."""
    rows = await fetch(build_thinned_tile(kind, tile), *list_tile_values(tile), _CELLS)
    return bytes(rows[0][0] or b"")


async def fetch_ring_tile(fetch: Fetch, tile: TileQuery) -> bytes:
    """Return one tile of ring boundaries."""
    rows = await fetch(
        build_encoded_tile(
            "rings",
            "SELECT t.code, t.jurisdiction, t.level, coalesce(t.name_zh, t.name_en) AS name, "
            f"{build_tile_geometry(tile)} AS geom FROM ring AS t WHERE {build_inside_condition()}",
        ),
        *list_tile_values(tile),
    )
    return bytes(rows[0][0] or b"")


async def build_feature_tile(
    fetch: Fetch, layer: str, tile: TileQuery, shapes: Sequence[bytes], properties: Sequence[str]
) -> bytes:
    """Return one tile of computed features: WKB in degrees and their properties as JSON."""
    statement = build_encoded_tile(
        layer,
        f"SELECT {build_tile_geometry(tile)} AS geom, t.properties FROM (SELECT "
        "ST_SetSRID(ST_GeomFromWKB(shape), 4326) AS geometry, properties::jsonb AS properties "
        "FROM unnest($9::bytea[], $10::text[]) AS input(shape, properties)) AS t "
        "WHERE t.geometry && ST_MakeEnvelope($5, $6, $7, $8, 4326)",
    )
    west, south, east, north = compute_tile_bounds(tile)
    box = tile.matrices.tile_extent(tile.matrix, tile.row, tile.column)
    rows = await fetch(statement, *box, west, south, east, north, list(shapes), list(properties))
    return bytes(rows[0][0] or b"")


def list_tile_values(tile: TileQuery) -> list[Any]:
    """Return $1-$4: envelope in the CRS of the set, $5-$8: bounds in degrees, $9: scope."""
    box = tile.matrices.tile_extent(tile.matrix, tile.row, tile.column)
    return [*box, *compute_tile_bounds(tile), tile.scope]


def compute_tile_bounds(tile: TileQuery) -> tuple[float, float, float, float]:
    """Return (west, south, east, north) of a tile with its buffer."""
    return tile.matrices.tile_bounds(tile.matrix, tile.row, tile.column, margin=BUFFER / EXTENT)


def build_inside_condition(box: str = "$5, $6, $7, $8") -> str:
    """Return the condition that a geometry meets the bounds of the tile."""
    return (
        f"t.geometry && ST_MakeEnvelope({box}, 4326) AND t.removed_at IS NULL "
        "AND ($9::text[] IS NULL OR t.jurisdiction = ANY($9::text[]))"
    )


async def _is_dense(fetch: Fetch, kind: Kind, tile: TileQuery) -> bool:
    """Return whether a tile has more points than the limit; counts no further than the limit."""
    rows = await fetch(
        f"SELECT count(*) FROM (SELECT FROM {kind.name} AS t WHERE {build_inside_condition()} "
        f"LIMIT {MAX_POINTS + 1}) AS found, (SELECT $1::float8, $2::float8, $3::float8, "
        "$4::float8) AS envelope",
        *list_tile_values(tile),
    )
    return bool(rows[0][0] > MAX_POINTS)


def build_full_tile(kind: Kind, tile: TileQuery, limit_count: int) -> str:
    """Return the SQL of a tile with all its records."""
    return build_encoded_tile(
        kind.plural,
        f"SELECT {build_tile_members(kind)}, {build_tile_geometry(tile)} AS geom FROM {build_record_source(kind)} "
        f"WHERE {build_inside_condition()}{build_size_condition(kind, tile)} LIMIT {limit_count}",
    )


def build_thinned_tile(kind: Kind, tile: TileQuery) -> str:
    """Return the SQL of a tile with one point per grid cell."""
    west, south, east, north = (f"${number}::float8" for number in (5, 6, 7, 8))
    wide, high = f"({east} - {west}) / $10::int", f"({north} - {south}) / $10::int"
    cell = build_inside_condition(
        f"{west} + {wide} * cx, {south} + {high} * cy, {west} + {wide} * (cx + 1), {south} + {high} * (cy + 1)"
    )
    return build_encoded_tile(
        kind.plural,
        f"SELECT {build_tile_members(kind)}, true AS thinned, {build_tile_geometry(tile)} AS geom "
        "FROM generate_series(0, $10::int - 1) AS cx, generate_series(0, $10::int - 1) AS cy, "
        f"LATERAL (SELECT t.code FROM {kind.name} AS t WHERE {cell} LIMIT 1) AS drawn "
        f"JOIN {build_record_source(kind)} ON t.code = drawn.code",
    )


def build_encoded_tile(layer: str, features: str) -> str:
    """Return the SQL that encodes features as a vector tile."""
    return f"SELECT ST_AsMVT(q, '{layer}', {EXTENT}, 'geom'), count(*) FROM ({features}) AS q WHERE q.geom IS NOT NULL"


def build_tile_geometry(tile: TileQuery) -> str:
    """Return the SQL of a geometry in the units of the tile."""
    srid = tile.matrices.srid
    shape = "t.geometry" if srid == 4326 else f"ST_Transform(t.geometry, {srid})"
    return f"ST_AsMVTGeom({shape}, ST_MakeEnvelope($1, $2, $3, $4, {srid}), {EXTENT}, {BUFFER}, true)"


def build_tile_members(kind: Kind) -> str:
    """Return the SQL of the properties of a record in a tile."""
    names = ("code", "jurisdiction", *kind.tile_properties)
    members = ["coalesce(t.name_zh, t.name_en) AS name", *(f"t.{quote_identifier(name)}" for name in names)]
    if kind.name == "camera":
        members.append("array_to_string(t.functions, ',') AS functions")
    if kind.is_device:
        members.append(f"({EFFECTIVE_STATE}) AS state")
        members.append(f"(t.lifecycle = 'in_use' AND {EFFECTIVE_STATE} IS NOT DISTINCT FROM 'online') AS working")
    return ", ".join(members)


def build_size_condition(kind: Kind, tile: TileQuery) -> str:
    """Return the condition that leaves out features too small or too minor for the zoom level."""
    if kind.name == "road":
        left_out = [name for name, minimum in _MINOR_FROM.items() if tile.matrix < minimum]
        words = ", ".join(f"'{name}'" for name in left_out)
        return f" AND t.road_class NOT IN ({words})" if words else ""
    if "Point" in kind.geometry_types:
        return ""
    west, _, east, _ = tile.matrices.tile_bounds(tile.matrix, tile.row, tile.column)
    pixel = (east - west) / 256
    return (
        " AND greatest(ST_XMax(t.geometry) - ST_XMin(t.geometry), "
        f"ST_YMax(t.geometry) - ST_YMin(t.geometry)) >= {pixel!r}"
    )

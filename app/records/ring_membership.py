"""Membership of locations in the rings of a jurisdiction: zone, rings, boundaries and distances.

The prepared rings of each jurisdiction are cached in the process, by the versions that they were prepared from. A
changed ring has another key, so an outdated one is never used.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import anyio
import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import MultiPolygon
from shapely.geometry.base import BaseGeometry
from sqlalchemy.ext.asyncio import AsyncConnection

from app.errors import Issue, NotFound, build_invalid
from app.geo.projection.local_projection import LocalProjection, choose_projection, get_projection
from app.geo.rings.membership import Boundary, RingIndex
from app.messages import Message
from app.models.vocabulary import Level
from app.records.queries import memberships as membership_queries

Extent = tuple[float, float, float, float]

EXTENT_MARGIN_DEG: Final = 0.5
"""How far outside its rings a record may lie if the jurisdiction has no extent."""
MAX_SCALE_ERROR: Final = 0.01
"""Largest relative error of lengths in a metric CRS, in the middle of the extent."""
_CACHE_SIZE: Final = 64
_BATCH_SIZE: Final = 20_000
_UNKNOWN: Final[dict[str, Any]] = {"zone": None, "rings": None, "on_boundary": None, "distance_m": None}


@dataclass(frozen=True)
class JurisdictionRings:
    """Extent, local projection and indexed rings of a jurisdiction."""

    code: str
    extent: Extent | None
    projection: LocalProjection | None
    index: RingIndex | None
    """None without rings."""
    levels: tuple[Level, ...]


_cache: OrderedDict[tuple[object, ...], JurisdictionRings] = OrderedDict()


async def load_jurisdiction_rings(connection: AsyncConnection, jurisdiction: str) -> JurisdictionRings:
    """Return the rings of a jurisdiction, from the cache if they have not changed.

    Raises
    ------
    NotFound
        if there is no such jurisdiction.
    """
    row = await membership_queries.fetch_jurisdiction(connection, jurisdiction)
    if row is None:
        raise NotFound("jurisdiction", jurisdiction)
    database = str(connection.engine.url)
    key = (database, row.code, row.version, row.rings, row.written_at)
    if key not in _cache:
        boundaries = await membership_queries.fetch_boundaries(connection, jurisdiction) if row.rings else []
        _cache[key] = await anyio.to_thread.run_sync(prepare_rings, row, boundaries)
        while len(_cache) > _CACHE_SIZE:
            _cache.popitem(last=False)
    _cache.move_to_end(key)
    return _cache[key]


def prepare_rings(
    row: membership_queries.JurisdictionRow, boundaries: Sequence[membership_queries.BoundaryRow]
) -> JurisdictionRings:
    """Return the indexed rings of a jurisdiction."""
    rings = [
        Boundary(boundary.level, cast(MultiPolygon, boundary.geometry), boundary.tolerance_m) for boundary in boundaries
    ]
    extent = compute_extent(row.extent, [ring.polygon for ring in rings])
    projection = find_projection(row.metric_epsg, extent)
    index = RingIndex(rings, projection) if rings and projection else None
    return JurisdictionRings(row.code, extent, projection, index, tuple(ring.level for ring in rings))


def compute_extent(stored: list[float] | None, rings: Sequence[BaseGeometry]) -> Extent | None:
    """Return the stored extent, else the bounds of the rings with a margin, else None."""
    if stored is not None:
        return (stored[0], stored[1], stored[2], stored[3])
    if not rings:
        return None
    west, south, east, north = shapely.total_bounds(list(rings))
    margin = EXTENT_MARGIN_DEG
    return (west - margin, south - margin, east + margin, north + margin)


def find_projection(epsg: int | None, extent: Extent | None) -> LocalProjection | None:
    """Return the projection with this EPSG code, else the one for the middle of the extent, else None."""
    if epsg is not None:
        return get_projection(epsg)
    if extent is None:
        return None
    return choose_projection((extent[0] + extent[2]) / 2, (extent[1] + extent[3]) / 2)


def find_location_issue(rings: JurisdictionRings, geometry: BaseGeometry) -> Issue | None:
    """Return the issue of a geometry that is outside the extent or has longitude and latitude swapped, or None."""
    if rings.extent is None:
        return None
    west, south, east, north = rings.extent
    x0, y0, x1, y1 = geometry.bounds
    if west <= x0 and x1 <= east and south <= y0 and y1 <= north:
        return None
    if west <= y0 and y1 <= east and south <= x0 and x1 <= north:
        return Issue(
            "/geometry",
            "swapped-coordinates",
            Message(
                "longitude and latitude are swapped: [{lat:g}, {lon:g}] is in the jurisdiction, "
                "[{lon:g}, {lat:g}] is not",
                lon=x0,
                lat=y0,
            ),
        )
    lon = x0 if not west <= x0 <= east else x1
    lat = y0 if not south <= y0 <= north else y1
    box = ", ".join(f"{number:.4f}" for number in rings.extent)
    return Issue(
        "/geometry",
        "outside-extent",
        Message(
            "[{lon:g}, {lat:g}] is outside the extent of jurisdiction {jurisdiction}: [{extent}]",
            lon=lon,
            lat=lat,
            jurisdiction=rings.code,
            extent=box,
        ),
    )


def compute_memberships(rings: JurisdictionRings, geometries: Sequence[BaseGeometry]) -> list[dict[str, Any]]:
    """Return zone, rings, on_boundary and distance_m of each geometry; all None without rings."""
    if rings.index is None:
        return [dict(_UNKNOWN) for _ in geometries]
    return locate_points(rings.index, to_representative_points(geometries))


def to_representative_points(geometries: Sequence[BaseGeometry]) -> NDArray[np.float64]:
    """Return one longitude and latitude for each geometry, shape (n, 2): the point, or a point inside the area."""
    shapes = np.asarray(geometries, dtype=object)
    points = np.where(shapely.get_dimensions(shapes) == 0, shapes, shapely.point_on_surface(shapes))
    return shapely.get_coordinates(points)


def locate_points(index: RingIndex, lonlat: NDArray[np.float64]) -> list[dict[str, Any]]:
    """Return zone, rings, on_boundary and distance_m of each point; distances in metres, to the centimetre."""
    memberships = index.locate_points(lonlat)
    levels = [boundary.level for boundary in index.boundaries]
    distances = np.round(memberships.distance_m, 2).tolist()
    inside, on_boundary = memberships.inside.tolist(), memberships.on_boundary.tolist()
    return [
        {
            "zone": zone,
            "rings": [level for level, flag in zip(levels, inside[row], strict=True) if flag],
            "on_boundary": [level for level, flag in zip(levels, on_boundary[row], strict=True) if flag],
            "distance_m": dict(zip(levels, distances[row], strict=True)),
        }
        for row, zone in enumerate(memberships.zone)
    ]


def check_projection(rings: JurisdictionRings) -> None:
    """Raise Invalid if lengths in the metric CRS are wrong by more than a percent in the middle of the extent."""
    if rings.projection is None or rings.extent is None:
        return
    west, south, east, north = rings.extent
    middle = np.array([[(west + east) / 2, (south + north) / 2]])
    if rings.projection.scale_error(middle)[0] > MAX_SCALE_ERROR:
        message = Message(
            "EPSG:{epsg} distorts lengths by more than 1 % in this jurisdiction; leave metric_epsg out to use a CRS "
            "that fits",
            epsg=rings.projection.epsg,
        )
        issue = Issue("/metric_epsg", "crs-distorts", message)
        raise build_invalid(Message("The jurisdiction is not valid"), [issue], code="crs-distorts")


async def recompute_memberships(connection: AsyncConnection, jurisdiction: str) -> None:
    """Recompute zone, rings and distances of every record of a jurisdiction."""
    rings = await load_jurisdiction_rings(connection, jurisdiction)
    check_projection(rings)
    for table in membership_queries.LOCATED_TABLES:
        codes, shapes = await membership_queries.fetch_locations(connection, table, jurisdiction)
        for start in range(0, len(codes), _BATCH_SIZE):
            batch = slice(start, start + _BATCH_SIZE)
            rows = await anyio.to_thread.run_sync(_compute_membership_rows, rings, codes[batch], shapes[batch])
            await membership_queries.update_memberships(connection, table, rows)


def _compute_membership_rows(rings: JurisdictionRings, codes: list[str], shapes: list[bytes]) -> list[dict[str, Any]]:
    memberships = compute_memberships(rings, list(shapely.from_wkb(shapes)))
    return [{"code": code, **membership} for code, membership in zip(codes, memberships, strict=True)]

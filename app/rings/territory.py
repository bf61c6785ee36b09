"""Where things lie: a jurisdiction's rings ready to be asked, and the check that a place fits.

The prepared rings are kept per process and keyed by the versions of what they were made from, so a
changed ring is a different key and nothing outdated is ever used.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import anyio
import numpy as np
import shapely
from shapely.geometry import MultiPolygon
from shapely.geometry.base import BaseGeometry
from sqlalchemy.ext.asyncio import AsyncConnection

from app.errors import Invalid, Issue, NotFound
from app.geo.projection.local_projection import Frame, frame, frame_for
from app.geo.rings.membership import Boundary, RingIndex
from app.messages import Message
from app.models.vocabulary import Level
from app.rings import queries as ring_queries

EXTENT_MARGIN_DEG: Final = 0.5
"""How far outside the city ring a record may lie when the jurisdiction states no extent."""
MOST_DISTORTION: Final = 0.01
"""A CRS may measure this much too long or too short in the middle of a jurisdiction."""
_KEPT: Final = 64
_CHUNK: Final = 20_000


@dataclass(frozen=True)
class Territory:
    """A jurisdiction as far as geometry is concerned."""

    code: str
    extent: tuple[float, float, float, float] | None
    frame: Frame | None
    index: RingIndex | None
    levels: tuple[Level, ...]


_prepared: OrderedDict[tuple[object, ...], Territory] = OrderedDict()


async def of(connection: AsyncConnection, jurisdiction: str) -> Territory:
    """Return the prepared territory of a jurisdiction.

    Raises
    ------
    NotFound
        when there is no such jurisdiction.
    """
    row = await ring_queries.territory(connection, jurisdiction)
    if row is None:
        raise NotFound("jurisdiction", jurisdiction)
    database = str(connection.engine.url)
    key = (database, row.code, row.version, row.rings, row.made)
    if key not in _prepared:
        boundaries = await ring_queries.boundaries(connection, jurisdiction) if row.rings else []
        _prepared[key] = await anyio.to_thread.run_sync(_prepare, row, boundaries)
        while len(_prepared) > _KEPT:
            _prepared.popitem(last=False)
    _prepared.move_to_end(key)
    return _prepared[key]


def _prepare(row: ring_queries.TerritoryRow, boundaries: Sequence[ring_queries.BoundaryRow]) -> Territory:
    rings = [Boundary(found.level, cast(MultiPolygon, found.geometry), found.tolerance_m) for found in boundaries]
    extent = _extent(row.extent, [ring.polygon for ring in rings])
    metric = metric_frame(row.metric_epsg, extent)
    index = RingIndex(rings, metric) if rings and metric else None
    return Territory(row.code, extent, metric, index, tuple(ring.level for ring in rings))


def _extent(stated: list[float] | None, rings: Sequence[BaseGeometry]) -> tuple[float, float, float, float] | None:
    if stated is not None:
        return (stated[0], stated[1], stated[2], stated[3])
    if not rings:
        return None
    west, south, east, north = shapely.total_bounds(list(rings))
    margin = EXTENT_MARGIN_DEG
    return (west - margin, south - margin, east + margin, north + margin)


def metric_frame(epsg: int | None, extent: tuple[float, float, float, float] | None) -> Frame | None:
    """Return the stated frame, else the one for the middle of the extent, else None."""
    if epsg is not None:
        return frame(epsg)
    if extent is None:
        return None
    return frame_for((extent[0] + extent[2]) / 2, (extent[1] + extent[3]) / 2)


def misplaced(territory: Territory, geometry: BaseGeometry) -> Issue | None:
    """Return what is wrong with where a geometry lies: swapped axes, or outside the extent."""
    if territory.extent is None:
        return None
    west, south, east, north = territory.extent
    x0, y0, x1, y1 = geometry.bounds
    if west <= x0 and x1 <= east and south <= y0 and y1 <= north:
        return None
    if west <= y0 and y1 <= east and south <= x0 and x1 <= north:
        return Issue(
            "/geometry",
            "swapped-coordinates",
            Message(
                "longitude and latitude are swapped: [{lat:g}, {lon:g}] is in the jurisdiction, [{lon:g}, {lat:g}] is not",
                lon=x0,
                lat=y0,
            ),
        )
    lon = x0 if not west <= x0 <= east else x1
    lat = y0 if not south <= y0 <= north else y1
    box = ", ".join(f"{number:.4f}" for number in territory.extent)
    return Issue(
        "/geometry",
        "outside-extent",
        Message(
            "[{lon:g}, {lat:g}] is outside the extent of jurisdiction {jurisdiction}: [{extent}]",
            lon=lon,
            lat=lat,
            jurisdiction=territory.code,
            extent=box,
        ),
    )


def placed(territory: Territory, geometries: Sequence[BaseGeometry]) -> list[dict[str, Any]]:
    """Return zone, rings, on_boundary and distance_m of geometries; areas by a point inside them."""
    if territory.index is None:
        nothing = {"zone": None, "rings": None, "on_boundary": None, "distance_m": None}
        return [dict(nothing) for _ in geometries]
    return memberships(territory.index, representatives(geometries))


def representatives(geometries: Sequence[BaseGeometry]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return one lon/lat per geometry: the point itself, or a point inside the area, shape (n, 2)."""
    shapes = np.asarray(geometries, dtype=object)
    points = np.where(shapely.get_dimensions(shapes) == 0, shapes, shapely.point_on_surface(shapes))
    return shapely.get_coordinates(points)


def memberships(index: RingIndex, lonlat: np.ndarray[Any, np.dtype[np.float64]]) -> list[dict[str, Any]]:
    """Return the answer per point, in order; distances to the centimetre."""
    found = index.locate(lonlat)
    levels = [boundary.level for boundary in index.boundaries]
    distances = np.round(found.distance_m, 2).tolist()
    inside, near = found.inside.tolist(), found.on_boundary.tolist()
    return [
        {
            "zone": zone,
            "rings": [level for level, flag in zip(levels, inside[row], strict=True) if flag],
            "on_boundary": [level for level, flag in zip(levels, near[row], strict=True) if flag],
            "distance_m": dict(zip(levels, distances[row], strict=True)),
        }
        for row, zone in enumerate(found.zone)
    ]


def check_metres(territory: Territory) -> None:
    """Refuse a stated CRS whose metres are none in the middle of the territory.

    Raises
    ------
    Invalid
        when it measures more than a percent too long or too short.
    """
    if territory.frame is None or territory.extent is None:
        return
    west, south, east, north = territory.extent
    middle = np.array([[(west + east) / 2, (south + north) / 2]])
    if territory.frame.distortion(middle)[0] > MOST_DISTORTION:
        message = (
            f"EPSG:{territory.frame.epsg} does not measure metres where the jurisdiction lies; "
            "leave metric_epsg out to have one chosen"
        )
        raise Invalid(
            message + ".",
            code="crs-distorts",
            issues=(Issue("/metric_epsg", "crs-distorts", message),),
        )


async def place_all(connection: AsyncConnection, jurisdiction: str) -> None:
    """Recompute zone, rings and distances of every record of a jurisdiction."""
    where = await of(connection, jurisdiction)
    check_metres(where)
    for table in ring_queries.PLACED:
        codes, shapes = await ring_queries.places(connection, table, jurisdiction)
        for start in range(0, len(codes), _CHUNK):
            part = slice(start, start + _CHUNK)
            rows = await anyio.to_thread.run_sync(_place_part, where, codes[part], shapes[part])
            await ring_queries.place(connection, table, rows)


def _place_part(where: Territory, codes: list[str], shapes: list[bytes]) -> list[dict[str, Any]]:
    geometries = list(shapely.from_wkb(shapes))
    places = placed(where, geometries)
    return [{"code": code, **place} for code, place in zip(codes, places, strict=True)]

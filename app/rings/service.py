"""The rings of a jurisdiction: read, save, remove. Each write recomputes the membership of every record."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, cast

import anyio
import numpy as np
import orjson
import shapely
from numpy.typing import NDArray
from pydantic import ValidationError
from pydantic_core import PydanticCustomError
from shapely.geometry import MultiPolygon
from sqlalchemy.ext.asyncio import AsyncConnection

from app.access.roles import Principal
from app.changes.history import load_history
from app.errors import Conflict, Invalid, Issue, NotFound, TooLarge, build_invalid, to_issues
from app.geo.projection import datum as datums
from app.geo.projection.local_projection import LocalProjection
from app.geo.rings import validity
from app.messages import Message
from app.models.columns import DECIMALS
from app.models.vocabulary import LEVELS, Datum, Level
from app.records import ring_membership
from app.records.drafts import RingDraft
from app.records.geojson import parse_geometry
from app.records.payloads import Precondition
from app.records.queries import memberships as membership_queries
from app.records.queries import records as record_queries
from app.records.service import WriteResult
from app.rings import queries as ring_queries

_POLYGON_TYPES: Final = ("Polygon", "MultiPolygon")
_SERVER_PROPERTIES: Final = frozenset({"code", "vertices", "jurisdiction", "level", "datum_received"})
"""Properties that a client may send back and the service sets."""
_MULTIPOLYGON_NESTING: Final = 3
_INVALID_GEOMETRY: Final = Message("The geometry is not valid")


async def load_rings(connection: AsyncConnection, jurisdiction: str, principal: Principal) -> list[str]:
    """Return the rings in force as GeoJSON Features, innermost first."""
    principal.require_role_in("reader", [jurisdiction])
    if await membership_queries.fetch_jurisdiction(connection, jurisdiction) is None:
        raise NotFound("jurisdiction", jurisdiction)
    return [body for _, body in await ring_queries.fetch_ring_features(connection, jurisdiction)]


async def load_ring(
    connection: AsyncConnection, jurisdiction: str, level: Level, principal: Principal
) -> tuple[int, str]:
    """Return version and GeoJSON Feature of one ring.

    Raises
    ------
    NotFound
        if the jurisdiction does not have this ring.
    """
    principal.require_role_in("reader", [jurisdiction])
    rows = await ring_queries.fetch_ring_features(connection, jurisdiction, level)
    if not rows:
        raise NotFound("ring", f"{jurisdiction}/{level}")
    return rows[0]


async def load_past_ring(
    connection: AsyncConnection, jurisdiction: str, level: Level, instant: datetime, principal: Principal
) -> tuple[int, str]:
    """Return version and GeoJSON Feature of the ring in force at an instant.

    Raises
    ------
    NotFound
        if the jurisdiction did not have this ring then.
    """
    principal.require_role_in("analyst", [jurisdiction])
    code = f"{jurisdiction}/{level}"
    past = await record_queries.fetch_past_record(connection, "ring", code, instant, scope=[jurisdiction])
    if past is None:
        raise NotFound(f"ring at {instant.isoformat()}", code)
    version, document = past
    geometry = document.pop("geometry")
    feature = {"type": "Feature", "id": code, "geometry": geometry, "properties": document}
    return version, orjson.dumps(feature).decode()


async def load_ring_history(
    connection: AsyncConnection,
    jurisdiction: str,
    level: Level,
    principal: Principal,
    *,
    before: int | None,
    limit: int,
) -> tuple[list[str], int | None]:
    """Return the changes of one ring, newest first, and the cursor of the next page."""
    principal.require_role_in("analyst", [jurisdiction])
    code = f"{jurisdiction}/{level}"
    return await load_history(connection, "ring", code, scope=[jurisdiction], before=before, limit=limit)


async def save_ring(
    connection: AsyncConnection,
    jurisdiction: str,
    level: Level,
    payload: object,
    principal: Principal,
    precondition: Precondition,
    *,
    datum: Datum,
    max_vertices: int,
    received: Datum | None = None,
) -> WriteResult:
    """Create or replace a ring and recompute the membership of every record.

    Parameters
    ----------
    received : Datum, optional
        Datum that the boundary was received in, if it was converted to ``datum`` since.

    Raises
    ------
    InvalidShape
        if the geometry is not a valid polygon, with the reason and the location.
    Conflict
        if a ring would not cover the one inside it within the tolerance.
    TooLarge
        if the boundary has more vertices than allowed.
    """
    principal.require_role_in("editor", [jurisdiction])
    await membership_queries.lock_rings(connection, [jurisdiction], exclusive=True)
    rings = await ring_membership.load_jurisdiction_rings(connection, jurisdiction)
    geometry_json, properties = split_payload(payload)
    _check_size(geometry_json, max_vertices)
    draft = _parse_ring_draft({**properties, "jurisdiction": jurisdiction, "level": level}, received or datum)
    polygon = await anyio.to_thread.run_sync(parse_polygon, geometry_json, datum)
    if issue := ring_membership.find_location_issue(rings, polygon):
        raise build_invalid(_INVALID_GEOMETRY, [issue], issue.code)
    code = f"{jurisdiction}/{level}"
    version = await record_queries.lock_version(connection, "ring", code)
    precondition.check_version(version)
    boundaries = await membership_queries.fetch_boundaries(connection, jurisdiction)
    projection = rings.projection or ring_membership.find_projection(None, polygon.bounds)
    assert projection is not None  # noqa: S101  # the bounds are an extent
    await anyio.to_thread.run_sync(_check_nesting, level, polygon, draft.tolerance_m, boundaries, projection)
    new_version = await ring_queries.upsert_ring(connection, {**draft.model_dump(mode="json"), "code": code}, polygon)
    await ring_membership.recompute_memberships(connection, jurisdiction)
    return WriteResult(code, new_version, created=version is None)


async def remove_ring(
    connection: AsyncConnection, jurisdiction: str, level: Level, principal: Principal, precondition: Precondition
) -> None:
    """Remove a ring and recompute the membership of every record; its history stays."""
    principal.require_role_in("editor", [jurisdiction])
    await membership_queries.lock_rings(connection, [jurisdiction], exclusive=True)
    code = f"{jurisdiction}/{level}"
    version = await record_queries.lock_version(connection, "ring", code)
    precondition.check_version(version)
    if version is None:
        raise NotFound("ring", code)
    await record_queries.soft_delete_records(connection, "ring", [code])
    await ring_membership.recompute_memberships(connection, jurisdiction)


async def compute_membership(
    connection: AsyncConnection, jurisdiction: str, payload: object, principal: Principal, limit: int
) -> dict[str, Any]:
    """Return zone, rings, on_boundary and distances of points, in order.

    Raises
    ------
    Invalid
        if a point is not a longitude and a latitude.
    """
    principal.require_role_in("reader", [jurisdiction])
    lonlat = parse_points(payload, limit)
    rings = await ring_membership.load_jurisdiction_rings(connection, jurisdiction)
    document: dict[str, Any] = {"jurisdiction": jurisdiction, "levels": list(rings.levels)}
    if rings.index is None:
        unknown = {"zone": None, "rings": None, "on_boundary": None, "distance_m": None}
        document["points"] = [unknown] * len(lonlat)
        document["not_assessed"] = [{"what": "membership", "reason": "no ring is registered"}]
        return document
    document["points"] = await anyio.to_thread.run_sync(ring_membership.locate_points, rings.index, lonlat)
    document["not_assessed"] = [
        {"what": "membership", "level": level, "reason": "this ring is not registered"}
        for level in LEVELS
        if level not in rings.levels
    ]
    return document


def parse_points(payload: object, limit: int) -> NDArray[np.float64]:
    """Return the points of a payload whose only member is ``points``, shape (n, 2)."""
    if isinstance(payload, Mapping) and (unknown := sorted(set(payload) - {"points"})):
        raise _build_point_error(f"/{unknown[0]}", Message("unknown member; the only member is points"))
    points = payload.get("points") if isinstance(payload, Mapping) else None
    if not isinstance(points, list):
        raise _build_point_error("/points", Message("must be a list of [lon, lat]"))
    if len(points) > limit:
        message = Message(
            "The request has {count:,} points; at most {limit:,} are allowed. Send several requests.",
            count=len(points),
            limit=limit,
        )
        raise TooLarge(message, limit)
    for index, point in enumerate(points):
        if not (isinstance(point, list) and len(point) == 2 and all(type(number) in (float, int) for number in point)):
            raise _build_point_error(f"/points/{index}", Message("a point must be two finite numbers, [lon, lat]"))
    lonlat = np.array(points, dtype=np.float64).reshape(-1, 2)
    is_outside = ~(np.abs(lonlat) <= (180.0, 90.0)).all(axis=1)
    if is_outside.any():
        index = int(np.argmax(is_outside))
        lon, lat = points[index]
        message = Message("[{lon:g}, {lat:g}] is not a valid longitude and latitude", lon=lon, lat=lat)
        raise _build_point_error(f"/points/{index}", message)
    return lonlat


def _build_point_error(pointer: str, message: Message) -> Invalid:
    return build_invalid(Message("The points are not valid"), [Issue(pointer, "invalid-point", message)])


def split_payload(payload: object) -> tuple[Mapping[str, Any], dict[str, Any]]:
    """Return geometry and properties of a Feature, a collection of one feature, or a geometry."""
    if isinstance(payload, Mapping) and payload.get("type") == "FeatureCollection":
        features = payload.get("features")
        if isinstance(features, list) and len(features) == 1:
            payload = features[0]
    if isinstance(payload, Mapping) and payload.get("type") == "Feature":
        geometry = payload.get("geometry")
        properties = payload.get("properties") or {}
        if isinstance(geometry, Mapping) and isinstance(properties, Mapping):
            return geometry, {name: value for name, value in properties.items() if name not in _SERVER_PROPERTIES}
    elif isinstance(payload, Mapping):
        return payload, {}
    message = Message("must be a GeoJSON Feature or geometry of type Polygon or MultiPolygon")
    raise build_invalid(Message("The ring is not valid"), [Issue("", "geometry-type", message)])


def _check_size(geometry: Mapping[str, Any], limit: int) -> None:
    count = count_positions(geometry.get("coordinates"))
    if count > limit:
        message = Message(
            "The ring has {count:,} vertices; at most {limit:,} are allowed. Simplify it.", count=count, limit=limit
        )
        raise TooLarge(message, limit)


def count_positions(coordinates: object, nesting: int = _MULTIPOLYGON_NESTING) -> int:
    """Return the number of positions in an array that is at most as nested as that of a MultiPolygon."""
    if not isinstance(coordinates, list) or not coordinates:
        return 0
    if nesting == 0 or not isinstance(coordinates[0], list):
        return 1
    if coordinates[0] and not isinstance(coordinates[0][0], list):
        return len(coordinates)
    return sum(count_positions(element, nesting - 1) for element in coordinates)


def _parse_ring_draft(properties: dict[str, Any], datum: Datum) -> RingDraft:
    try:
        return RingDraft.model_validate({**properties, "datum_received": datum})
    except ValidationError as error:
        issues = [issue.with_prefix("/properties") for issue in to_issues(error)]
        raise build_invalid(Message("The ring is not valid"), issues) from error


def parse_polygon(geometry: Mapping[str, Any], datum: Datum) -> MultiPolygon:
    """Return the valid MultiPolygon in WGS 84 of a GeoJSON geometry in any datum."""
    try:
        received = parse_geometry(geometry, _POLYGON_TYPES)
    except PydanticCustomError as error:
        message = (error.context or {}).get("message", error.message())
        raise build_invalid(_INVALID_GEOMETRY, [Issue("/geometry", error.type, message)], error.type) from error
    polygon = validity.check_polygonal(received)
    if datum in ("wgs84", "cgcs2000"):
        return polygon
    shifted = datums.geometry_to_wgs84(received, datum)
    return validity.check_polygonal(shapely.transform(shifted, lambda lonlat: np.round(lonlat, DECIMALS)))


def _check_nesting(
    level: Level,
    polygon: MultiPolygon,
    tolerance_m: float,
    boundaries: list[membership_queries.BoundaryRow],
    projection: LocalProjection,
) -> None:
    """Raise Conflict if the new ring and the existing ones do not cover each other within the tolerances."""
    for boundary in boundaries:
        if boundary.level == level:
            continue
        existing = cast(MultiPolygon, boundary.geometry)
        is_outer = LEVELS.index(level) > LEVELS.index(boundary.level)
        outer, inner = (polygon, existing) if is_outer else (existing, polygon)
        tolerance = max(tolerance_m, boundary.tolerance_m)
        error = validity.check_nesting(outer, inner, projection, tolerance)
        if error is not None:
            lon, lat = error.location
            message = Message(
                "The {outer} ring must cover the {inner} ring: it misses {excess_m:.1f} m at [{lon:.6f}, {lat:.6f}]; "
                "the tolerance is {tolerance_m:g} m.",
                outer=level if is_outer else boundary.level,
                inner=boundary.level if is_outer else level,
                excess_m=error.excess_m,
                lon=lon,
                lat=lat,
                tolerance_m=tolerance,
            )
            issue = Issue("/geometry", "rings-not-nested", message)
            raise Conflict(message, code="rings-not-nested", issues=(issue,))

"""The three boundaries of a jurisdiction: put, read, remove; every record is placed anew with them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, cast

import anyio
import numpy as np
import orjson
import shapely
from pydantic import ValidationError
from pydantic_core import PydanticCustomError
from shapely.geometry import MultiPolygon
from sqlalchemy.ext.asyncio import AsyncConnection

from app.access.roles import Principal
from app.errors import Conflict, Invalid, Issue, NotFound, TooLarge
from app.geo.projection import datum as datums
from app.geo.projection.local_projection import Frame
from app.geo.rings import validity
from app.models.columns import DECIMALS
from app.models.vocabulary import LEVELS, Datum, Level
from app.records import geojson, payloads
from app.records import service as record_service
from app.records.drafts import RingDraft
from app.records.payloads import Precondition
from app.records.queries import records as record_queries
from app.records.service import Written
from app.rings import queries as ring_queries
from app.rings import territory

_POLYGONAL = ("Polygon", "MultiPolygon")


async def listed(connection: AsyncConnection, jurisdiction: str, who: Principal) -> list[str]:
    """Return the boundaries in force as GeoJSON Features, innermost first."""
    who.need_in("reader", [jurisdiction])
    await _existing(connection, jurisdiction)
    return [body for _, body in await ring_queries.features(connection, jurisdiction)]


async def get(connection: AsyncConnection, jurisdiction: str, level: Level, who: Principal) -> tuple[int, str]:
    """Return version and GeoJSON Feature of one boundary.

    Raises
    ------
    NotFound
        when the jurisdiction has no such ring.
    """
    who.need_in("reader", [jurisdiction])
    rows = await ring_queries.features(connection, jurisdiction, level)
    if not rows:
        raise NotFound("ring", f"{jurisdiction}/{level}")
    return rows[0]


async def get_as_of(
    connection: AsyncConnection, jurisdiction: str, level: Level, at: datetime, who: Principal
) -> tuple[int, str]:
    """Return version and GeoJSON Feature of the boundary in force at an instant."""
    who.need_in("analyst", [jurisdiction])
    code = f"{jurisdiction}/{level}"
    found = await record_queries.as_of(connection, "ring", code, at, scope=[jurisdiction])
    if found is None:
        raise NotFound(f"ring at {at.isoformat()}", code)
    version, document = found
    feature = {
        "type": "Feature",
        "id": code,
        "geometry": document.pop("geometry"),
        "properties": document,
    }
    return version, orjson.dumps(feature).decode()


async def history(
    connection: AsyncConnection,
    jurisdiction: str,
    level: Level,
    who: Principal,
    *,
    before: int | None,
    limit: int,
) -> tuple[list[str], int | None]:
    """Return the changes of one boundary, newest first."""
    who.need_in("analyst", [jurisdiction])
    code = f"{jurisdiction}/{level}"
    return await record_service.page(connection, "ring", code, scope=[jurisdiction], before=before, limit=limit)


async def put(
    connection: AsyncConnection,
    jurisdiction: str,
    level: Level,
    payload: object,
    who: Principal,
    precondition: Precondition,
    *,
    datum: Datum,
    max_vertices: int,
    received: Datum | None = None,
) -> Written:
    """Put a boundary in force and place every record of the jurisdiction anew.

    ``received`` is the datum a boundary came in, when it has been converted since.

    Raises
    ------
    InvalidShape
        when the geometry is not a valid polygon, with the reason and the place.
    Conflict
        when an outer ring would not cover an inner one within the tolerance.
    TooLarge
        when it has more vertices than allowed.
    """
    who.need_in("editor", [jurisdiction])
    await ring_queries.hold(connection, [jurisdiction], alone=True)
    where = await territory.of(connection, jurisdiction)
    geometry_json, properties = _parts(payload)
    _refuse_large(geometry_json, max_vertices)
    draft = _draft({**properties, "jurisdiction": jurisdiction, "level": level}, received or datum)
    polygon = await anyio.to_thread.run_sync(_polygon, geometry_json, datum)
    if fault := territory.misplaced(where, polygon):
        raise Invalid(fault.message, code=fault.code, issues=(fault,))
    code = f"{jurisdiction}/{level}"
    present = await ring_queries.lock(connection, code)
    precondition.check(present)
    others = [b for b in await ring_queries.boundaries(connection, jurisdiction) if b.level != level]
    frame = where.frame or territory.metric_frame(None, polygon.bounds)
    assert frame is not None  # noqa: S101  # an extent is given
    await anyio.to_thread.run_sync(_check_nesting, level, polygon, draft.tolerance_m, others, frame)
    row = {**draft.model_dump(mode="json"), "code": code}
    version = await ring_queries.put(connection, row, polygon)
    await territory.place_all(connection, jurisdiction)
    return Written(code, version, created=present is None)


async def remove(
    connection: AsyncConnection,
    jurisdiction: str,
    level: Level,
    who: Principal,
    precondition: Precondition,
) -> None:
    """Take a boundary out of force and place every record anew."""
    who.need_in("editor", [jurisdiction])
    await ring_queries.hold(connection, [jurisdiction], alone=True)
    code = f"{jurisdiction}/{level}"
    present = await ring_queries.lock(connection, code)
    precondition.check(present)
    if present is None:
        raise NotFound("ring", code)
    await ring_queries.remove(connection, code)
    await territory.place_all(connection, jurisdiction)


async def membership(
    connection: AsyncConnection, jurisdiction: str, payload: object, who: Principal, limit: int
) -> dict[str, Any]:
    """Return zone, rings, on_boundary and distances of any points, in order.

    Raises
    ------
    Invalid
        when a point is not two finite numbers in range.
    """
    who.need_in("reader", [jurisdiction])
    lonlat = _points(payload, limit)
    where = await territory.of(connection, jurisdiction)
    answer: dict[str, Any] = {"jurisdiction": jurisdiction, "levels": list(where.levels)}
    if where.index is None:
        nothing = {"zone": None, "rings": None, "on_boundary": None, "distance_m": None}
        answer["points"] = [nothing] * len(lonlat)
        answer["not_assessed"] = [{"what": "membership", "reason": "no ring is registered"}]
        return answer
    answer["points"] = await anyio.to_thread.run_sync(territory.memberships, where.index, lonlat)
    answer["not_assessed"] = [
        {"what": "membership", "level": level, "reason": "this ring is not registered"}
        for level in LEVELS
        if level not in where.levels
    ]
    return answer


def _points(payload: object, limit: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the points of a body whose one member is ``points``."""
    if isinstance(payload, Mapping) and (strange := sorted(set(payload) - {"points"})):
        raise _bad_point(f"/{strange[0]}", "unknown member; a membership body has only points")
    points = payload.get("points") if isinstance(payload, Mapping) else None
    if not isinstance(points, list):
        raise _bad_point("/points", "a list of [lon, lat] is needed")
    if len(points) > limit:
        raise TooLarge(f"At most {limit:,} points are taken at once, not {len(points):,}.", limit)
    for position, point in enumerate(points):
        if not (isinstance(point, list) and len(point) == 2 and all(map(_is_number, point))):
            raise _bad_point(f"/points/{position}", "a point is two finite numbers, [lon, lat]")
    lonlat = np.array(points, dtype=np.float64).reshape(-1, 2)
    outside = ~(np.abs(lonlat) <= (180.0, 90.0)).all(axis=1)
    if outside.any():
        position = int(np.argmax(outside))
        message = f"{points[position]} is not a longitude and a latitude in degrees"
        raise _bad_point(f"/points/{position}", message)
    return lonlat


def _is_number(value: object) -> bool:
    return type(value) in (float, int)


def _bad_point(pointer: str, message: str) -> Invalid:
    return Invalid(
        f"The points are not valid: {pointer}: {message}.",
        issues=(Issue(pointer, "invalid-point", message),),
    )


async def _existing(connection: AsyncConnection, jurisdiction: str) -> None:
    if await ring_queries.territory(connection, jurisdiction) is None:
        raise NotFound("jurisdiction", jurisdiction)


def _parts(payload: object) -> tuple[Mapping[str, Any], dict[str, Any]]:
    """Return geometry and properties of a Feature, a one-feature collection or a bare geometry."""
    if isinstance(payload, Mapping) and payload.get("type") == "FeatureCollection":
        features = payload.get("features")
        if isinstance(features, list) and len(features) == 1:
            payload = features[0]
    if isinstance(payload, Mapping) and payload.get("type") == "Feature":
        geometry = payload.get("geometry")
        properties = payload.get("properties") or {}
        if isinstance(geometry, Mapping) and isinstance(properties, Mapping):
            server_set = {"code", "vertices", "jurisdiction", "level", "datum_received"}
            kept = {name: value for name, value in properties.items() if name not in server_set}
            return geometry, kept
    elif isinstance(payload, Mapping):
        return payload, {}
    raise Invalid(
        "A ring is a GeoJSON Feature or geometry of type Polygon or MultiPolygon.",
        issues=(Issue("", "geometry-type", "a Feature or a geometry is needed"),),
    )


def _refuse_large(geometry: Mapping[str, Any], limit: int) -> None:
    count = _count(geometry.get("coordinates"))
    if count > limit:
        raise TooLarge(f"A ring may have {limit:,} vertices, this one has {count:,}.", limit)


def _count(coordinates: object, depth: int = 3) -> int:
    """Return how many positions there are, as deep as those of a MultiPolygon lie."""
    if not isinstance(coordinates, list) or not coordinates:
        return 0
    if depth == 0 or not isinstance(coordinates[0], list):
        return 1
    if coordinates[0] and not isinstance(coordinates[0][0], list):
        return len(coordinates)
    return sum(_count(part, depth - 1) for part in coordinates)


def _draft(properties: dict[str, Any], datum: Datum) -> RingDraft:
    try:
        return RingDraft.model_validate({**properties, "datum_received": datum})
    except ValidationError as error:
        faults = [fault.with_prefix("/properties") for fault in payloads.faults_of(error)]
        detail = f"The ring is not valid: {faults[0].pointer}: {faults[0].message}."
        raise Invalid(detail, issues=faults) from error


def _polygon(geometry: Mapping[str, Any], datum: Datum) -> MultiPolygon:
    """Return the valid MultiPolygon in WGS 84 of a GeoJSON geometry in any accepted datum."""
    try:
        received = geojson.parse(geometry, _POLYGONAL)
    except PydanticCustomError as error:
        fault = Issue("/geometry", error.type, error.message())
        raise Invalid(f"The geometry is not valid: {error.message()}.", code=error.type, issues=(fault,)) from error
    validity.check_polygonal(received)
    if datum in ("wgs84", "cgcs2000"):
        return validity.check_polygonal(received)
    shifted = datums.geometry_to_wgs84(received, datum)
    rounded = shapely.transform(shifted, lambda xy: np.round(xy, DECIMALS))
    return validity.check_polygonal(rounded)


def _check_nesting(
    level: Level,
    polygon: MultiPolygon,
    tolerance_m: float,
    others: list[ring_queries.BoundaryRow],
    frame: Frame,
) -> None:
    mine = LEVELS.index(level)
    for other in others:
        theirs = LEVELS.index(other.level)
        geometry = cast(MultiPolygon, other.geometry)
        outer, inner = (polygon, geometry) if mine > theirs else (geometry, polygon)
        names = (level, other.level) if mine > theirs else (other.level, level)
        allowed = max(tolerance_m, other.tolerance_m)
        fault = validity.check_nesting(outer, inner, frame, allowed)
        if fault is not None:
            lon, lat = fault.where
            message = (
                f"the {names[0]} ring must cover the {names[1]} ring: it falls short by "
                f"{fault.excess_m:.1f} m at [{lon:.6f}, {lat:.6f}], and {allowed:g} m are tolerated"
            )
            raise Conflict(
                message[0].upper() + message[1:] + ".",
                code="rings-not-nested",
                issues=(Issue("/geometry", "rings-not-nested", message),),
            )

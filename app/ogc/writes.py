"""Features written through the GIS interface: the same services, rights and history as the native API.

What differs is how a GIS sends things: in another coordinate reference system, with every property it
read, nulls for what was left empty, and as text whatever its table has no type for.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

import orjson
from sqlalchemy.ext.asyncio import AsyncConnection

from app.access.roles import Principal
from app.errors import Conflict, Invalid, Issue, NotFound, PreconditionFailed
from app.geo.projection.reference_systems import CRS84, Crs, lonlat
from app.models.vocabulary import LEVELS, Level
from app.ogc.collection_model import Collection, Property, Type
from app.records import geojson, payloads
from app.records import service as record_service
from app.records.payloads import Precondition
from app.records.service import Written
from app.rings import queries as ring_queries
from app.rings import service as ring_service

_MEMBERS = frozenset({"type", "id", "geometry", "properties", "links", "bbox"})


def _refused(message: str, pointer: str = "") -> Invalid:
    return Invalid(f"The feature is not valid: {message}.", issues=(Issue(pointer, "feature", message),))


def _feature(collection: Collection, payload: object, crs: Crs) -> dict[str, Any]:
    """Return the members of a feature, its geometry in longitude and latitude."""
    if not isinstance(payload, Mapping) or not all(isinstance(name, str) for name in payload):
        raise _refused("a GeoJSON Feature is needed")
    foreign = sorted(payload.keys() - _MEMBERS)
    if foreign:
        raise _refused(f"unknown member {foreign[0][:60]!r}", f"/{foreign[0][:60]}")
    properties = payload.get("properties")
    if not isinstance(properties, Mapping | None):
        raise _refused("its properties are an object", "/properties")
    feature = {**payload, "properties": _plain(collection, properties or {})}
    geometry = payload.get("geometry")
    if isinstance(geometry, Mapping) and crs != CRS84:
        feature["geometry"] = geojson.converted(geometry, lambda found: lonlat(found, crs).tolist())
    return feature


def _plain(collection: Collection, properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return properties without what the registry sets itself; any of them may come as text."""
    plain = {}
    for name, value in properties.items():
        known = collection.by_name.get(name)
        if known is not None and known.kept and name != "code":
            continue
        plain[name] = _read(known, value) if known and isinstance(value, str) else value
    return plain


_MEANT: Final[Mapping[Type, tuple[type, ...]]] = {
    "integer": (int, float), "number": (int, float), "boolean": (bool,),
    "words": (list,), "json": (dict, list),
}  # fmt: skip
"""What a text may stand for; a bool is no number here, though Python says so."""


def _read(known: Property, text: str) -> Any:
    """Return what a text means where the property is not one; what cannot be read is left to refuse.

    A column that was empty in the first rows a GIS read is a text to it, and so is a list or an object
    to those that have no such type. No text there is nothing there.
    """
    if known.type == "text":
        return text
    if not text.strip():
        return None
    meant = _MEANT.get(known.type, ())
    with suppress(orjson.JSONDecodeError):
        value = orjson.loads(text)
        if type(value) in meant:
            return value
    if known.type == "words" and not text.lstrip().startswith(("[", "{")):
        return [word.strip() for word in text.split(",")]
    return text


def _complete(collection: Collection, payload: object, crs: Crs) -> dict[str, Any]:
    """Return a whole record: what is null there was left empty.

    Except the life cycle, whose default would put a removed device back into service.
    """
    feature = _feature(collection, payload, crs)
    if feature.get("type") != "Feature":
        raise _refused("a GeoJSON Feature is needed", "/type")
    record = {name: value for name, value in feature["properties"].items() if value is not None or name == "lifecycle"}
    given = feature.get("id")
    if given is not None and record.setdefault("code", given) != given:
        raise _refused("the id is not the code", "/id")
    record["geometry"] = feature.get("geometry")
    return record


async def create(
    connection: AsyncConnection,
    collection: Collection,
    payload: object,
    who: Principal,
    *,
    crs: Crs,
    max_vertices: int,
) -> Written:
    """Create one feature.

    Raises
    ------
    Conflict
        when its code exists.
    """
    record = _complete(collection, payload, crs)
    if collection.kind is not None:
        if record.get("lifecycle") is None:
            record.pop("lifecycle", None)
        return await record_service.create(connection, collection.kind, payloads.draft(collection.kind, record), who)
    code = f"{record.get('jurisdiction')}-{record.get('level')}"
    try:
        condition = Precondition(if_none_match="*")
        return await _put_ring(connection, code, record, who, condition, max_vertices)
    except PreconditionFailed as error:
        raise Conflict(f"The ring {code!r} exists.", code="already-exists") from error


async def put(
    connection: AsyncConnection,
    collection: Collection,
    code: str,
    payload: object,
    who: Principal,
    condition: Precondition,
    *,
    crs: Crs,
    max_vertices: int,
) -> Written:
    """Create or replace one feature."""
    record = _complete(collection, payload, crs)
    if collection.kind is not None:
        wanted = payloads.draft(collection.kind, record, code=code)
        return await record_service.put(connection, collection.kind, wanted, who, condition)
    return await _put_ring(connection, code, record, who, condition, max_vertices)


async def patch(
    connection: AsyncConnection,
    collection: Collection,
    code: str,
    payload: object,
    who: Principal,
    condition: Precondition,
    *,
    crs: Crs,
    max_vertices: int,
) -> Written:
    """Merge changes into one feature (RFC 7396)."""
    feature = _feature(collection, payload, crs)
    changes = feature["properties"] | ({"geometry": feature["geometry"]} if "geometry" in feature else {})
    if collection.kind is not None:
        return await record_service.patch(connection, collection.kind, code, changes, who, condition)
    jurisdiction, level = _ring(code)
    who.need_in("editor", [jurisdiction])
    await ring_queries.hold(connection, [jurisdiction], alone=True)
    _, body = await ring_service.get(connection, jurisdiction, level, who)
    now = orjson.loads(body)
    current = _plain(collection, now["properties"]) | {"geometry": now["geometry"]}
    merged = payloads.merged(current, changes)
    return await _put_ring(connection, code, merged, who, condition, max_vertices)


async def remove(
    connection: AsyncConnection,
    collection: Collection,
    code: str,
    who: Principal,
    condition: Precondition,
) -> None:
    """Remove one feature; its history stays."""
    if collection.kind is not None:
        await record_service.remove(connection, collection.kind, code, who, condition)
        return
    jurisdiction, level = _ring(code)
    await ring_service.remove(connection, jurisdiction, level, who, condition)


def _ring(code: str) -> tuple[str, Level]:
    """Return jurisdiction and level of a ring's id."""
    jurisdiction, _, word = code.partition("-")
    level = next((known for known in LEVELS if known == word), None)
    if level is None:
        raise NotFound("ring", code)
    return jurisdiction, level


async def _put_ring(
    connection: AsyncConnection,
    code: str,
    record: Mapping[str, Any],
    who: Principal,
    condition: Precondition,
    max_vertices: int,
) -> Written:
    properties = {name: value for name, value in record.items() if name not in ("geometry", "code")}
    properties.pop("datum_received", None)
    told = f"{properties.get('jurisdiction')}-{properties.get('level')}"
    if record.get("jurisdiction") is not None and told != code:
        raise _refused("jurisdiction and level are not those of its id", "/properties")
    jurisdiction, level = _ring(code)
    feature = {"type": "Feature", "geometry": record.get("geometry"), "properties": properties}
    written = await ring_service.put(
        connection, jurisdiction, level, feature, who, condition,
        datum="wgs84", max_vertices=max_vertices,
    )  # fmt: skip
    return Written(code, written.version, written.created)

"""Writes through the OGC interface, with the same services, rights and history as the native API.

A GIS sends records in a different form: in another coordinate reference system, with all properties that it read,
with null for empty ones, and with text for types that its tables do not have.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

import orjson
from sqlalchemy.ext.asyncio import AsyncConnection

from app.access.roles import Principal
from app.errors import Conflict, Invalid, Issue, NotFound, PreconditionFailed
from app.geo.projection.reference_systems import CRS84, Crs, convert_to_lonlat
from app.messages import Message
from app.models.vocabulary import LEVELS, Level
from app.ogc.collection_model import Collection, Property, Type
from app.records import geojson, payloads
from app.records import service as record_service
from app.records.payloads import Precondition
from app.records.queries import memberships as membership_queries
from app.records.service import WriteResult
from app.rings import service as ring_service

_MEMBERS = frozenset({"type", "id", "geometry", "properties", "links", "bbox"})


def build_feature_error(message: Message, pointer: str = "") -> Invalid:
    """Return the error for a feature that is not valid."""
    detail = Message("The feature is not valid: {message}.", message=message)
    return Invalid(detail, issues=(Issue(pointer, "feature", message),))


def parse_feature(collection: Collection, payload: object, crs: Crs) -> dict[str, Any]:
    """Return the members of a feature, with its geometry in longitude and latitude."""
    if not isinstance(payload, Mapping) or not all(isinstance(name, str) for name in payload):
        raise build_feature_error(Message("the body must be a GeoJSON Feature"))
    foreign = sorted(payload.keys() - _MEMBERS)
    if foreign:
        raise build_feature_error(Message("unknown member {name!r}", name=foreign[0][:60]), f"/{foreign[0][:60]}")
    properties = payload.get("properties")
    if not isinstance(properties, Mapping | None):
        raise build_feature_error(Message("`properties` must be an object"), "/properties")
    feature = {**payload, "properties": select_writable(collection, properties or {})}
    geometry = payload.get("geometry")
    if isinstance(geometry, Mapping) and crs != CRS84:
        feature["geometry"] = geojson.convert_positions(
            geometry, lambda positions: convert_to_lonlat(positions, crs).tolist()
        )
    return feature


def select_writable(collection: Collection, properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return the properties that a client may set; each may be sent as text."""
    values = {}
    for name, value in properties.items():
        field = collection.by_name.get(name)
        if field is not None and field.kept and name != "code":
            continue
        values[name] = convert_text(field, value) if field and isinstance(value, str) else value
    return values


_JSON_TYPES: Final[Mapping[Type, tuple[type, ...]]] = {
    "integer": (int, float),
    "number": (int, float),
    "boolean": (bool,),
    "words": (list,),
    "json": (dict, list),
}
"""Python types of the values that a text can represent; a bool does not count as a number."""


def convert_text(field: Property, text: str) -> Any:
    """Return the value of a text for a property that is not text; a text that cannot be converted stays as it is.

    A GIS treats a column as text if its first rows are empty, or if it has no type for lists and objects. An
    empty text is null.
    """
    if field.type == "text":
        return text
    if not text.strip():
        return None
    accepted_types = _JSON_TYPES.get(field.type, ())
    with suppress(orjson.JSONDecodeError):
        value = orjson.loads(text)
        if type(value) in accepted_types:
            return value
    if field.type == "words" and not text.lstrip().startswith(("[", "{")):
        return [word.strip() for word in text.split(",")]
    return text


def build_record(collection: Collection, payload: object, crs: Crs) -> dict[str, Any]:
    """Return a complete record; null properties are left out.

    A null lifecycle is not left out, because its default would put a removed device back into service.
    """
    feature = parse_feature(collection, payload, crs)
    if feature.get("type") != "Feature":
        raise build_feature_error(Message('the type must be "Feature"'), "/type")
    record = {name: value for name, value in feature["properties"].items() if value is not None or name == "lifecycle"}
    feature_id = feature.get("id")
    if feature_id is not None and record.setdefault("code", feature_id) != feature_id:
        raise build_feature_error(Message("the id must equal the property `code`"), "/id")
    record["geometry"] = feature.get("geometry")
    return record


async def create_feature(
    connection: AsyncConnection,
    collection: Collection,
    payload: object,
    principal: Principal,
    *,
    crs: Crs,
    max_vertices: int,
) -> WriteResult:
    """Create one feature.

    Raises
    ------
    Conflict
        when its code exists.
    """
    record = build_record(collection, payload, crs)
    if collection.kind is not None:
        if record.get("lifecycle") is None:
            record.pop("lifecycle", None)
        return await record_service.create_record(
            connection, collection.kind, payloads.parse_draft(collection.kind, record), principal
        )
    code = f"{record.get('jurisdiction')}-{record.get('level')}"
    try:
        condition = Precondition(if_none_match="*")
        return await put_ring_feature(connection, code, record, principal, condition, max_vertices)
    except PreconditionFailed as error:
        raise Conflict(Message("The ring {code!r} already exists.", code=code), code="already-exists") from error


async def put_feature(
    connection: AsyncConnection,
    collection: Collection,
    code: str,
    payload: object,
    principal: Principal,
    condition: Precondition,
    *,
    crs: Crs,
    max_vertices: int,
) -> WriteResult:
    """Create or replace one feature."""
    record = build_record(collection, payload, crs)
    if collection.kind is not None:
        draft = payloads.parse_draft(collection.kind, record, code=code)
        return await record_service.save_record(connection, collection.kind, draft, principal, condition)
    return await put_ring_feature(connection, code, record, principal, condition, max_vertices)


async def patch_feature(
    connection: AsyncConnection,
    collection: Collection,
    code: str,
    payload: object,
    principal: Principal,
    condition: Precondition,
    *,
    crs: Crs,
    max_vertices: int,
) -> WriteResult:
    """Merge changes into one feature (RFC 7396)."""
    feature = parse_feature(collection, payload, crs)
    changes = feature["properties"] | ({"geometry": feature["geometry"]} if "geometry" in feature else {})
    if collection.kind is not None:
        return await record_service.patch_record(connection, collection.kind, code, changes, principal, condition)
    jurisdiction, level = parse_ring_id(code)
    principal.require_role_in("editor", [jurisdiction])
    await membership_queries.lock_rings(connection, [jurisdiction], exclusive=True)
    _, body = await ring_service.load_ring(connection, jurisdiction, level, principal)
    now = orjson.loads(body)
    current = select_writable(collection, now["properties"]) | {"geometry": now["geometry"]}
    merged = payloads.apply_merge_patch(current, changes)
    return await put_ring_feature(connection, code, merged, principal, condition, max_vertices)


async def remove_feature(
    connection: AsyncConnection,
    collection: Collection,
    code: str,
    principal: Principal,
    condition: Precondition,
) -> None:
    """Remove one feature; its history stays."""
    if collection.kind is not None:
        await record_service.remove_record(connection, collection.kind, code, principal, condition)
        return
    jurisdiction, level = parse_ring_id(code)
    await ring_service.remove_ring(connection, jurisdiction, level, principal, condition)


def parse_ring_id(code: str) -> tuple[str, Level]:
    """Return jurisdiction and level of the id of a ring."""
    jurisdiction, _, word = code.partition("-")
    level = next((field for field in LEVELS if field == word), None)
    if level is None:
        raise NotFound("ring", code)
    return jurisdiction, level


async def put_ring_feature(
    connection: AsyncConnection,
    code: str,
    record: Mapping[str, Any],
    principal: Principal,
    condition: Precondition,
    max_vertices: int,
) -> WriteResult:
    """Create or replace a ring boundary."""
    properties = {name: value for name, value in record.items() if name not in ("geometry", "code")}
    properties.pop("datum_received", None)
    ring_id = f"{properties.get('jurisdiction')}-{properties.get('level')}"
    if record.get("jurisdiction") is not None and ring_id != code:
        raise build_feature_error(Message("jurisdiction and level must match the id of the feature"), "/properties")
    jurisdiction, level = parse_ring_id(code)
    feature = {"type": "Feature", "geometry": record.get("geometry"), "properties": properties}
    written = await ring_service.save_ring(
        connection, jurisdiction, level, feature, principal, condition, datum="wgs84", max_vertices=max_vertices
    )
    return WriteResult(code, written.version, written.created)

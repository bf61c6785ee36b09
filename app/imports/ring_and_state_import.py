"""Imports of rings, through the ring service, and of device states."""

from datetime import datetime
from typing import Any, Final, cast

import numpy as np
import orjson
import pyarrow as pa
import shapely
from sqlalchemy.ext.asyncio import AsyncConnection

from app.errors import RegistryError
from app.imports import row_errors
from app.imports.result_store import RowOutcomes
from app.imports.staging import DuplicateIndex
from app.imports.transaction import ImportTransaction
from app.ingest.validation.issues import RowIssue
from app.models.vocabulary import LEVELS, Datum, Level
from app.records.drafts import RingDraft
from app.records.payloads import Precondition
from app.records.queries import records as record_queries
from app.rings import queries as ring_queries
from app.rings import service as ring_service
from app.states import queries as state_queries
from app.states.service import FUTURE_TOLERANCE

_PRECONDITIONS: Final = {
    "upsert": Precondition(None, None),
    "create_only": Precondition(None, "*"),
    "update_only": Precondition("*", None),
}
_MAX_SHOWN_VERTICES: Final = 200
"""Vertices of a boundary that a change shows in full."""
_PROPERTIES: Final = tuple(name for name in RingDraft.model_fields if name not in ("jurisdiction", "level"))


async def import_rings(transaction: ImportTransaction) -> None:
    """Import the boundaries of a file, the outermost first, each by the rules of the ring service."""
    duplicates = DuplicateIndex()
    async for batch, table, owners in transaction.iter_batches():
        records = table.to_pylist()
        rows = np.array([record["row"] for record in records], np.int64)
        codes = [build_ring_code(record) for record in records]
        for index, first in duplicates.add_texts(codes, rows):
            batch.add_issues([row_errors.DUPLICATE_CODE.to_issue(int(rows[index]), codes[index], first=first)])
        refused = set(batch.refused)
        for record in sorted(records, key=lambda record: -LEVELS.index(record["level"])):
            if record["row"] not in refused:
                await import_ring(transaction, batch, record)
        batch.staged, batch.codes = rows, pa.array(codes, pa.string())
        transaction.outcome.jurisdictions = sorted({*transaction.outcome.jurisdictions, *owners})
        await transaction.record_batch(batch)
    transaction.check_refused_rows()


def build_ring_code(record: dict[str, Any]) -> str:
    """Return the code of a ring, such as ``410800/core``."""
    return f"{record['jurisdiction']}/{record['level']}"


async def import_ring(transaction: ImportTransaction, batch: RowOutcomes, record: dict[str, Any]) -> None:
    """Import one ring; add its issues or changes to the outcomes."""
    row, jurisdiction, level = record["row"], record["jurisdiction"], record["level"]
    code = build_ring_code(record)
    version = await record_queries.lock_version(transaction.connection, "ring", code)
    registered = await fetch_ring(transaction.connection, jurisdiction, level)
    if version is None and not transaction.prepared.plan.has_location:
        batch.add_issues([row_errors.not_registered(row, code, "ring", missing=("geometry",))])
        return
    feature, datum = build_ring(transaction, record, registered)
    try:
        async with transaction.connection.begin_nested():
            saved = await ring_service.save_ring(
                transaction.connection,
                jurisdiction,
                cast(Level, level),
                feature,
                transaction.prepared.principal,
                _PRECONDITIONS[transaction.prepared.request.mode],
                datum="wgs84",
                max_vertices=transaction.prepared.max_vertices,
                received=cast(Datum, datum),
            )
    except RegistryError as error:
        batch.add_issues([row_errors.refused_by_service(row, "geometry", error.code, error.detail)])
        return
    if saved.version == version:
        batch.unchanged = np.append(batch.unchanged, row)
    elif version is not None:
        batch.changes[row] = dump_changes(registered, await fetch_ring(transaction.connection, jurisdiction, level))


def build_ring(
    transaction: ImportTransaction, record: dict[str, Any], registered: dict[str, Any]
) -> tuple[dict[str, Any], str]:
    """Return the GeoJSON feature of a ring, and the datum that its boundary was received in.

    Fields that the file does not have keep their registered values.
    """
    fields = {name: record[name] for name in transaction.prepared.plan.fields if name in record and name in _PROPERTIES}
    values = registered | fields
    if transaction.prepared.plan.has_location:
        shape = shapely.from_wkb(record["geometry"])
        values["geometry"] = orjson.loads(shapely.to_geojson(shape))
        values["datum_received"] = record["datum_received"] or "wgs84"
    if fields.get("tolerance_m") is not None:
        values["tolerance_m"] = float(fields["tolerance_m"])
    properties = {name: value for name, value in values.items() if value is not None}
    geometry, datum = properties.pop("geometry"), properties.pop("datum_received", "wgs84")
    return {"type": "Feature", "geometry": geometry, "properties": properties}, datum


async def fetch_ring(connection: AsyncConnection, jurisdiction: str, level: str) -> dict[str, Any]:
    """Return the properties and the geometry of a registered ring; empty if it is not registered."""
    for _, body in await ring_queries.fetch_ring_features(connection, jurisdiction, level):
        feature = orjson.loads(body)
        properties = {name: feature["properties"][name] for name in _PROPERTIES}
        return {**properties, "geometry": feature["geometry"]}
    return {}


def dump_changes(before: dict[str, Any], after: dict[str, Any]) -> str:
    """Return the JSON of the changes of a ring; a long boundary is shown by its number of vertices."""
    changes = {name: [before[name], after[name]] for name in before if before[name] != after[name]}
    if "geometry" in changes and max(map(count_vertices, changes["geometry"])) > _MAX_SHOWN_VERTICES:
        changes["geometry"] = [
            {"type": shape["type"], "vertices": count_vertices(shape)} for shape in changes["geometry"]
        ]
    return orjson.dumps(changes).decode()


def count_vertices(shape: dict[str, Any]) -> int:
    """Return the number of vertices of a polygon or multipolygon."""
    polygons = shape["coordinates"] if shape["type"] == "MultiPolygon" else [shape["coordinates"]]
    return sum(len(ring) for polygon in polygons for ring in polygon)


async def import_states(transaction: ImportTransaction) -> None:
    """Import device states; those that are older than the registered ones are ignored."""
    scope = transaction.prepared.principal.require_scope("editor")
    now = await state_queries.fetch_now(transaction.connection)
    async for batch, table, _ in transaction.iter_batches():
        reports = table.to_pylist()
        rows = table["row"].to_numpy().astype(np.int64)
        batch.add_issues(await record_reports(transaction, reports, scope, now))
        batch.staged, batch.codes = rows, pa.array([report["code"] for report in reports], pa.string())
        batch.changes = dict.fromkeys(np.setdiff1d(rows, batch.refused).tolist(), "{}")
        await transaction.record_batch(batch)
    transaction.check_refused_rows()


async def record_reports(
    transaction: ImportTransaction, reports: list[dict[str, Any]], scope: list[str] | None, now: datetime
) -> list[RowIssue]:
    """Record reports; return the issues of reports in the future and of unknown devices."""
    issues, accepted = [], []
    for report in reports:
        text = report["reported_at"]
        reported_at = now if text is None else datetime.fromisoformat(text)
        if reported_at > now + FUTURE_TOLERANCE:
            issues.append(row_errors.FUTURE_TIME.to_issue(report["row"]))
        else:
            accepted.append({**report, "reported_at": reported_at})
    applied, unknown = await state_queries.upsert_reports(transaction.connection, accepted, scope)
    transaction.outcome.add_counts({"states": applied})
    unknown_devices = set(unknown)
    return issues + [
        row_errors.UNKNOWN_DEVICE.to_issue(report["row"], report["code"], kind=report["kind"])
        for report in accepted
        if (report["kind"], report["code"]) in unknown_devices
    ]

"""Rows that are no located records: rings, through the rules of rings, and device states."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, Final, cast

import anyio
import numpy as np
import orjson
import pyarrow as pa
import shapely
from sqlalchemy.ext.asyncio import AsyncConnection

from app.errors import RegistryError
from app.imports import row_errors
from app.imports.result_store import Page
from app.imports.staging import Seen
from app.imports.transaction import ROWS, Outcome, Work, conclude, judged_batch
from app.ingest.validation.batch_validation import batches
from app.ingest.validation.issues import RowFault
from app.models.vocabulary import LEVELS, Datum, Level
from app.records.drafts import RingDraft
from app.records.payloads import Precondition
from app.rings import queries as ring_queries
from app.rings import service as ring_service
from app.states import queries as state_queries
from app.states.service import FUTURE_TOLERANCE

_PRECONDITIONS = {
    "upsert": Precondition(None, None),
    "create_only": Precondition(None, "*"),
    "update_only": Precondition("*", None),
}


_KEY: Final = ("jurisdiction", "level")


async def import_rings(connection: AsyncConnection, work: Work, outcome: Outcome) -> None:
    """Put every boundary of a file in force, the outermost first, each by the rules of rings."""
    rows = batches(work.plan, work.source, ROWS)
    seen = Seen()
    while (found := await anyio.to_thread.run_sync(judged_batch, rows, work.plan)) is not None:
        page, good, owners = found
        records = good.to_pylist()
        numbers = np.array([record["row"] for record in records], np.int64)
        codes = [f"{record['jurisdiction']}/{record['level']}" for record in records]
        for at, first in seen.repeats(codes, numbers):
            page.refuse([row_errors.duplicate(int(numbers[at]), codes[at], first)])
        refused = set(page.refused)
        outer_first = sorted(records, key=lambda record: -LEVELS.index(record["level"]))
        for record in outer_first:
            if record["row"] not in refused:
                await _put(connection, work, page, record)
        _fill(page, numbers, codes)
        outcome.add(page.counts())
        outcome.jurisdictions = sorted({*outcome.jurisdictions, *owners})
        await work.watch.page(page, outcome.counts, outcome.jurisdictions)
    conclude(work, outcome)


async def _put(connection: AsyncConnection, work: Work, page: Page, record: dict[str, Any]) -> None:
    row, jurisdiction, level = record.pop("row"), record.pop("jurisdiction"), record.pop("level")
    given = {name: value for name, value in record.items() if name in work.plan.fields}
    before = await ring_queries.lock(connection, f"{jurisdiction}/{level}")
    was = await _registered(connection, jurisdiction, level)
    kept = dict(was)
    if work.plan.placed:
        shape = shapely.from_wkb(given.pop("geometry"))
        kept["geometry"] = orjson.loads(shapely.to_geojson(shape))  # lists, as a body has them
        kept["datum_received"] = record["datum_received"] or "wgs84"
    elif before is None:
        page.refuse([row_errors.absent(row, f"{jurisdiction}/{level}", "ring", whole=False)])
        return
    if given.get("tolerance_m") is not None:
        given["tolerance_m"] = float(given["tolerance_m"])
    properties = {name: value for name, value in {**kept, **given}.items() if value is not None}
    geometry, received = properties.pop("geometry"), properties.pop("datum_received")
    feature = {"type": "Feature", "geometry": geometry, "properties": properties}
    try:
        async with connection.begin_nested():
            done = await ring_service.put(
                connection, jurisdiction, cast(Level, level), feature, work.who,
                _PRECONDITIONS[work.wanted.mode], datum="wgs84", max_vertices=work.max_vertices,
                received=cast(Datum, received),
            )  # fmt: skip
    except RegistryError as error:
        page.refuse([row_errors.refused(row, "geometry", error.code, error.detail)])
        return
    if done.version == before:
        page.unchanged = np.append(page.unchanged, row)
    elif before is not None:
        page.changes[row] = _changes(was, await _registered(connection, jurisdiction, level))


def _changes(was: dict[str, Any], now: dict[str, Any]) -> str:
    """Return the JSON of what changed of a boundary; a long one is told by its size."""
    pairs = {name: [was[name], now[name]] for name in was if was[name] != now[name]}
    if "geometry" in pairs and max(_vertices(shape) for shape in pairs["geometry"]) > _TOLD:
        pairs["geometry"] = [{"type": shape["type"], "vertices": _vertices(shape)} for shape in pairs["geometry"]]
    return orjson.dumps(pairs).decode()


def _vertices(shape: dict[str, Any]) -> int:
    polygons = shape["coordinates"] if shape["type"] == "MultiPolygon" else [shape["coordinates"]]
    return sum(len(ring) for polygon in polygons for ring in polygon)


_TOLD: Final = 200
"""Vertices of a boundary that is told before and after."""
_PROPERTIES: Final = tuple(name for name in RingDraft.model_fields if name not in _KEY)


async def _registered(connection: AsyncConnection, jurisdiction: str, level: str) -> dict[str, Any]:
    """Return what is registered of a boundary, as a body has it; nothing when it is not there."""
    for _, body in await ring_queries.features(connection, jurisdiction, level):
        feature = orjson.loads(body)
        found = {name: feature["properties"][name] for name in _PROPERTIES}
        return {**found, "geometry": feature["geometry"]}
    return {}


def _fill(page: Page, numbers: Any, codes: list[str]) -> None:
    page.good, page.codes = numbers, pa.array(codes, pa.string())


async def import_states(connection: AsyncConnection, work: Work, outcome: Outcome) -> None:
    """Record the states of a file; those that are no news are harmless, unknown devices are told."""
    scope = work.who.scope("editor")
    latest = await state_queries.now(connection)
    rows = batches(work.plan, work.source, ROWS)
    while (found := await anyio.to_thread.run_sync(judged_batch, rows, work.plan)) is not None:
        page, good, _ = found
        reports = good.to_pylist()
        numbers = good["row"].to_numpy().astype(np.int64)
        page.refuse(await _report(connection, reports, scope, latest, outcome))
        _fill(page, numbers, [report["code"] for report in reports])
        page.changes = dict.fromkeys(np.setdiff1d(numbers, page.refused).tolist(), "{}")
        outcome.add(page.counts())
        await work.watch.page(page, outcome.counts, outcome.jurisdictions)
    conclude(work, outcome)


async def _report(
    connection: AsyncConnection,
    reports: list[dict[str, Any]],
    scope: list[str] | None,
    latest: datetime,
    outcome: Outcome,
) -> list[RowFault]:
    limit = latest + FUTURE_TOLERANCE
    faults, kept = [], []
    for report in reports:
        text = report["reported_at"]
        when = latest if text is None else datetime.fromisoformat(text)
        if when > limit:
            faults.append(row_errors.ahead(report["row"]))
        else:
            kept.append({**report, "reported_at": when})
    applied, unknown = await state_queries.report(
        connection, [{k: v for k, v in r.items() if k != "row"} for r in kept], scope
    )
    outcome.add({"states": applied})
    strangers = set(unknown)
    faults += [
        row_errors.unknown_device(report["row"], report["kind"], report["code"])
        for report in kept
        if (report["kind"], report["code"]) in strangers
    ]
    return faults


Special = Callable[[AsyncConnection, Work, Outcome], Awaitable[None]]
IMPORTERS: dict[str, Special] = {"ring": import_rings, "state": import_states}

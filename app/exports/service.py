"""Exports: everything a collection holds as a file, written while the rows come from the database.

Every collection of ``app.ogc.collections`` can be exported. Records come through a cursor; answers
of the analysis from ``app.ogc.analysis_features.SOURCES``: whoever adds an answer there has its export.
One transaction sees one state, whatever is written meanwhile; memory does not grow with the rows.
"""

import asyncio
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

import anyio
import anyio.from_thread
import anyio.to_thread
import orjson
import pyarrow as pa
import shapely
from sqlalchemy import text

from app.access.roles import Principal
from app.analysis.service import Answers
from app.db.engine import Database
from app.errors import InvalidQuery
from app.exports import queries as export_queries
from app.geo.projection.reference_systems import CRS84, SYSTEMS, Crs, from_lonlat, named
from app.ingest.writers.formats import FORMATS, Column, Layout
from app.ingest.writers.model import ARROW, Batches
from app.ingest.writers.platforms import REQUIRED_FIELDS
from app.ogc.analysis_features import SOURCES
from app.ogc.collection_model import Collection, Property
from app.ogc.collections import BY_ID
from app.records.titles import heading

Language = Literal["en", "zh"]
ROWS: Final = 5_000
AT_ONCE: Final = 4
"""Exports of one process at a time; others wait for their turn."""


@dataclass(frozen=True)
class Wanted:
    """What is to be exported, and how."""

    collection: Collection
    format: str
    filters: Mapping[str, Any] = field(default_factory=dict)
    crs: Crs = CRS84
    language: Language = "en"
    fields: tuple[str, ...] | None = None
    bom: bool = False

    @property
    def jurisdiction(self) -> str | None:
        """Return the one jurisdiction that is asked for."""
        found: str | None = self.filters.get("jurisdiction")
        return found


@dataclass(frozen=True)
class Export:
    """A file on its way."""

    name: str
    media_type: str
    notes: tuple[str, ...]
    """What the format cannot hold."""
    pieces: AsyncGenerator[bytes, None]
    """To be closed, or read to the end."""
    rows: Sequence[int]
    """How many rows were read so far, one number that grows."""


def formats_of(collection: Collection) -> dict[str, str]:
    """Return the formats a collection can be exported in, with their media types."""
    return {
        name: known.media_type for name, known in FORMATS.items() if not known.kinds or collection.id in known.kinds
    }


def wanted(
    collection_id: str,
    format_name: str,
    filters: Mapping[str, Any],
    *,
    crs: str | None = None,
    language: Language = "en",
    fields: str | None = None,
    bom: bool = False,
) -> Wanted:
    """Return what is asked for, checked.

    Raises
    ------
    InvalidQuery
        naming the parameter that is wrong, and what would be right.
    """
    collection = BY_ID[collection_id]
    chosen = None if not fields else tuple(name.strip() for name in fields.split(","))
    for name in chosen or ():
        if name not in collection.by_name:
            known = ", ".join(collection.by_name)
            raise InvalidQuery(
                f"There is no field {name!r} in {collection_id}; there are {known}.",
                parameter="fields",
            )
    if collection.answer:
        _refuse_foreign(collection, filters)
    system = _system(crs)
    if FORMATS[format_name].lonlat and system.srid != CRS84.srid:
        raise InvalidQuery(f"{format_name} knows longitude and latitude only: leave out crs.", parameter="crs")
    return Wanted(collection, format_name, dict(filters), system, language, chosen, bom)


def _refuse_foreign(collection: Collection, filters: Mapping[str, Any]) -> None:
    """Refuse a filter by what the features of an answer do not have: it would be passed over."""
    for name, value in filters.items():
        if value is not None and name not in collection.by_name:
            raise InvalidQuery(
                f"{collection.id} has no {name}; its fields are {', '.join(collection.by_name)}.",
                parameter=name,
            )


def _system(text_of_crs: str | None) -> Crs:
    if text_of_crs is None:
        return CRS84
    found = named(text_of_crs) or named(f"EPSG:{text_of_crs}")
    if found is None:
        known = ", ".join(f"EPSG:{system.srid}" for system in SYSTEMS[1:])
        raise InvalidQuery(f"There is no CRS {text_of_crs!r} here; there are CRS84, {known}.", parameter="crs")
    return found


class Exports:
    """The exports of one process."""

    def __init__(self, database: Database, answers: Answers) -> None:
        self._database, self._answers = database, answers
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def open(self, asked: Wanted, who: Principal) -> Export:
        """Begin an export; the first piece is made before it is returned, so that failures are told.

        Raises
        ------
        Forbidden
            when the caller may not analyse.
        NotFound
            when the jurisdiction is outside the caller's scope.
        InvalidQuery
            when the answer or the format needs a jurisdiction, and none is named.
        """
        scope = who.scope("analyst")
        if asked.jurisdiction is not None:
            who.need_in("analyst", [asked.jurisdiction])
        elif asked.collection.answer or asked.format == "gb28181.xml":
            raise InvalidQuery("Name one jurisdiction with ?jurisdiction=.", parameter="jurisdiction")
        asked = replace(asked, filters={**asked.filters, "scope": scope})
        properties = _properties(asked, reveal=who.reveals)
        layout = _layout(asked, properties)
        told = list(FORMATS[asked.format].notes(_layout(replace(asked, language="en"), properties)))
        if asked.collection.answer:
            told += await self._not_assessed(asked, who)
        rows = [0]
        pieces = self._written(asked, who, layout, properties, rows)
        first = await anext(pieces, b"")  # a file may have nothing in it
        return Export(
            _file_name(asked), FORMATS[asked.format].media_type, tuple(told),
            _after(first, pieces), rows,
        )  # fmt: skip

    async def _not_assessed(self, asked: Wanted, who: Principal) -> list[str]:
        """Return what the answer could not say: a file without gaps is not a city without gaps."""
        assert asked.jurisdiction is not None  # noqa: S101  # asked for before
        answer = await SOURCES[asked.collection.id](self._answers, asked.jurisdiction, who)
        told = (await anyio.to_thread.run_sync(orjson.loads, answer)).get("not_assessed", [])
        return [
            f"Not assessed: {' '.join(filter(None, (item['what'], item.get('level'))))}: {item['reason']}."
            for item in told
        ]

    async def _written(
        self,
        asked: Wanted,
        who: Principal,
        layout: Layout,
        properties: Sequence[Property],
        rows: list[int],
    ) -> AsyncGenerator[bytes, None]:
        async with self._turns, _folder() as folder:
            source = (
                self._answered(asked, who, layout)
                if asked.collection.answer
                else self._recorded(asked, layout, properties)
            )
            async with source as (batches, count):
                known = replace(layout, count=count)
                iterator = FORMATS[asked.format].write(known, _counted(batches, rows), folder)
                while (piece := await anyio.to_thread.run_sync(next, iterator, None)) is not None:
                    if piece:
                        yield piece

    @asynccontextmanager
    async def _recorded(
        self, asked: Wanted, layout: Layout, properties: Sequence[Property]
    ) -> AsyncIterator[tuple[Batches, int | None]]:
        """Give the records of a collection, as they are now, in batches."""
        async with self._database.snapshot() as connection:
            await connection.execute(text("SELECT 1"))  # opens the transaction the cursor lives in
            count = None
            if asked.format == "gb28181.xml":
                count = await export_queries.count(
                    connection, asked.collection, asked.filters, export_queries.CATALOGUED
                )
            fetch = await export_queries.opened(connection, asked.collection, properties, asked.filters, asked.crs.srid)
            yield _batches(layout, fetch), count

    @asynccontextmanager
    async def _answered(
        self, asked: Wanted, who: Principal, layout: Layout
    ) -> AsyncIterator[tuple[Batches, int | None]]:
        """Give the features of an answer in batches."""
        assert asked.jurisdiction is not None  # noqa: S101  # asked for before
        answer = await SOURCES[asked.collection.id](self._answers, asked.jurisdiction, who)
        features = await anyio.to_thread.run_sync(_features, answer, asked)
        yield _of_features(layout, features, asked), len(features)


@asynccontextmanager
async def _folder() -> AsyncIterator[Path]:
    folder = await anyio.to_thread.run_sync(tempfile.mkdtemp, None, "export-")
    try:
        yield Path(folder)
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(_remove, Path(folder))


def _remove(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


async def _after(first: bytes, pieces: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(pieces):
        yield first
        async for piece in pieces:
            yield piece


def _counted(batches: Batches, rows: list[int]) -> Batches:
    for batch in batches:
        rows[0] += batch.num_rows
        yield batch


async def _more(fetch: export_queries.Next) -> Sequence[Any]:
    return await fetch(ROWS)


def _batches(layout: Layout, fetch: export_queries.Next) -> Batches:
    """Yield rows as they are asked for, from a worker thread."""
    while rows := anyio.from_thread.run(_more, fetch):
        columns = zip(*rows, strict=True)
        arrays = [_array(column, known.type) for column, known in zip(columns, layout.schema, strict=True)]
        yield pa.RecordBatch.from_arrays(arrays, schema=layout.schema)


def _array(column: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """Return values as a column; most columns of an inventory are empty, and cost nothing then."""
    if column[0] is None and all(value is None for value in column):
        return pa.nulls(len(column), kind)
    return pa.array(column, kind)


def _features(answer: bytes, asked: Wanted) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = orjson.loads(answer)["features"]
    simple = {
        name: value
        for name, value in asked.filters.items()
        if value is not None and name in asked.collection.by_name and name != "jurisdiction"
    }
    return [
        feature for feature in found if all(feature["properties"].get(name) == value for name, value in simple.items())
    ]


def _of_features(layout: Layout, features: list[dict[str, Any]], asked: Wanted) -> Batches:
    for start in range(0, len(features), ROWS):
        some = features[start : start + ROWS]
        arrays = [
            pa.array([_value(feature, column, asked) for feature in some], ARROW[column.type])
            for column in layout.columns
        ]
        shapes = shapely.from_geojson([orjson.dumps(f["geometry"]).decode() for f in some])
        if asked.crs.srid != CRS84.srid:
            shapes = shapely.transform(shapes, lambda xy: from_lonlat(xy, asked.crs))
        arrays.append(pa.array(shapely.to_wkb(shapes), pa.binary()))
        yield pa.RecordBatch.from_arrays(arrays, schema=layout.schema)


def _value(feature: Mapping[str, Any], column: Column, asked: Wanted) -> Any:
    if column.name == "code":
        return str(feature["id"])
    if column.name == "jurisdiction":
        return asked.jurisdiction
    value = feature["properties"].get(column.name)
    if value is None:
        return None
    if column.type in ("words", "json"):
        return orjson.dumps(value).decode()
    if column.type == "instant":
        return datetime.fromisoformat(value)
    if column.type == "day":
        return datetime.fromisoformat(value).date()
    return float(value) if column.type == "number" else value


def _properties(asked: Wanted, *, reveal: bool) -> list[Property]:
    shown = asked.collection.shown(reveal=reveal)
    if FORMATS[asked.format].kinds:
        return [known for known in shown if known.name in REQUIRED_FIELDS or known.name == "kind"]
    if asked.fields is None:
        return list(shown)
    by_name = {known.name: known for known in shown}
    return [by_name[name] for name in asked.fields if name in by_name]


def _layout(asked: Wanted, properties: Sequence[Property]) -> Layout:
    headers = {known.name: heading(known.name, "zh") if asked.language == "zh" else known.name for known in properties}
    x, y = ("easting", "northing") if asked.crs.metric else ("lon", "lat")
    places = (x, y, "geometry")
    if asked.language == "zh":
        places = (heading(x, "zh"), heading(y, "zh"), heading("geometry", "zh"))
    platform = f"{asked.jurisdiction or '000000'}00002000000001"
    return Layout(
        name=asked.collection.id,
        columns=tuple(Column(p.name, headers[p.name], p.type, p.kept) for p in properties),
        geometry_types=asked.collection.shapes,
        srid=asked.crs.srid,
        location_headers=places,
        bom=asked.bom,
        platform=platform,
    )


def _file_name(asked: Wanted) -> str:
    name = asked.collection.title_zh if asked.language == "zh" else asked.collection.id
    where = f"-{asked.jurisdiction}" if asked.jurisdiction else ""
    return f"{name}{where}-{datetime.now(UTC):%Y%m%d}.{asked.format}"

"""Exports: a collection as a file, written while its rows are read from the database.

Every collection of ``app.ogc.collections`` can be exported: records through a cursor, results of the
analysis from ``app.ogc.analysis_features.SOURCES``. A file shows one state of the registry, and the
memory that it needs does not depend on the number of rows.
"""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.from_thread
import anyio.to_thread
import orjson
import pyarrow as pa
import shapely
from sqlalchemy import text

from app.access.roles import Principal
from app.analysis.service import AnalysisService
from app.db.engine import Database
from app.errors import InvalidQuery
from app.exports import queries as export_queries
from app.geo.projection.reference_systems import CRS84, SYSTEMS, Crs, convert_from_lonlat, find_crs
from app.ingest.formats import WRITERS
from app.ingest.writers.model import ARROW, Batches, Column, Layout
from app.ingest.writers.platforms import REQUIRED_FIELDS
from app.instants import parse_day, parse_instant
from app.messages import Language, Message
from app.models.titles import build_heading
from app.ogc.analysis_features import SOURCES
from app.ogc.collection_model import Collection, Property
from app.ogc.collections import BY_ID

BATCH_ROWS: Final = 5_000
MAX_RUNNING: Final = 4
"""Exports that one process runs at the same time; others wait."""
_CATALOGUE: Final = "gb28181.xml"
"""Format that has the number of its rows at the start, and one platform."""


@dataclass(frozen=True)
class ExportRequest:
    """The rows and the form of an export."""

    collection: Collection
    format: str
    filters: Mapping[str, Any] = field(default_factory=dict)
    crs: Crs = CRS84
    language: Language = "en"
    fields: tuple[str, ...] | None = None
    bom: bool = False

    @property
    def jurisdiction(self) -> str | None:
        """The jurisdiction of the filters."""
        jurisdiction: str | None = self.filters.get("jurisdiction")
        return jurisdiction


@dataclass(frozen=True)
class Export:
    """A file whose content is produced while it is read."""

    name: str
    media_type: str
    notes: tuple[str, ...]
    """Properties that the format cannot hold, and results that are not assessed."""
    chunks: AsyncGenerator[bytes, None]
    """The content; the reader closes it, or reads it to the end."""
    row_count: Sequence[int]
    """Number of rows read so far: one item that grows."""


def list_formats(collection: Collection) -> dict[str, str]:
    """Return the media types of the formats of a collection, by format."""
    return {
        name: writer.media_type for name, writer in WRITERS.items() if not writer.kinds or collection.id in writer.kinds
    }


def build_request(
    collection_id: str,
    format_name: str,
    filters: Mapping[str, Any],
    *,
    crs: str | None = None,
    language: Language = "en",
    fields: str | None = None,
    bom: bool = False,
) -> ExportRequest:
    """Return a validated request.

    Raises
    ------
    InvalidQuery
        if a filter, a field or the CRS is not valid for the collection and the format.
    """
    collection = BY_ID[collection_id]
    names = None if not fields else tuple(name.strip() for name in fields.split(","))
    for name in names or ():
        if name not in collection.by_name:
            raise build_field_error(collection, name, parameter="fields")
    if collection.computed:
        # A filter that the features do not have would have no effect.
        for name, value in filters.items():
            if value is not None and name not in collection.by_name:
                raise build_field_error(collection, name, parameter=name)
    system = parse_crs(crs)
    if WRITERS[format_name].lonlat and system.srid != CRS84.srid:
        message = Message("Format {format} has longitude and latitude only. Remove crs.", format=format_name)
        raise InvalidQuery(message, parameter="crs")
    return ExportRequest(collection, format_name, dict(filters), system, language, names, bom)


def build_field_error(collection: Collection, name: str, *, parameter: str) -> InvalidQuery:
    """Return the error of an unknown field."""
    message = Message(
        "Unknown field {name!r} of {collection}. Fields: {known}.",
        name=name,
        collection=collection.id,
        known=", ".join(collection.by_name),
    )
    return InvalidQuery(message, parameter=parameter)


def parse_crs(crs: str | None) -> Crs:
    """Return a CRS by its name or EPSG code, CRS84 for None; raise InvalidQuery if it is unknown."""
    if crs is None:
        return CRS84
    system = find_crs(crs) or find_crs(f"EPSG:{crs}")
    if system is None:
        codes = ", ".join(f"EPSG:{system.srid}" for system in SYSTEMS[1:])
        raise InvalidQuery(Message("Unknown CRS {crs!r}. CRS: CRS84, {known}.", crs=crs, known=codes), parameter="crs")
    return system


class ExportService:
    """The exports of one process."""

    def __init__(self, database: Database, analysis: AnalysisService) -> None:
        self._database, self._analysis = database, analysis
        self._turns = asyncio.Semaphore(MAX_RUNNING)

    async def open_export(self, request: ExportRequest, principal: Principal) -> Export:
        """Start an export; the first chunk is written before this returns, so that errors are raised here.

        Raises
        ------
        Forbidden
            if the caller does not have the role analyst.
        NotFound
            if the jurisdiction is outside the caller's scope.
        InvalidQuery
            if the collection or the format needs a jurisdiction, and the request has none.
        """
        scope = principal.require_scope("analyst")
        if request.jurisdiction is not None:
            principal.require_role_in("analyst", [request.jurisdiction])
        elif request.collection.computed or request.format == _CATALOGUE:
            message = Message("This export needs one jurisdiction. Add ?jurisdiction=.")
            raise InvalidQuery(message, parameter="jurisdiction")
        request = replace(request, filters={**request.filters, "scope": scope})
        properties = select_properties(request, reveal=principal.sees_restricted)
        layout = build_layout(request, properties)
        english_layout = build_layout(replace(request, language="en"), properties)  # notes go into a header
        notes = list(WRITERS[request.format].notes(english_layout))
        if request.collection.computed:
            notes += await self._list_not_assessed(request, principal)
        row_count = [0]
        chunks = self._write_chunks(request, principal, layout, properties, row_count)
        first = await anext(chunks, b"")  # a file may be empty
        return Export(
            build_file_name(request),
            WRITERS[request.format].media_type,
            tuple(notes),
            prepend_chunk(first, chunks),
            row_count,
        )

    async def _load_result(self, request: ExportRequest, principal: Principal) -> bytes:
        assert request.jurisdiction is not None  # noqa: S101  # checked in open_export
        return await SOURCES[request.collection.id](self._analysis, request.jurisdiction, principal)

    async def _list_not_assessed(self, request: ExportRequest, principal: Principal) -> list[str]:
        """Return a note for each part that the result does not assess: no gaps may mean no assessment."""
        result = await self._load_result(request, principal)
        items = (await anyio.to_thread.run_sync(orjson.loads, result)).get("not_assessed", [])
        return [
            f"Not assessed: {' '.join(filter(None, (item['what'], item.get('level'))))}: {item['reason']}."
            for item in items
        ]

    async def _write_chunks(
        self,
        request: ExportRequest,
        principal: Principal,
        layout: Layout,
        properties: Sequence[Property],
        row_count: list[int],
    ) -> AsyncGenerator[bytes, None]:
        source: AbstractAsyncContextManager[tuple[Batches, int | None]]
        async with self._turns, create_folder() as folder:
            if request.collection.computed:
                source = self._open_result(request, principal, layout)
            else:
                source = self._open_records(request, layout, properties)
            async with source as (batches, count):
                chunks = WRITERS[request.format].write(
                    replace(layout, count=count), count_rows(batches, row_count), folder
                )
                while (chunk := await anyio.to_thread.run_sync(next, chunks, None)) is not None:
                    if chunk:
                        yield chunk

    @asynccontextmanager
    async def _open_records(
        self, request: ExportRequest, layout: Layout, properties: Sequence[Property]
    ) -> AsyncIterator[tuple[Batches, int | None]]:
        """Yield the records of a collection in batches, and their number if the format needs it."""
        async with self._database.open_snapshot() as connection:
            await connection.execute(text("SELECT 1"))  # starts the transaction of the cursor
            count = None
            if request.format == _CATALOGUE:
                count = await export_queries.count_catalogued(connection, request.collection, request.filters)
            fetch = await export_queries.open_cursor(
                connection, request.collection, properties, request.filters, request.crs.srid
            )
            yield iter_record_batches(layout, fetch), count

    @asynccontextmanager
    async def _open_result(
        self, request: ExportRequest, principal: Principal, layout: Layout
    ) -> AsyncIterator[tuple[Batches, int | None]]:
        """Yield the features of a result of the analysis in batches, and their number."""
        result = await self._load_result(request, principal)
        features = await anyio.to_thread.run_sync(filter_features, result, request)
        yield iter_feature_batches(layout, features, request), len(features)


@asynccontextmanager
async def create_folder() -> AsyncIterator[Path]:
    """Yield a temporary folder, which is deleted at the end even if the export is cancelled."""
    folder = await anyio.to_thread.run_sync(tempfile.mkdtemp, None, "export-")
    try:
        yield Path(folder)
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(shutil.rmtree, folder)


async def prepend_chunk(first: bytes, chunks: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """Yield a chunk and then the others."""
    async with aclosing(chunks):
        yield first
        async for chunk in chunks:
            yield chunk


def count_rows(batches: Batches, row_count: list[int]) -> Batches:
    """Yield batches and add their rows to the count."""
    for batch in batches:
        row_count[0] += batch.num_rows
        yield batch


async def fetch_rows(fetch: export_queries.FetchRows) -> Sequence[Any]:
    """Return the next rows of a cursor."""
    return await fetch(BATCH_ROWS)


def iter_record_batches(layout: Layout, fetch: export_queries.FetchRows) -> Batches:
    """Yield the rows of a cursor in batches; in a worker thread."""
    while rows := anyio.from_thread.run(fetch_rows, fetch):
        columns = zip(*rows, strict=True)
        arrays = [build_array(column, item.type) for column, item in zip(columns, layout.schema, strict=True)]
        yield pa.RecordBatch.from_arrays(arrays, schema=layout.schema)


def build_array(column: Sequence[Any], arrow_type: pa.DataType) -> pa.Array:
    """Return an Arrow array of a column."""
    # Most columns of an inventory are empty, and an array of nulls costs nothing.
    if column[0] is None and all(value is None for value in column):
        return pa.nulls(len(column), arrow_type)
    return pa.array(column, arrow_type)


def filter_features(result: bytes, request: ExportRequest) -> list[dict[str, Any]]:
    """Return the features of a result whose properties equal the filters."""
    features: list[dict[str, Any]] = orjson.loads(result)["features"]
    conditions = {
        name: value
        for name, value in request.filters.items()
        if value is not None and name in request.collection.by_name and name != "jurisdiction"
    }
    return [
        feature
        for feature in features
        if all(feature["properties"].get(name) == value for name, value in conditions.items())
    ]


def iter_feature_batches(layout: Layout, features: list[dict[str, Any]], request: ExportRequest) -> Batches:
    """Yield features in batches with the columns of a layout."""
    for start in range(0, len(features), BATCH_ROWS):
        batch = features[start : start + BATCH_ROWS]
        arrays = [
            pa.array([read_value(feature, column, request) for feature in batch], ARROW[column.type])
            for column in layout.columns
        ]
        shapes = shapely.from_geojson([orjson.dumps(feature["geometry"]).decode() for feature in batch])
        if request.crs.srid != CRS84.srid:
            shapes = shapely.transform(shapes, lambda lonlat: convert_from_lonlat(lonlat, request.crs))
        arrays.append(pa.array(shapely.to_wkb(shapes), pa.binary()))
        yield pa.RecordBatch.from_arrays(arrays, schema=layout.schema)


def read_value(feature: Mapping[str, Any], column: Column, request: ExportRequest) -> Any:
    """Return the value of a column in a feature, in the type of its Arrow array."""
    if column.name == "code":
        return str(feature["id"])
    if column.name == "jurisdiction":
        return request.jurisdiction
    value = feature["properties"].get(column.name)
    if value is None:
        return None
    if column.type in ("words", "json"):
        return orjson.dumps(value).decode()
    if column.type == "instant":
        return parse_instant(value)
    if column.type == "day":
        return parse_day(value[:10])
    return float(value) if column.type == "number" else value


def select_properties(request: ExportRequest, *, reveal: bool) -> list[Property]:
    """Return the properties that the caller may see and the request or the format selects."""
    visible = request.collection.visible_properties(reveal=reveal)
    if WRITERS[request.format].kinds:
        return [item for item in visible if item.name in REQUIRED_FIELDS or item.name == "kind"]
    if request.fields is None:
        return list(visible)
    by_name = {item.name: item for item in visible}
    return [by_name[name] for name in request.fields if name in by_name]


def build_layout(request: ExportRequest, properties: Sequence[Property]) -> Layout:
    """Return the columns and headers of the file."""
    x, y = ("easting", "northing") if request.crs.metric else ("lon", "lat")
    names = [*(item.name for item in properties), x, y, "geometry"]
    headers = {name: build_heading(name, "zh") if request.language == "zh" else name for name in names}
    return Layout(
        name=request.collection.id,
        columns=tuple(Column(p.name, headers[p.name], p.type, p.kept) for p in properties),
        geometry_types=request.collection.shapes,
        srid=request.crs.srid,
        location_headers=(headers[x], headers[y], headers["geometry"]),
        bom=request.bom,
        platform=f"{request.jurisdiction or '000000'}00002000000001",
    )


def build_file_name(request: ExportRequest) -> str:
    """Return the file name: collection, jurisdiction, day and format."""
    name = request.collection.title_zh if request.language == "zh" else request.collection.id
    jurisdiction = f"-{request.jurisdiction}" if request.jurisdiction else ""
    return f"{name}{jurisdiction}-{datetime.now(UTC):%Y%m%d}.{request.format}"

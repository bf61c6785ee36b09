"""The document of a record as SQL: PostgreSQL builds the JSON, and Python passes the bytes on.

Most of a document is stored when the record is written (column ``document``, ADR 8); a read appends what changes
without a write. All names in the SQL come from the table definitions, never from a request.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from sqlmodel import SQLModel

from app.models import tables  # noqa: F401  # registers every table in the metadata
from app.models.columns import DECIMALS
from app.records.kinds import Kind

_INTERNAL_COLUMNS: Final = frozenset({"id", "removed_at", "geometry", "document"})

EFFECTIVE_STATE = (
    "CASE WHEN s.reported_at >= now() - make_interval(secs => j.stale_after_s) THEN s.state ELSE 'unknown' END"
)
"""The state of a device now: unknown if its last report is too old, or if it has none."""

_FIRST_COLUMNS: Final = ("code", "jurisdiction", "name_zh", "name_en", "category", "kind", "functions")
_LAST_COLUMNS: Final = ("version", "created_at", "updated_at")


@cache
def list_public_columns(kind: Kind) -> tuple[str, ...]:
    """Return the public columns of a kind in the order of its document, without the geometry."""
    fields = list(kind.draft.model_fields)

    def sort_key(name: str) -> tuple[int, int]:
        if name in _LAST_COLUMNS:
            return (3, 0)
        if name in _FIRST_COLUMNS:
            return (0, _FIRST_COLUMNS.index(name))
        return (1, fields.index(name)) if name in fields else (2, 0)

    names = [column.name for column in SQLModel.metadata.tables[kind.name].columns]
    return tuple(name for name in sorted(names, key=sort_key) if name not in _INTERNAL_COLUMNS)


@cache
def list_written_columns(kind: Kind) -> tuple[str, ...]:
    """Return the columns that a write sets: all but those that the database sets."""
    table = SQLModel.metadata.tables[kind.name]
    set_by_database = {"id", "version", "created_at", "updated_at", "removed_at", "document"}
    return tuple(column.name for column in table.columns if column.name not in set_by_database)


def quote_identifier(name: str) -> str:
    """Return an SQL identifier."""
    return f'"{name}"'


def build_document_head(kind: Kind, *, reveal: bool) -> str:
    """Return the SQL of a document without its closing brace and its geometry."""
    if not kind.has_geometry:
        members = ", ".join(f"t.{quote_identifier(name)}" for name in list_public_columns(kind))
        return f"left(row_to_json((SELECT d FROM (SELECT {members}) AS d))::text, -1)"
    revealed = sorted(kind.restricted) if reveal else []
    terms = [
        "t.document",
        *(f"""',"{name}":' || coalesce(to_json(t."{name}")::text, 'null')""" for name in revealed),
    ]
    if kind.is_device:
        terms.append(
            f"""',"state":"' || {EFFECTIVE_STATE} || '","reported_at":' """
            "|| coalesce(to_json(s.reported_at)::text, 'null') || ',\"working\":' "
            f"|| CASE WHEN t.lifecycle = 'in_use' AND {EFFECTIVE_STATE} = 'online' "
            "THEN 'true' ELSE 'false' END"
        )
    return " || ".join(terms)


@cache
def build_document_sql(kind: Kind, *, feature: bool = False, reveal: bool = False) -> str:
    """Return the SQL of one record's document, over `build_record_source`; as a GeoJSON Feature if ``feature``."""
    head = build_document_head(kind, reveal=reveal)
    if not kind.has_geometry:
        return f"{head} || '}}'"
    geometry = f"ST_AsGeoJSON(t.geometry, {DECIMALS})"
    if not feature:
        return f"""{head} || ',"geometry":' || {geometry} || '}}'"""
    return (
        """'{"type":"Feature","id":"' || t.code || '","geometry":' || """
        f"""{geometry} || ',"properties":' || {head} || '}}}}'"""
    )


@cache
def build_record_source(kind: Kind) -> str:
    """Return the tables that the document and the filters use: ``t`` the records, ``s`` the states of devices."""
    if not kind.is_device:
        return f"{kind.name} AS t"
    return (
        f"{kind.name} AS t JOIN jurisdiction AS j ON j.code = t.jurisdiction "
        f"LEFT JOIN device_state AS s ON s.kind = '{kind.name}' AND s.code = t.code"
    )


class FilterClause:
    """The filters of a list as SQL over `build_record_source`, and the values of its parameters.

    A filter has a method of its own, or is an equality with a field of the kind.
    """

    def __init__(self, kind: Kind, filters: Mapping[str, Any]) -> None:
        self._kind = kind
        self._owner = "t.code" if kind.name == "jurisdiction" else "t.jurisdiction"
        self.values: list[Any] = []
        conditions = [self._build_condition(name, value) for name, value in filters.items() if value is not None]
        self.sql = " AND ".join(["t.removed_at IS NULL", *conditions])

    def bind(self, value: Any) -> str:
        """Return the placeholder of a value."""
        self.values.append(value)
        return f"${len(self.values)}"

    def _build_condition(self, name: str, value: Any) -> str:
        if build := getattr(self, f"_filter_{name}", None):
            return str(build(value))
        return f't."{name}" = {self.bind(value)}'

    def _filter_jurisdiction(self, code: str) -> str:
        return f"{self._owner} = {self.bind(code)}"

    def _filter_scope(self, codes: list[str]) -> str:
        return f"{self._owner} = ANY({self.bind(codes)}::text[])"

    def _filter_function(self, function: str) -> str:
        if self._kind.name == "checkpoint":
            return f"t.kind = {self.bind(function)}"
        return f"t.functions @> ARRAY[{self.bind(function)}::text]"

    def _filter_state(self, state: str) -> str:
        return f"({EFFECTIVE_STATE}) = {self.bind(state)}"

    def _filter_updated_since(self, instant: Any) -> str:
        return f"t.updated_at >= {self.bind(instant)}"

    def _filter_after(self, code: str) -> str:
        return f"t.code > {self.bind(code)}"

    def _filter_q(self, words: str) -> str:
        """Match the words anywhere in code, names and address, in any case."""
        escaped = words.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        pattern = self.bind(f"%{escaped}%")
        fields = ["code", "name_zh", "name_en"] + (["address"] if self._kind.has_geometry else [])
        return "(" + " OR ".join(f"t.{field} ILIKE {pattern}" for field in fields) + ")"

    def _filter_bbox(self, bbox: tuple[float, float, float, float]) -> str:
        """Match what intersects the box; a box with west > east crosses the antimeridian."""
        west, south, east, north = bbox
        if west <= east:
            return self._build_box_condition(west, south, east, north)
        halves = (
            self._build_box_condition(west, south, 180.0, north),
            self._build_box_condition(-180.0, south, east, north),
        )
        return "(" + " OR ".join(halves) + ")"

    def _build_box_condition(self, *sides: float) -> str:
        # ST_Envelope returns a point or a line for a box without area; ST_MakeEnvelope would return an invalid polygon.
        west, south, east, north = (f"{self.bind(side)}::float8" for side in sides)
        corners = f"ST_MakePoint({west}, {south}), ST_MakePoint({east}, {north})"
        return f"ST_Intersects(t.geometry, ST_SetSRID(ST_Envelope(ST_MakeLine({corners})), 4326))"

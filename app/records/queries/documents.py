"""How a record becomes JSON inside PostgreSQL: the bytes pass through, Python never copies them.

Most of it was made when the record was written (`document`, see ADR 8); a read appends what changes by
itself. Everything put into SQL text here comes from the table definitions, never from a request.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sqlmodel import SQLModel

from app.models import tables  # noqa: F401  # registers every table in the metadata
from app.models.columns import DECIMALS
from app.records.kinds import Kind

_INTERNAL = frozenset({"id", "removed_at", "geometry", "document"})

EFFECTIVE_STATE = (
    "CASE WHEN s.reported_at >= now() - make_interval(secs => j.stale_after_s) THEN s.state ELSE 'unknown' END"
)
"""What a device's state reads as now: unknown when the last report is too old, or there is none."""

_LAST = ("version", "created_at", "updated_at")


@cache
def columns(kind: Kind) -> tuple[str, ...]:
    """Return the public columns of a kind, geometry left out, in document order."""
    names = [column.name for column in SQLModel.metadata.tables[kind.name].columns]
    fields = list(kind.draft.model_fields)
    names.sort(key=lambda name: (name in _LAST, _position(name, fields)))
    return tuple(name for name in names if name not in _INTERNAL)


def _position(name: str, fields: Sequence[str]) -> tuple[int, int]:
    first = ("code", "jurisdiction", "name_zh", "name_en", "category", "kind", "functions")
    if name in first:
        return (0, first.index(name))
    return (1, fields.index(name)) if name in fields else (2, 0)


@cache
def written_columns(kind: Kind) -> tuple[str, ...]:
    """Return the columns a write sets: all but what the database keeps itself."""
    table = SQLModel.metadata.tables[kind.name]
    kept = {"id", "version", "created_at", "updated_at", "removed_at", "document"}
    return tuple(column.name for column in table.columns if column.name not in kept)


def quoted(name: str) -> str:
    """Return an SQL identifier."""
    return f'"{name}"'


def opened(kind: Kind, *, reveal: bool) -> str:
    """Return the SQL of a record's JSON without its closing brace and its geometry."""
    if not kind.shaped:
        members = ", ".join(f"t.{quoted(name)}" for name in columns(kind))
        return f"left(row_to_json((SELECT d FROM (SELECT {members}) AS d))::text, -1)"
    shown = sorted(kind.restricted) if reveal else []
    parts = [
        "t.document",
        *(f"""',"{name}":' || coalesce(to_json(t."{name}")::text, 'null')""" for name in shown),
    ]
    if kind.device:
        parts.append(
            f"""',"state":"' || {EFFECTIVE_STATE} || '","reported_at":' """
            "|| coalesce(to_json(s.reported_at)::text, 'null') || ',\"working\":' "
            f"|| CASE WHEN t.lifecycle = 'in_use' AND {EFFECTIVE_STATE} = 'online' "
            "THEN 'true' ELSE 'false' END"
        )
    return " || ".join(parts)


@cache
def document(kind: Kind, *, feature: bool = False, reveal: bool = False) -> str:
    """Return the SQL expression that makes one record's JSON text, over ``source(kind)``."""
    begun = opened(kind, reveal=reveal)
    if not kind.shaped:
        return f"{begun} || '}}'"
    shape = f"ST_AsGeoJSON(t.geometry, {DECIMALS})"
    if not feature:
        return f"""{begun} || ',"geometry":' || {shape} || '}}'"""
    return (
        """'{"type":"Feature","id":"' || t.code || '","geometry":' || """
        f"""{shape} || ',"properties":' || {begun} || '}}}}'"""
    )


@cache
def source(kind: Kind) -> str:
    """Return the FROM clause that ``document`` and the filters speak about."""
    if not kind.device:
        return f"{kind.name} AS t"
    return (
        f"{kind.name} AS t JOIN jurisdiction AS j ON j.code = t.jurisdiction "
        f"LEFT JOIN device_state AS s ON s.kind = '{kind.name}' AND s.code = t.code"
    )


# List filters as SQL conditions with positional parameters.

class Conditions:
    """Conditions of one statement and the values they speak of."""

    def __init__(self, kind: Kind, filters: Mapping[str, Any]) -> None:
        self._kind = kind
        self.values: list[Any] = []
        parts = [self._part(name, value) for name, value in filters.items() if value is not None]
        self.sql = " AND ".join(["t.removed_at IS NULL", *parts])

    def bind(self, value: Any) -> str:
        """Return the placeholder of a value."""
        self.values.append(value)
        return f"${len(self.values)}"

    def _part(self, name: str, value: Any) -> str:
        if build := getattr(self, f"_{name}", None):
            return str(build(value))
        return f't."{name}" = {self.bind(value)}'  # a field of the kind

    @property
    def _owner(self) -> str:
        return "t.code" if self._kind.name == "jurisdiction" else "t.jurisdiction"

    def _jurisdiction(self, code: str) -> str:
        return f"{self._owner} = {self.bind(code)}"

    def _scope(self, codes: list[str]) -> str:
        return f"{self._owner} = ANY({self.bind(codes)}::text[])"

    def _function(self, function: str) -> str:
        if self._kind.name == "checkpoint":
            return f"t.kind = {self.bind(function)}"
        return f"t.functions @> ARRAY[{self.bind(function)}::text]"

    def _state(self, state: str) -> str:
        return f"({EFFECTIVE_STATE}) = {self.bind(state)}"

    def _updated_since(self, instant: Any) -> str:
        return f"t.updated_at >= {self.bind(instant)}"

    def _after(self, code: str) -> str:
        return f"t.code > {self.bind(code)}"

    def _q(self, words: str) -> str:
        """Find the words anywhere in code, names and address, upper and lower case alike."""
        escaped = words.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        place = self.bind(f"%{escaped}%")
        fields = ["code", "name_zh", "name_en"] + (["address"] if self._kind.shaped else [])
        return "(" + " OR ".join(f"t.{field} ILIKE {place}" for field in fields) + ")"

    def _bbox(self, bbox: tuple[float, float, float, float]) -> str:
        """Touch the box, through the index; a box with west > east crosses the antimeridian."""
        west, south, east, north = bbox
        if west <= east:
            return self._box(west, south, east, north)
        halves = (self._box(west, south, 180.0, north), self._box(-180.0, south, east, north))
        return "(" + " OR ".join(halves) + ")"

    def _box(self, *sides: float) -> str:
        """Touch one box; ``ST_Envelope`` keeps a box without area a point or a line."""
        west, south, east, north = (f"{self.bind(side)}::float8" for side in sides)
        corners = f"ST_MakePoint({west}, {south}), ST_MakePoint({east}, {north})"
        return f"ST_Intersects(t.geometry, ST_SetSRID(ST_Envelope(ST_MakeLine({corners})), 4326))"

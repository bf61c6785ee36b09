"""How a record becomes JSON inside PostgreSQL: the bytes pass through, Python never copies them.

Everything put into SQL text here comes from the table definitions, never from a request.
"""

from collections.abc import Sequence
from functools import cache

from sqlmodel import SQLModel

from app.models import tables  # noqa: F401  # registers every table in the metadata
from app.schemas.geojson import DECIMALS
from app.schemas.kinds import Kind

_INTERNAL = frozenset({"id", "removed_at", "geometry"})

EFFECTIVE_STATE = (
    "CASE WHEN s.reported_at >= now() - make_interval(secs => j.stale_after_s) "
    "THEN s.state ELSE 'unknown' END"
)
"""What a device's state reads as now: unknown when the last report is too old, or there is none."""

LAST_FIRST = ("version", "created_at", "updated_at")
"""Columns that close every document."""


@cache
def columns(kind: Kind) -> tuple[str, ...]:
    """Return the public columns of a kind, geometry left out, in document order."""
    names = [column.name for column in SQLModel.metadata.tables[kind.name].columns]
    fields = list(kind.draft.model_fields)
    names.sort(key=lambda name: (name in LAST_FIRST, _position(name, fields)))
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
    kept = {"id", "version", "created_at", "updated_at", "removed_at"}
    return tuple(column.name for column in table.columns if column.name not in kept)


def quoted(name: str) -> str:
    """Return an SQL identifier."""
    return f'"{name}"'


def _properties(kind: Kind, reveal: bool) -> str:
    parts = []
    for name in columns(kind):
        if name in kind.restricted and not reveal:
            continue
        parts.append(f"t.{quoted(name)}")
    if kind.device:
        position = len(parts) - len(LAST_FIRST)
        parts[position:position] = [
            f"{EFFECTIVE_STATE} AS state",
            "s.reported_at",
            f"(t.lifecycle = 'in_use' AND {EFFECTIVE_STATE} = 'online') AS working",
        ]
    return ", ".join(parts)


@cache
def document(kind: Kind, *, feature: bool = False, reveal: bool = False) -> str:
    """Return the SQL expression that makes one record's JSON text, over ``source(kind)``."""
    shape = f"ST_AsGeoJSON(t.geometry, {DECIMALS})::json"
    properties = _properties(kind, reveal)
    if feature and kind.shaped:
        row = f"(SELECT d FROM (SELECT {properties}) AS d)"
        return (
            f"json_build_object('type', 'Feature', 'id', t.code, 'geometry', {shape}, "
            f"'properties', row_to_json({row}))::text"
        )
    if kind.shaped:
        properties += f", {shape} AS geometry"
    return f"row_to_json((SELECT d FROM (SELECT {properties}) AS d))::text"


@cache
def source(kind: Kind) -> str:
    """Return the FROM clause that ``document`` and the filters speak about."""
    if not kind.device:
        return f"{kind.name} AS t"
    return (
        f"{kind.name} AS t JOIN jurisdiction AS j ON j.code = t.jurisdiction "
        f"LEFT JOIN device_state AS s ON s.kind = '{kind.name}' AND s.code = t.code"
    )

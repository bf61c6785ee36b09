"""How a record becomes JSON inside PostgreSQL: the bytes pass through, Python never copies them.

Most of it was made when the record was written (`document`, see ADR 8); a read appends what changes by
itself. Everything put into SQL text here comes from the table definitions, never from a request.
"""

from collections.abc import Sequence
from functools import cache

from sqlmodel import SQLModel

from app.models import tables  # noqa: F401  # registers every table in the metadata
from app.schemas.geojson import DECIMALS
from app.schemas.kinds import Kind

_INTERNAL = frozenset({"id", "removed_at", "geometry", "document"})

EFFECTIVE_STATE = (
    "CASE WHEN s.reported_at >= now() - make_interval(secs => j.stale_after_s) "
    "THEN s.state ELSE 'unknown' END"
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

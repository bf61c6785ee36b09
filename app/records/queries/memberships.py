"""SQL about the rings of a jurisdiction as records need them, and about the membership of records in rings."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
import shapely
from shapely.geometry.base import BaseGeometry
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.models.vocabulary import Level

LOCATED_TABLES: Final = ("control_point", "checkpoint", "camera")
"""Tables whose records have a membership."""
_LOCK_SPACE: Final = 4108_0002


@dataclass(frozen=True)
class JurisdictionRow:
    """What of a jurisdiction decides where its records may lie, and the versions of its rings."""

    code: str
    version: int
    extent: list[float] | None
    metric_epsg: int | None
    rings: tuple[tuple[str, int], ...]
    """Level and version of every ring, ordered by level."""
    written_at: tuple[str, ...]
    """When the jurisdiction and its rings were written; versions alone may be the same in another database."""


@dataclass(frozen=True)
class BoundaryRow:
    """The boundary of one ring in force."""

    level: Level
    version: int
    tolerance_m: float
    geometry: BaseGeometry


async def lock_rings(connection: AsyncConnection, jurisdictions: Iterable[str], *, exclusive: bool) -> None:
    """Lock the rings of jurisdictions until the transaction ends.

    Writers of located records share the lock. A writer of a ring takes it exclusively, so that no record gets its
    membership from a boundary that is being replaced. Jurisdictions are locked in order, so that two writers
    cannot wait for each other.
    """
    function = "pg_advisory_xact_lock" if exclusive else "pg_advisory_xact_lock_shared"
    for jurisdiction in sorted(set(jurisdictions)):
        await connection.execute(
            text(f"SELECT {function}(:space, hashtext(:code))"), {"space": _LOCK_SPACE, "code": jurisdiction}
        )


async def fetch_jurisdiction(connection: AsyncConnection, code: str) -> JurisdictionRow | None:
    """Return the extent, the metric CRS and the versions of the rings of a jurisdiction, or None."""
    row = (
        await connection.execute(
            text(
                "SELECT j.code, j.version, j.extent, j.metric_epsg, j.updated_at::text, "
                "(SELECT coalesce(json_agg(json_build_array(r.level, r.version, r.updated_at) "
                "ORDER BY r.level), '[]') "
                "FROM ring r WHERE r.jurisdiction = j.code AND r.removed_at IS NULL) "
                "FROM jurisdiction j WHERE j.code = :code AND j.removed_at IS NULL"
            ),
            {"code": code},
        )
    ).first()
    if row is None:
        return None
    code, version, extent, metric_epsg, updated_at, rings = row
    versions = tuple((level, ring_version) for level, ring_version, _ in rings)
    written_at = (updated_at, *(ring_updated_at for _, _, ring_updated_at in rings))
    return JurisdictionRow(code, version, extent, metric_epsg, versions, written_at)


async def fetch_boundaries(connection: AsyncConnection, jurisdiction: str) -> list[BoundaryRow]:
    """Return the boundaries in force, ordered by level."""
    rows = await connection.execute(
        text(
            "SELECT level, version, tolerance_m, ST_AsBinary(geometry) FROM ring "
            "WHERE jurisdiction = :code AND removed_at IS NULL ORDER BY level"
        ),
        {"code": jurisdiction},
    )
    boundaries = []
    for level, version, tolerance_m, wkb in rows:
        geometry: BaseGeometry | None = shapely.from_wkb(wkb)
        assert geometry is not None  # noqa: S101  # the column is not null
        boundaries.append(BoundaryRow(level, version, tolerance_m, geometry))
    return boundaries


async def fetch_locations(connection: AsyncConnection, table: str, jurisdiction: str) -> tuple[list[str], list[bytes]]:
    """Return the codes and WKB of all records of a table, and lock them in code order."""
    rows = await connection.execute(
        text(
            f"SELECT code, ST_AsBinary(geometry) FROM {table} "
            "WHERE jurisdiction = :code AND removed_at IS NULL ORDER BY code FOR NO KEY UPDATE"
        ),
        {"code": jurisdiction},
    )
    records = rows.all()
    return [code for code, _ in records], [wkb for _, wkb in records]


async def update_memberships(connection: AsyncConnection, table: str, rows: Sequence[dict[str, Any]]) -> None:
    """Set zone, rings, on_boundary and distance_m of records by code; their versions stay."""
    await connection.execute(
        text(
            f"UPDATE {table} AS t SET zone = r.zone, rings = r.rings, on_boundary = r.on_boundary, "
            "distance_m = r.distance_m "
            f"FROM json_populate_recordset(CAST(NULL AS {table}), CAST(:rows AS json)) AS r "
            "WHERE t.code = r.code"
        ),
        {"rows": orjson.dumps(rows).decode()},
    )

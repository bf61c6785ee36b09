"""All SQL that planning needs beside the state of a jurisdiction: records as they can be sent back."""

from collections.abc import Mapping, Sequence

from app.db.engine import Fetch
from app.registry.documents import document, quoted, source
from app.schemas.kinds import Kind

FILTERS = ("owner_unit", "maintenance_unit", "manufacturer", "model")
"""Columns by which devices can be chosen to fail."""


async def documents(
    fetch: Fetch, kind: Kind, jurisdiction: str, codes: Sequence[str], *, reveal: bool
) -> dict[str, str]:
    """Return the JSON of some records of a jurisdiction by code, those that are there."""
    rows = await fetch(
        f"SELECT t.code, {document(kind, reveal=reveal)} FROM {source(kind)} "
        "WHERE t.jurisdiction = $1 AND t.code = ANY($2::text[]) AND t.removed_at IS NULL",
        jurisdiction,
        list(codes),
    )
    return {row[0]: row[1] for row in rows}


async def devices(
    fetch: Fetch, kind: Kind, jurisdiction: str, chosen: Mapping[str, str]
) -> list[str]:
    """Return the codes of the devices with these values in `FILTERS`."""
    names = [name for name in FILTERS if name in chosen]
    conditions = " AND ".join(
        f"t.{quoted(name)} = ${place}" for place, name in enumerate(names, start=2)
    )
    rows = await fetch(
        f"SELECT t.code FROM {kind.name} AS t WHERE t.jurisdiction = $1 "
        f"AND t.removed_at IS NULL AND {conditions} ORDER BY t.code",
        jurisdiction,
        *(chosen[name] for name in names),
    )
    return [row[0] for row in rows]

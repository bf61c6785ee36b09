"""SQL of staged rows that have some fields of a record; the other fields are those of the registered record.

As in `app.imports.queries.staging`, the caller decides what is an error.
"""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.models.cross_field_rules import RULES, Rule, to_sql
from app.records.drafts import MAX_LANES, Lane
from app.records.kinds import Kind
from app.records.queries.documents import quote_identifier


def find_partial_rules(kind: Kind, fed: frozenset[str]) -> tuple[Rule, ...]:
    """Return the rules of which a file gives some fields, and the registry has the others."""
    rules = (rule for rule in RULES.get(kind.name, ()) if rule.is_stored)
    return tuple(rule for rule in rules if rule.fields & fed and rule.fields - fed)


def _build_effective_value(fed: frozenset[str], name: str) -> str:
    """Return the SQL of the value that a field will have: that of the file, else the registered one."""
    column = quote_identifier(name)
    if name in fed:
        return f"s.{column}"
    return f"CASE WHEN c.code IS NULL THEN s.{column} ELSE c.{column} END"


_WITH_RECORD: Final = "import_stage AS s LEFT JOIN {kind} AS c ON c.code = s.code AND c.removed_at IS NULL"


async def fetch_broken_rules(
    connection: AsyncConnection, kind: Kind, rules: Sequence[Rule], fed: frozenset[str]
) -> list[tuple[int, Rule]]:
    """Return (row, rule) where a row breaks a rule together with registered values."""
    tests = ", ".join(
        f"({index}, {to_sql(rule.broken).format(**{n: f'({_build_effective_value(fed, n)})' for n in rule.fields})})"
        for index, rule in enumerate(rules)
    )
    rows = await connection.execute(
        text(
            f'SELECT s."row", rule.index FROM {_WITH_RECORD.format(kind=kind.name)} '
            f"CROSS JOIN LATERAL (VALUES {tests}) AS rule (index, broken) WHERE rule.broken "
            'ORDER BY s."row", rule.index'
        )
    )
    return [(row[0], rules[row[1]]) for row in rows]


async def fetch_taken_references(connection: AsyncConnection, kind: Kind, fed: frozenset[str]) -> list[tuple[int, str]]:
    """Return (row, code of the other record) where another record will have the same unit and reference.

    The other record is registered, or is in an earlier row of the same batch.
    """
    unit, reference = _build_effective_value(fed, "owner_unit"), _build_effective_value(fed, "owner_reference")
    rows = await connection.execute(
        text(
            f'WITH named AS (SELECT s."row", s.code, s.jurisdiction, {unit} AS unit, '
            f"{reference} AS reference FROM {_WITH_RECORD.format(kind=kind.name)}), "
            'clash AS (SELECT w."row", w.code, o.code AS other FROM named AS w '
            f"JOIN {kind.name} AS o ON o.jurisdiction = w.jurisdiction AND o.owner_unit = w.unit "
            "AND o.owner_reference = w.reference AND o.removed_at IS NULL AND o.code <> w.code "
            'UNION ALL SELECT "row", code, first_value(code) OVER same FROM named '
            "WHERE unit IS NOT NULL AND reference IS NOT NULL "
            'WINDOW same AS (PARTITION BY jurisdiction, unit, reference ORDER BY "row")) '
            'SELECT "row", min(other) FROM clash WHERE other <> code GROUP BY "row" ORDER BY "row"'
        )
    )
    return [(row[0], row[1]) for row in rows]


async def fetch_owners(
    connection: AsyncConnection, kind: Kind, codes: Sequence[str], scope: Sequence[str] | None
) -> dict[str, str]:
    """Return the jurisdictions of registered records inside a scope, by code."""
    rows = await connection.execute(
        text(
            f"SELECT c.code, c.jurisdiction FROM {kind.name} AS c "
            "WHERE c.code = ANY(CAST(:codes AS text[])) AND c.removed_at IS NULL "
            "AND (CAST(:scope AS text[]) IS NULL OR c.jurisdiction = ANY(CAST(:scope AS text[])))"
        ),
        {"codes": list(codes), "scope": None if scope is None else list(scope)},
    )
    return {row[0]: row[1] for row in rows}


async def has_registered_reference(connection: AsyncConnection, kind: Kind, pairs: Sequence[tuple[str, str]]) -> bool:
    """Return whether a registered record has one of the pairs of owner unit and owner reference."""
    rows = await connection.execute(
        text(
            f"SELECT EXISTS (SELECT FROM {kind.name} AS c JOIN unnest(CAST(:units AS text[]), "
            "CAST(:references AS text[])) AS pair (unit, reference) ON c.owner_unit = pair.unit "
            "AND c.owner_reference = pair.reference WHERE c.removed_at IS NULL)"
        ),
        {"units": [pair[0] for pair in pairs], "references": [pair[1] for pair in pairs]},
    )
    return bool(rows.scalar_one())


async def fetch_owner_references(connection: AsyncConnection) -> dict[int, tuple[str, str]]:
    """Return owner unit and owner reference of the staged rows, by row."""
    rows = await connection.execute(text('SELECT "row", owner_unit, owner_reference FROM import_stage'))
    return {row[0]: (row[1], row[2]) for row in rows}


_BLANK_LANE: Final = "jsonb_build_object(" + ", ".join(f"'{name}', NULL" for name in Lane.model_fields) + ")"


async def merge_lanes(connection: AsyncConnection) -> list[tuple[int, int | None]]:
    """Merge staged lanes with the registered lanes of their checkpoints, by lane number.

    A registered lane keeps its index in the list and the values that the row does not have; new lanes follow.
    Returns (row, lane) of new lanes without a direction, and (row, None) of checkpoints with too many lanes.
    """
    await connection.execute(
        text(
            "UPDATE import_stage AS s SET lanes = (SELECT jsonb_agg(lane ORDER BY position) FROM ("
            "SELECT was.lane || coalesce(new.lane, '{}') AS lane, was.position "
            "FROM jsonb_array_elements(c.lanes) WITH ORDINALITY AS was (lane, position) "
            "LEFT JOIN jsonb_array_elements(s.lanes) AS new (lane) "
            "ON new.lane->'lane' = was.lane->'lane' UNION ALL "
            f"SELECT {_BLANK_LANE} || new.lane, new.position + jsonb_array_length(c.lanes) "
            "FROM jsonb_array_elements(s.lanes) WITH ORDINALITY AS new (lane, position) "
            "WHERE NOT EXISTS (SELECT FROM jsonb_array_elements(c.lanes) AS was (lane) "
            "WHERE was.lane->'lane' = new.lane->'lane')) AS merged) "
            "FROM checkpoint AS c WHERE c.code = s.code AND c.removed_at IS NULL"
        )
    )
    rows = await connection.execute(
        text(
            "SELECT s.\"row\", CAST(merged.lane->>'lane' AS int) FROM import_stage AS s "
            "JOIN checkpoint AS c ON c.code = s.code AND c.removed_at IS NULL "
            "CROSS JOIN LATERAL jsonb_array_elements(s.lanes) AS merged (lane) "
            "WHERE merged.lane->>'direction' IS NULL UNION ALL "
            'SELECT s."row", NULL FROM import_stage AS s '
            "JOIN checkpoint AS c ON c.code = s.code AND c.removed_at IS NULL "
            "WHERE jsonb_array_length(s.lanes) > :most ORDER BY 1, 2"
        ),
        {"most": MAX_LANES},
    )
    return [(row[0], row[1]) for row in rows]

"""SQL about staged rows that give some fields of records: what they come to with the rest.

As in `app.imports.queries.staging`, nothing here decides what is an error. What a row does not give is read
from its record; a row without one stands for itself.
"""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.models.cross_field_rules import RULES, Rule, to_sql
from app.records.drafts import MOST_LANES, Lane
from app.records.kinds import Kind
from app.records.queries.documents import quote_identifier


def meeting(kind: Kind, fed: frozenset[str]) -> tuple[Rule, ...]:
    """Return the rules of which a file gives some fields, and the registry has the others."""
    rules = (rule for rule in RULES.get(kind.name, ()) if rule.is_stored)
    return tuple(rule for rule in rules if rule.fields & fed and rule.fields - fed)


def _effective(fed: frozenset[str], name: str) -> str:
    """Return what a field comes to: as the file gives it, else as it is registered."""
    column = quote_identifier(name)
    if name in fed:
        return f"s.{column}"
    return f"CASE WHEN c.code IS NULL THEN s.{column} ELSE c.{column} END"


_WITH_RECORD: Final = "import_stage AS s LEFT JOIN {kind} AS c ON c.code = s.code AND c.removed_at IS NULL"


async def breaking(
    connection: AsyncConnection, kind: Kind, rules: Sequence[Rule], fed: frozenset[str]
) -> list[tuple[int, Rule]]:
    """Return the rows that break rules together with what stays as it is in the registry."""
    tests = ", ".join(
        f"({at}, {to_sql(rule.broken).format(**{n: f'({_effective(fed, n)})' for n in rule.fields})})"
        for at, rule in enumerate(rules)
    )
    rows = await connection.execute(
        text(
            f'SELECT s."row", rule.place FROM {_WITH_RECORD.format(kind=kind.name)} '
            f"CROSS JOIN LATERAL (VALUES {tests}) AS rule (place, broken) WHERE rule.broken "
            'ORDER BY s."row", rule.place'
        )
    )
    return [(row[0], rules[row[1]]) for row in rows]


async def reference_taken(connection: AsyncConnection, kind: Kind, fed: frozenset[str]) -> list[tuple[int, str]]:
    """Return (row, code of the other) where unit and reference come to those of another record.

    The other is registered, or stands in an earlier row of the same batch.
    """
    unit, reference = _effective(fed, "owner_unit"), _effective(fed, "owner_reference")
    rows = await connection.execute(
        text(
            f'WITH wanted AS (SELECT s."row", s.code, s.jurisdiction, {unit} AS unit, '
            f"{reference} AS reference FROM {_WITH_RECORD.format(kind=kind.name)}), "
            'told AS (SELECT w."row", w.code, o.code AS other FROM wanted AS w '
            f"JOIN {kind.name} AS o ON o.jurisdiction = w.jurisdiction AND o.owner_unit = w.unit "
            "AND o.owner_reference = w.reference AND o.removed_at IS NULL AND o.code <> w.code "
            'UNION ALL SELECT "row", code, first_value(code) OVER same FROM wanted '
            "WHERE unit IS NOT NULL AND reference IS NOT NULL "
            'WINDOW same AS (PARTITION BY jurisdiction, unit, reference ORDER BY "row")) '
            'SELECT "row", min(other) FROM told WHERE other <> code GROUP BY "row" ORDER BY "row"'
        )
    )
    return [(row[0], row[1]) for row in rows]


async def owners(
    connection: AsyncConnection, kind: Kind, codes: Sequence[str], scope: Sequence[str] | None
) -> dict[str, str]:
    """Return code to jurisdiction of the registered records inside a scope."""
    rows = await connection.execute(
        text(
            f"SELECT c.code, c.jurisdiction FROM {kind.name} AS c "
            "WHERE c.code = ANY(CAST(:codes AS text[])) AND c.removed_at IS NULL "
            "AND (CAST(:scope AS text[]) IS NULL OR c.jurisdiction = ANY(CAST(:scope AS text[])))"
        ),
        {"codes": list(codes), "scope": None if scope is None else list(scope)},
    )
    return {row[0]: row[1] for row in rows}


async def any_referred(connection: AsyncConnection, kind: Kind, pairs: Sequence[tuple[str, str]]) -> bool:
    """Tell whether one of (owner unit, owner's reference) is of a registered record."""
    rows = await connection.execute(
        text(
            f"SELECT EXISTS (SELECT FROM {kind.name} AS c JOIN unnest(CAST(:units AS text[]), "
            "CAST(:words AS text[])) AS given (unit, word) ON c.owner_unit = given.unit "
            "AND c.owner_reference = given.word WHERE c.removed_at IS NULL)"
        ),
        {"units": [pair[0] for pair in pairs], "words": [pair[1] for pair in pairs]},
    )
    return bool(rows.scalar_one())


async def keys(connection: AsyncConnection) -> dict[int, tuple[str, str]]:
    """Return row to (owner unit, owner's reference) of the staged rows."""
    rows = await connection.execute(text('SELECT "row", owner_unit, owner_reference FROM import_stage'))
    return {row[0]: (row[1], row[2]) for row in rows}


_BLANK_LANE: Final = "jsonb_build_object(" + ", ".join(f"'{name}', NULL" for name in Lane.model_fields) + ")"


async def merge_lanes(connection: AsyncConnection) -> list[tuple[int, int | None]]:
    """Put staged lanes among the registered ones of their checkpoints, by number.

    A lane that is there keeps what the row does not give, and its place in the list; new ones follow.
    Returns (row, lane) of lanes that are new and have no direction, and (row, None) of checkpoints
    that would have too many.
    """
    await connection.execute(
        text(
            "UPDATE import_stage AS s SET lanes = (SELECT jsonb_agg(lane ORDER BY place) FROM ("
            "SELECT was.lane || coalesce(new.lane, '{}') AS lane, was.place "
            "FROM jsonb_array_elements(c.lanes) WITH ORDINALITY AS was (lane, place) "
            "LEFT JOIN jsonb_array_elements(s.lanes) AS new (lane) "
            "ON new.lane->'lane' = was.lane->'lane' UNION ALL "
            f"SELECT {_BLANK_LANE} || new.lane, new.place + jsonb_array_length(c.lanes) "
            "FROM jsonb_array_elements(s.lanes) WITH ORDINALITY AS new (lane, place) "
            "WHERE NOT EXISTS (SELECT FROM jsonb_array_elements(c.lanes) AS was (lane) "
            "WHERE was.lane->'lane' = new.lane->'lane')) AS merged) "
            "FROM checkpoint AS c WHERE c.code = s.code AND c.removed_at IS NULL"
        )
    )
    rows = await connection.execute(
        text(
            "SELECT s.\"row\", CAST(one.lane->>'lane' AS int) FROM import_stage AS s "
            "JOIN checkpoint AS c ON c.code = s.code AND c.removed_at IS NULL "
            "CROSS JOIN LATERAL jsonb_array_elements(s.lanes) AS one (lane) "
            "WHERE one.lane->>'direction' IS NULL UNION ALL "
            'SELECT s."row", NULL FROM import_stage AS s '
            "JOIN checkpoint AS c ON c.code = s.code AND c.removed_at IS NULL "
            "WHERE jsonb_array_length(s.lanes) > :most ORDER BY 1, 2"
        ),
        {"most": MOST_LANES},
    )
    return [(row[0], row[1]) for row in rows]

"""The triggers that the tables of records must have, compared with those of the database.

``alembic revision --autogenerate`` uses the comparison: it writes the missing calls of ``op.create_record_triggers``
into the new migration. Migrations that run do not read anything from here (ADR 18).
"""

import re
from collections.abc import Iterator

from alembic.autogenerate import comparators
from alembic.autogenerate.api import AutogenContext
from alembic.operations.ops import UpgradeOps
from alembic.util import DispatchPriority
from sqlalchemy import Connection, text
from sqlalchemy.dialects import postgresql
from sqlmodel import SQLModel

from app.db.record_triggers import NEWEST_TEMPLATE, CreateRecordTriggers
from app.records.kinds import BY_NAME, Kind
from app.records.queries.documents import list_public_columns

_FUNCTION = re.compile(r"FUNCTION (\w+)\(\) RETURNS trigger [^$]*\$\$(.*?)\$\$", re.DOTALL)
_TRIGGER = re.compile(r"CREATE TRIGGER (\w+) .*? EXECUTE FUNCTION (\w+)\(", re.DOTALL)


def declared_triggers() -> Iterator[CreateRecordTriggers]:
    """Yield the triggers of every table with versions; a kind declares the document and the restricted columns."""
    for table in SQLModel.metadata.sorted_tables:
        if "removed_at" not in table.columns:
            continue
        documented = "document" in table.columns
        yield CreateRecordTriggers(
            table.name,
            NEWEST_TEMPLATE,
            document=describe_document(BY_NAME[table.name]) if documented else "",
            restricted=sorted(BY_NAME[table.name].restricted) if documented else (),
            located="on_boundary" in table.columns,
        )


def describe_document(kind: Kind) -> str:
    """Return the columns of a kind's document with their types, as in ``CREATE TABLE``."""
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    types = {
        column.name: column.type.compile(dialect).partition(" COLLATE ")[0].lower()
        for column in SQLModel.metadata.tables[kind.name].columns
    }
    return ", ".join(f"{name} {types[name]}" for name in list_public_columns(kind) if name not in kind.restricted)


def find_missing_triggers(connection: Connection) -> Iterator[CreateRecordTriggers]:
    """Yield the declared triggers that the database lacks, or has with other functions."""
    rows = connection.execute(
        text(
            "SELECT tgrelid::regclass::text, tgname, proname, prosrc "
            "FROM pg_trigger JOIN pg_proc ON tgfoid = pg_proc.oid"
        )
    ).all()
    triggers = {(table, trigger, function) for table, trigger, function, _ in rows}
    bodies = {function: body for _, _, function, body in rows}
    for declared in declared_triggers():
        sql = declared.to_sql()
        functions = dict(_FUNCTION.findall(sql))
        expected = {(declared.table, trigger, function) for trigger, function in _TRIGGER.findall(sql)}
        if expected <= triggers and functions.items() <= bodies.items():
            continue
        writer = f"registry_write_{declared.table}"
        declared.rewrite_documents = bodies.get(writer, functions.get(writer)) != functions.get(writer)
        yield declared


@comparators.dispatch_for("schema", priority=DispatchPriority.LAST)
def compare_triggers(context: AutogenContext, operations: UpgradeOps, _: object) -> None:
    """Add what is missing to a generated migration, after its tables and columns."""
    assert context.connection is not None  # noqa: S101  # a comparison has a database
    operations.ops.extend(find_missing_triggers(context.connection))

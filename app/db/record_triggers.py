"""Operations for migrations: run an SQL script, create the triggers of a table of records.

Alembic offers them as ``op.execute_script`` and ``op.create_record_triggers``. Their parameters are written in the
migration, and the template is a file that never changes, so a migration always does the same (ADR 18).
"""

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from alembic.autogenerate import renderers
from alembic.operations import MigrateOperation, Operations
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from sqlalchemy import DDL
from typing_extensions import override

NEWEST_TEMPLATE = "record_triggers_1.sql"
"""The template that a new migration uses. Migrations name theirs, so older templates stay."""

_templates = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("sql")),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    autoescape=False,  # noqa: S701 - SQL, not HTML
)


def split_statements(script: str) -> Iterator[str]:
    """Yield the statements of a script in which a blank line ends a statement; the driver takes one at a time."""
    for statement in script.split("\n\n"):
        if any(line and not line.startswith("--") for line in statement.splitlines()):
            yield statement.strip().removesuffix(";")


class Column(NamedTuple):
    """A column of a document."""

    name: str
    type: str


@Operations.register_operation("execute_script")
@dataclass
class ExecuteScript(MigrateOperation):
    """Runs the statements of an SQL script."""

    script: str

    @classmethod
    def execute_script(cls, operations: Operations, script: str) -> None:
        """Run the statements of an SQL script; a blank line ends a statement."""
        operations.invoke(cls(script))


@Operations.register_operation("create_record_triggers")
@dataclass
class CreateRecordTriggers(MigrateOperation):
    """Creates or replaces the triggers and functions that write version, document and history of a table."""

    table: str
    template: str
    document: str = ""
    """The columns of the document with their types, as in ``CREATE TABLE``. Empty for a table without documents."""
    restricted: Sequence[str] = ()
    """Columns that are in the history but not in the document."""
    located: bool = False
    """Whether the table has ring membership, which makes no version."""
    rewrite_documents: bool = False
    """Whether to write the stored documents again. Version and history stay as they are."""

    @classmethod
    def create_record_triggers(cls, operations: Operations, table: str, **parameters: Any) -> None:
        """Create or replace the triggers and functions that write version, document and history of a table."""
        operations.invoke(cls(table, **parameters))

    def to_sql(self) -> str:
        """Return the script that creates the triggers."""
        columns = [Column(*column.split(" ", 1)) for column in " ".join(self.document.split()).split(", ") if column]
        return _templates.get_template(self.template).render(vars(self) | {"document": columns})

    def to_call(self) -> str:
        """Return the line of a migration that creates the triggers."""
        parameters = [repr(self.table), f"template={self.template!r}"]
        if self.document:
            # A no-break space keeps each column on one line.
            unbroken = self.document.replace(" ", "\xa0").replace(",\xa0", ", ")
            wrapped = textwrap.fill(unbroken, 100).replace("\xa0", " ")
            parameters.append(f'document="""\n{textwrap.indent(wrapped, " " * 8)}\n    """')
        if self.restricted:
            parameters.append(f"restricted={list(self.restricted)!r}")
        parameters += [f"{flag}=True" for flag in ("located", "rewrite_documents") if getattr(self, flag)]
        return f"op.create_record_triggers({', '.join(parameters)})"

    @override
    def to_diff_tuple(self) -> tuple[str, str]:
        return ("create_record_triggers", self.table)

    @override
    def reverse(self) -> "CreateRecordTriggers":
        """Return the operation itself: Alembic needs an answer, and migrations only go forward."""
        return self


@Operations.implementation_for(ExecuteScript)
def execute_script(operations: Operations, operation: ExecuteScript) -> None:
    """Run the statements one by one."""
    for statement in split_statements(operation.script):
        # DDL keeps colons, which `text` would read as parameters, and formats with %.
        operations.execute(DDL(statement.replace("%", "%%")))  # type: ignore[no-untyped-call]


@Operations.implementation_for(CreateRecordTriggers)
def create_record_triggers(operations: Operations, operation: CreateRecordTriggers) -> None:
    """Run the rendered template."""
    operations.invoke(ExecuteScript(operation.to_sql()))


@renderers.dispatch_for(CreateRecordTriggers)
def render_record_triggers(_: object, operation: CreateRecordTriggers) -> str:
    """Write the call into a generated migration."""
    return operation.to_call()

"""The tables of imports: jobs, the result of each row, and profiles.

They are independent of the records: a job exists also if its import wrote nothing.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    DateTime,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    Text,
    func,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from app.models.columns import Code, TextArray, build_value_check

_TIME: Any = DateTime(timezone=True)
JOB_STATES = ("received", "parsing", "validating", "applying", "done", "failed", "cancelled")
FINISHED = ("done", "failed", "cancelled")


class ImportJob(SQLModel, table=True):
    """An import job: sender, options, plan, progress and outcome."""

    __tablename__ = "import_job"
    __table_args__ = (
        build_value_check("state", JOB_STATES),
        Index("ix_import_job_created", "created_at", "id"),
    )

    id: str = Field(primary_key=True, sa_type=Code)
    worker: str = Field(sa_type=Text)
    """The process that runs it; it holds the advisory lock of this name."""
    state: str = Field(sa_type=Text)
    kind: str = Field(sa_type=Text)
    jurisdictions: list[str] = Field(sa_type=TextArray)
    actor: str = Field(sa_type=Text)
    dry_run: bool = Field(sa_type=Boolean)
    options: Any = Field(sa_type=JSONB)
    file: Any = Field(sa_type=JSONB)
    plan: Any = Field(sa_type=JSONB)
    counts: Any = Field(sa_type=JSONB)
    notes: Any = Field(sa_type=JSONB)
    problem: Any = Field(default=None, nullable=True, sa_type=JSONB(none_as_null=True))
    cancel_requested: bool = Field(sa_type=Boolean)
    created_at: datetime = Field(sa_type=_TIME, sa_column_kwargs={"server_default": func.now()})
    started_at: datetime | None = Field(default=None, sa_type=_TIME)
    finished_at: datetime | None = Field(default=None, sa_type=_TIME)


class ImportPage(SQLModel, table=True):
    """Some rows of a file: the result of each, and its cells without the dropped columns."""

    __tablename__ = "import_page"
    __table_args__ = (ForeignKeyConstraint(["job"], ["import_job.id"], ondelete="CASCADE"),)

    job: str = Field(primary_key=True, sa_type=Code)
    page: int = Field(primary_key=True, sa_type=Integer)
    rows: int = Field(sa_type=BigInteger)
    has: list[str] = Field(sa_type=TextArray)
    """Statuses that occur, so that a filter can skip pages without a match."""
    results: bytes = Field(sa_type=LargeBinary)
    cells: bytes | None = Field(default=None, sa_type=LargeBinary)


class ImportProfile(SQLModel, table=True):
    """Named reading rules for the files of one source."""

    __tablename__ = "import_profile"

    name: str = Field(primary_key=True, sa_type=Code)
    body: Any = Field(sa_type=JSONB)
    updated_at: datetime = Field(sa_type=_TIME, sa_column_kwargs={"server_default": func.now()})
    updated_by: str = Field(sa_type=Text)

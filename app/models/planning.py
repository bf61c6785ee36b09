"""What planning keeps: scenarios, which are records with a history like any other."""

from typing import Any

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, Text, UniqueConstraint
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field

from app.models.columns import Code, Kept


class Scenario(Kept, table=True):
    """Imagined changes under a name, to be shared, compared and carried out."""

    __tablename__ = "scenario"
    __table_args__ = (
        UniqueConstraint("code"),
        ForeignKeyConstraint(["jurisdiction"], ["jurisdiction.code"]),
        Index("ix_scenario_jurisdiction", "jurisdiction", "name"),
        CheckConstraint("code = jurisdiction || '/' || name", name="code"),
        CheckConstraint("jsonb_typeof(changes) = 'array'", name="changes"),
    )

    code: str = Field(sa_type=Code)
    jurisdiction: str = Field(sa_type=Code)
    name: str = Field(sa_type=Code)
    title: str | None = Field(default=None, sa_type=Text)
    author: str = Field(sa_type=Text)
    changes: list[Any] = Field(sa_type=JSONB)

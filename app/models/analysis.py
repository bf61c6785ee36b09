"""What the analysis keeps: waivers, which are records with a history, and answers, which are a cache."""

from datetime import datetime
from typing import Any

from shapely.geometry.base import BaseGeometry
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    Text,
    UniqueConstraint,
    func,
)
from sqlmodel import Field, SQLModel

from app.models.columns import Code, Kept, Shape, one_of
from app.models.vocabulary import LEVELS

_TIME: Any = DateTime(timezone=True)


class Waiver(Kept, table=True):
    """A crossing that a person decided need not be guarded; found again by ring, road and place."""

    __tablename__ = "waiver"
    __table_args__ = (
        UniqueConstraint("code"),
        ForeignKeyConstraint(["jurisdiction"], ["jurisdiction.code"]),
        Index("ix_waiver_jurisdiction", "jurisdiction"),
        one_of("level", LEVELS),
        CheckConstraint("code = jurisdiction || '/' || crossing", name="code"),
        CheckConstraint("length(reason) > 0", name="reason"),
    )

    code: str = Field(sa_type=Code)
    jurisdiction: str = Field(sa_type=Code)
    crossing: str = Field(sa_type=Code)
    level: str = Field(sa_type=Text)
    road: str = Field(sa_type=Text)
    reason: str = Field(sa_type=Text)
    expires_at: datetime = Field(sa_type=_TIME)
    waived_by: str = Field(sa_type=Text)
    geometry: BaseGeometry = Field(sa_type=Shape("POINT"))

    model_config = {"arbitrary_types_allowed": True}


class AnalysisAnswer(SQLModel, table=True):
    """An answer already computed by some worker; safe to lose at any time."""

    __tablename__ = "analysis_answer"
    __table_args__ = (ForeignKeyConstraint(["jurisdiction"], ["jurisdiction.code"]),)

    jurisdiction: str = Field(primary_key=True, sa_type=Code)
    name: str = Field(primary_key=True, sa_type=Code)
    revision: int = Field(sa_type=BigInteger)
    holds_until: datetime | None = Field(default=None, sa_type=_TIME)
    made_by: str = Field(sa_type=Text)
    made_at: datetime = Field(sa_type=_TIME, sa_column_kwargs={"server_default": func.now()})
    body: bytes = Field(sa_type=LargeBinary)

"""Column types and mixins of the tables: the Shapely column, constraint names, the columns of every record."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

import shapely
from geoalchemy2 import Geometry
from geoalchemy2.shape import to_shape
from shapely.geometry.base import BaseGeometry
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    Dialect,
    Identity,
    Text,
    func,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.types import TypeDecorator
from sqlmodel import Field, SQLModel
from typing_extensions import override

SQLModel.metadata.naming_convention = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}

Code = Text(collation="C")
"""Codes are compared byte by byte, so that the order of pages does not depend on the locale of the machine."""

TextArray = ARRAY(Text)

DECIMALS: Final = 9
"""Decimal places of coordinates in degrees, as stored."""


class Shape(TypeDecorator[BaseGeometry]):
    """A PostGIS geometry in SRID 4326 as a Shapely geometry, longitude first."""

    impl = Geometry
    cache_ok = True

    def __init__(self, geometry_type: str = "GEOMETRY") -> None:
        self.geometry_type = geometry_type
        super().__init__(geometry_type=geometry_type, srid=4326, spatial_index=False)

    @override
    def process_bind_param(self, value: BaseGeometry | None, dialect: Dialect) -> str | None:
        """Return a geometry as EWKT."""
        return None if value is None else f"SRID=4326;{shapely.to_wkt(value, rounding_precision=-1)}"

    @override
    def process_result_value(self, value: Any, dialect: Dialect) -> BaseGeometry | None:
        """Return a Shapely geometry."""
        return None if value is None else to_shape(value)

    @override
    def bind_processor(self, dialect: Dialect) -> Callable[[Any], Any]:
        """Return ``process_bind_param``; the processor of GeoAlchemy2 expects its own elements."""
        return lambda value: self.process_bind_param(value, dialect)


def build_value_check(column: str, allowed: tuple[str, ...]) -> CheckConstraint:
    """Return the CHECK that a text column has one of the values."""
    values = ", ".join(f"'{word}'" for word in allowed)
    return CheckConstraint(f"{column} IN ({values})", name=column)


class RecordKeeping(SQLModel):
    """What the database itself keeps about every record. ``version`` is the ETag."""

    id: int | None = Field(
        default=None,
        primary_key=True,
        sa_type=BigInteger,
        sa_column_args=(Identity(always=True),),
    )
    version: int = Field(default=1, sa_column_kwargs={"server_default": "1"})
    created_at: datetime | None = Field(
        default=None,
        nullable=False,
        sa_type=DateTime(timezone=True),
        sa_column_kwargs={"server_default": func.now()},
    )
    updated_at: datetime | None = Field(
        default=None,
        nullable=False,
        sa_type=DateTime(timezone=True),
        sa_column_kwargs={"server_default": func.now()},
    )
    removed_at: datetime | None = Field(
        default=None,
        sa_type=DateTime(timezone=True),
    )


class ZoneColumns(SQLModel):
    """Where a point record lies in the rings. Derived: recomputed with the rings, never versioned."""

    zone: str | None = Field(default=None, sa_type=Text)
    rings: list[str] | None = Field(default=None, sa_type=TextArray)
    on_boundary: list[str] | None = Field(default=None, sa_type=TextArray)
    distance_m: dict[str, float] | None = Field(default=None, sa_type=JSONB)


class WithDocument(SQLModel):
    """The record as JSON, without what changes by itself: made by the database at every write."""

    document: str = Field(sa_type=Text)

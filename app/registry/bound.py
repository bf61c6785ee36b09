"""Values of one statement: SQL text is made of our own words, what callers say is always bound."""

from typing import Any

import shapely
from shapely.geometry.base import BaseGeometry


class Bound:
    """The positional parameters of a statement being made."""

    def __init__(self, *values: Any) -> None:
        self.values: list[Any] = list(values)

    def bind(self, value: Any, cast: str) -> str:
        """Return the placeholder of a value."""
        self.values.append(value)
        return f"${len(self.values)}::{cast}"

    def shape(self, geometry: BaseGeometry) -> str:
        """Return the placeholder of a geometry in longitude and latitude."""
        wkb = self.bind(shapely.to_wkb(geometry), "bytea")
        return f"ST_GeomFromWKB({wkb}, 4326)"

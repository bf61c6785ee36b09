"""List filters as SQL conditions with positional parameters."""

from collections.abc import Mapping
from typing import Any

from app.registry.documents import EFFECTIVE_STATE
from app.schemas.kinds import Kind

_EQUAL = frozenset(
    {"zone", "category", "kind", "lifecycle", "control_point", "road_class", "group", "structure",
     "checkpoint"}
)  # fmt: skip


class Conditions:
    """Conditions of one statement and the values they speak of."""

    def __init__(self, kind: Kind, filters: Mapping[str, Any]) -> None:
        self._kind = kind
        self.values: list[Any] = []
        parts = [self._part(name, value) for name, value in filters.items() if value is not None]
        self.sql = " AND ".join(["t.removed_at IS NULL", *parts])

    def bind(self, value: Any) -> str:
        """Return the placeholder of a value."""
        self.values.append(value)
        return f"${len(self.values)}"

    def _part(self, name: str, value: Any) -> str:
        if name in _EQUAL:
            return f't."{name}" = {self.bind(value)}'
        return str(getattr(self, f"_{name}")(value))

    @property
    def _owner(self) -> str:
        return "t.code" if self._kind.name == "jurisdiction" else "t.jurisdiction"

    def _jurisdiction(self, code: str) -> str:
        return f"{self._owner} = {self.bind(code)}"

    def _scope(self, codes: list[str]) -> str:
        return f"{self._owner} = ANY({self.bind(codes)}::text[])"

    def _function(self, function: str) -> str:
        if self._kind.name == "checkpoint":
            return f"t.kind = {self.bind(function)}"
        return f"t.functions @> ARRAY[{self.bind(function)}::text]"

    def _state(self, state: str) -> str:
        return f"({EFFECTIVE_STATE}) = {self.bind(state)}"

    def _updated_since(self, instant: Any) -> str:
        return f"t.updated_at >= {self.bind(instant)}"

    def _after(self, code: str) -> str:
        return f"t.code > {self.bind(code)}"

    def _q(self, words: str) -> str:
        """Find the words anywhere in code, names and address, upper and lower case alike."""
        escaped = words.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        place = self.bind(f"%{escaped}%")
        fields = ["code", "name_zh", "name_en"] + (["address"] if self._kind.shaped else [])
        return "(" + " OR ".join(f"t.{field} ILIKE {place}" for field in fields) + ")"

    def _bbox(self, bbox: tuple[float, float, float, float]) -> str:
        """Touch the box, through the index; a box with west > east crosses the antimeridian."""
        west, south, east, north = bbox
        if west <= east:
            return self._box(west, south, east, north)
        halves = (self._box(west, south, 180.0, north), self._box(-180.0, south, east, north))
        return "(" + " OR ".join(halves) + ")"

    def _box(self, *sides: float) -> str:
        """Touch one box; ``ST_Envelope`` keeps a box without area a point or a line."""
        west, south, east, north = (f"{self.bind(side)}::float8" for side in sides)
        corners = f"ST_MakePoint({west}, {south}), ST_MakePoint({east}, {north})"
        return f"ST_Intersects(t.geometry, ST_SetSRID(ST_Envelope(ST_MakeLine({corners})), 4326))"

"""List filters as SQL conditions with bound parameters."""

from collections.abc import Mapping
from typing import Any

from app.registry.documents import EFFECTIVE_STATE
from app.schemas.kinds import Kind

_EQUAL = frozenset(
    {"jurisdiction", "zone", "category", "kind", "lifecycle", "control_point", "road_class",
     "group", "structure", "checkpoint"}
)  # fmt: skip


def conditions(kind: Kind, filters: Mapping[str, Any]) -> tuple[list[str], dict[str, Any]]:
    """Return SQL conditions and their parameters for the filters that are given."""
    found: list[str] = ["t.removed_at IS NULL"]
    bound: dict[str, Any] = {}
    for name, value in filters.items():
        if value is None:
            continue
        condition, parameters = _condition(kind, name, value)
        found.append(condition)
        bound |= parameters
    return found, bound


def _condition(kind: Kind, name: str, value: Any) -> tuple[str, dict[str, Any]]:
    if name == "jurisdiction" and kind.name == "jurisdiction":
        return "t.code = :jurisdiction", {"jurisdiction": value}
    if name in _EQUAL:
        return f't."{name}" = :{name}', {name: value}
    if name == "scope":
        column = "code" if kind.name == "jurisdiction" else "jurisdiction"
        return f"t.{column} = ANY(CAST(:scope AS text[]))", {"scope": value}
    if name == "function":
        if kind.name == "checkpoint":
            return "t.kind = :function", {"function": value}
        return "t.functions @> ARRAY[CAST(:function AS text)]", {"function": value}
    if name == "state":
        return f"({EFFECTIVE_STATE}) = :state", {"state": value}
    if name == "updated_since":
        return "t.updated_at >= :updated_since", {"updated_since": value}
    if name == "bbox":
        return _within(value)
    if name == "q":
        pattern = "%" + value.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
        fields = ["code", "name_zh", "name_en"] + (["address"] if kind.shaped else [])
        return "(" + " OR ".join(f"t.{field} ILIKE :q" for field in fields) + ")", {"q": pattern}
    if name == "after":
        return "t.code > :after", {"after": value}
    raise AssertionError(name)


def _within(bbox: tuple[float, float, float, float]) -> tuple[str, dict[str, Any]]:
    """Return the index-friendly box test; a box with west > east crosses the antimeridian."""
    west, south, east, north = bbox
    bound = {"west": west, "south": south, "east": east, "north": north}
    exact = "ST_Intersects(t.geometry, ST_MakeEnvelope({}, :south, {}, :north, 4326))"
    if west <= east:
        return exact.format(":west", ":east"), bound
    return f"({exact.format(':west', '180')} OR {exact.format('-180', ':east')})", bound

"""The description of an OGC collection: its properties, geometry types and permitted operations."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any, Final, Literal

from pydantic import BaseModel

from app.models.titles import find_title
from app.records.kinds import BY_NAME, Kind

Type = Literal["text", "integer", "number", "boolean", "day", "instant", "words", "json"]
"""``words`` is a list of texts; ``json`` is a nested value, which filters cannot use."""

_SIMPLE: Final[frozenset[Type]] = frozenset({"text", "integer", "number", "boolean", "day", "instant"})
_UNITS: Final = {"_deg": "deg", "_mm": "mm", "_m": "m", "_days": "d", "_pixels": "px"}
_ZH: Final = {
    "rings": "所在控制圈",
    "on_boundary": "位于边界",
    "distance_m": "到边界距离",
    "vertices": "顶点数",
    "status": "覆盖状态",
    "needs": "需求明细",
    "type": "缺口类型",
    "reason": "主要原因",
    "reasons": "全部原因",
    "missing": "未满足需求",
    "nearest_code": "最近设备",
    "nearest_distance_m": "最近设备距离",
    "fix": "整改建议",
    "road_group": "道路组",
    "missing_directions": "缺失方向",
    "guarded": "已把守",
    "grade": "穿越方式",
    "passages": "通道数",
    "directions": "可通行方向",
    "basis": "视域依据",
    "opening_assumed": "视场角为假定",
    "px_per_m": "像素密度",
    "standing": "安装环境",
    "area_m2": "可视面积",
    "open_area_m2": "无遮挡面积",
    "cut_ratio": "遮挡比例",
    "cut_by": "遮挡建筑",
    "rank": "序号",
    "length_m": "路线长度",
    "roads": "途经道路",
    "crossings": "途经路口",
    "control_points": "控制点",
    "same_place": "同位路口",
    "waiver": "豁免",
}
"""Chinese titles of computed properties."""
_KEPT: Final = frozenset({"version", "created_at", "updated_at"})


@dataclass(frozen=True)
class Property:
    """One property of the features of a collection."""

    name: str
    type: Type
    description: str = ""
    words: tuple[Any, ...] = ()
    """The closed list of values; empty if any value is valid."""
    role: str | None = None
    restricted: bool = False
    """Only editors see it."""
    kept: bool = False
    """The registry sets it; a value from a client is ignored."""
    required: bool = False
    refers_to: str | None = None
    """Collection of the feature whose id this is."""
    timely: bool = False
    """Its value can change with time, without a write."""

    @property
    def title(self) -> str:
        """Return the title in both languages."""
        chinese = _ZH.get(self.name) or find_title(self.name, "zh")
        return f"{chinese} {find_title(self.name)}"

    @property
    def unit(self) -> str | None:
        """Return the unit that the property name contains, as a UCUM code."""
        unit = next((code for end, code in _UNITS.items() if self.name.endswith(end)), None)
        return None if self.type == "json" else unit

    @property
    def queryable(self) -> bool:
        """Return whether filters may use it."""
        return self.type != "json"

    @property
    def sortable(self) -> bool:
        """Return whether features can be sorted by it."""
        return self.type in _SIMPLE and not self.timely


@dataclass(frozen=True, eq=False)
class Collection:
    """One collection: the source of its features and their properties."""

    id: str
    title_zh: str
    title_en: str
    description: str
    properties: tuple[Property, ...]
    shapes: tuple[str, ...]
    """GeoJSON types of the geometries."""
    kind: Kind | None = None
    """Kind of its records; None for rings and computed features."""
    computed: bool = False
    """Its features are results of the analysis; requires the role analyst."""
    writes: tuple[str, ...] = ()
    """Methods that change it: POST on the collection, the others on an item."""
    interval: tuple[str | None, str | None] = (None, None)
    """Properties for ``datetime``: start and end of the validity of a feature; equal names: an instant."""

    @property
    def title(self) -> str:
        """Return the title in both languages."""
        return f"{self.title_zh} {self.title_en}"

    @property
    def role(self) -> Literal["reader", "analyst"]:
        """Return the role required to read it."""
        return "analyst" if self.computed else "reader"

    @cached_property
    def by_name(self) -> Mapping[str, Property]:
        """Return the properties by name."""
        return {by_name.name: by_name for by_name in self.properties}

    def visible_properties(self, *, reveal: bool) -> tuple[Property, ...]:
        """Return the properties a caller may see."""
        return self.properties if reveal else self.public_properties

    @cached_property
    def public_properties(self) -> tuple[Property, ...]:
        """Return the properties without the restricted ones."""
        return tuple(by_name for by_name in self.properties if not by_name.restricted)


def select_non_null_schema(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the schema of a member when it is not null."""
    options = [unit for unit in schema.get("anyOf", []) if unit.get("type") != "null"]
    return options[0] if options else schema


def map_type(schema: Mapping[str, Any]) -> Type:
    """Return the property type of a JSON schema."""
    kind = schema.get("type")
    if kind == "array":
        return "words" if schema.get("items", {}).get("type") == "string" else "json"
    if kind == "string":
        named: dict[str, Type] = {"date": "day", "date-time": "instant"}
        return named.get(schema.get("format", ""), "text")
    simple: dict[str, Type] = {"integer": "integer", "number": "number", "boolean": "boolean"}
    return simple.get(str(kind), "json")


_ROLES: Final = {"code": "id"}
_TIMELY: Final = frozenset({"state", "reported_at", "working"})


def list_model_properties(
    model: type[BaseModel],
    draft: type[BaseModel],
    restricted: frozenset[str] = frozenset(),
    references: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Property]:
    """Yield the properties of a response model, in the order of its documents."""
    described = model.model_json_schema()["properties"]
    selected = draft.model_fields
    for name in sorted(described, key=build_sort_key(list(described))):
        if name == "geometry":
            continue
        unit = select_non_null_schema(described[name])
        words = unit.get("enum") or unit.get("items", {}).get("enum") or ()
        yield Property(
            name,
            map_type(unit),
            described[name].get("description", ""),
            tuple(words),
            role=_ROLES.get(name),
            restricted=name in restricted,
            kept=name not in selected,
            required=name in selected and selected[name].is_required(),
            refers_to=BY_NAME[references[name]].plural if name in references else None,
            timely=name in _TIMELY,
        )


def build_sort_key(names: list[str]) -> Any:
    """Return the function that sorts property names."""
    first_name = ("code", "jurisdiction", "name_zh", "name_en", "level", "category", "kind", "functions")

    def key(name: str) -> tuple[int, int]:
        if name in first_name:
            return 0, first_name.index(name)
        return 2 if name in _KEPT else 1, names.index(name)

    return key


def build_kind_collection(kind: Kind) -> Collection:
    """Return the collection of a record kind."""
    names = kind.view.model_fields
    life = ("installed_on", "removed_on")
    interval = life if set(life) <= names.keys() else ("updated_at", "updated_at")
    return Collection(
        id=kind.plural,
        title_zh=kind.label_zh,
        title_en=kind.label_en or kind.title.capitalize(),
        description=kind.description,
        properties=tuple(list_model_properties(kind.view, kind.draft, kind.restricted, kind.references)),
        shapes=kind.geometry_types,
        kind=kind,
        writes=("POST", "PUT", "PATCH", "DELETE"),
        interval=interval,
    )

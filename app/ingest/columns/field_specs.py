"""Specifications of the records that rows become: their fields, read from the JSON schema of the draft.

The application declares its kinds of records and passes their specifications in (`build_record_spec`); this
library knows none of them. Fields from which others are made are added here: ``lon`` and ``lat`` give the geometry.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter

from app.models.cross_field_rules import Rule

Form = Literal[
    "text", "code", "number", "integer", "boolean", "day", "instant", "word", "words", "json",
    "geometry", "place",
]  # fmt: skip


@dataclass(frozen=True)
class FieldSpec:
    """One field that a column can feed: its name, its form, its limits."""

    name: str
    form: Form
    required: bool = False
    default: Any = None
    words: tuple[Any, ...] = ()
    pattern: str | None = None
    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None
    longest: int | None = None
    description: str = ""


@dataclass(frozen=True, eq=False)
class RecordSpec:
    """A kind of record as an import sees it: its draft, its fields, its rules and its geometry."""

    name: str
    title: str
    """Name in sentences."""
    draft: type[BaseModel]
    fields: Mapping[str, FieldSpec]
    """Fields of the draft in order; each is a column of the valid rows."""
    helpers: Mapping[str, FieldSpec]
    """Fields from which others are made while reading."""
    shapes: tuple[str, ...] = ()
    """Types of geometry it takes; empty: it has no geometry."""
    rules: tuple[Rule, ...] = ()
    """Rules over several fields."""

    def field(self, name: str) -> FieldSpec | None:
        """Return a field that a column may feed."""
        return self.fields.get(name) or self.helpers.get(name)


_CHOICE: Final = re.compile(r"\^\((\w+(?:\|\w+)*)\)\$")
"""A pattern that is a list of words."""
_PLACES: Final = ("lon", "lat", "easting", "northing", "x", "y", "position")
LANES: Final = "lanes"
LANE: Final = "lane_"
"""Start of the names of columns that carry the fields of one lane."""


def build_record_spec(
    name: str,
    title: str,
    draft: type[BaseModel],
    *,
    shapes: tuple[str, ...] = (),
    rules: tuple[Rule, ...] = (),
) -> RecordSpec:
    """Return the specification of a kind of record.

    Parameters
    ----------
    shapes : tuple of str, optional
        Types of geometry, for a draft without a field ``geometry``.
    """
    schema = draft.model_json_schema()
    required = frozenset(schema.get("required", ()))
    fields: dict[str, FieldSpec] = {}
    for key, rule in schema["properties"].items():
        if _is_geometry(rule):
            shapes = tuple(rule["properties"]["type"]["enum"])
            continue
        info = draft.model_fields[key]
        default = None if key in required or info.default_factory else info.get_default()
        fields[key] = _field(key, rule, key in required, default)
    helpers = {} if not shapes else _places(shapes)
    if LANES in fields:
        fields[LANES] = FieldSpec(LANES, "json", default=[], description=fields[LANES].description)
        helpers |= _lane_fields(schema)
    helpers |= _helpers(fields)
    return RecordSpec(name, title, draft, fields, helpers, shapes, rules)


@cache
def field_validator(spec: RecordSpec, name: str) -> TypeAdapter[Any]:
    """Return the rules of one field by themselves, as strict as the draft."""
    info = spec.draft.model_fields[name]
    rules: Any = info.annotation
    if info.metadata:
        rules = Annotated[rules, *info.metadata]
    return TypeAdapter(rules, config=ConfigDict(strict=True, arbitrary_types_allowed=True))


@cache
def draft_validator(spec: RecordSpec) -> TypeAdapter[Any]:
    """Return the rules of a whole draft, without what SQLModel adds around them at every call."""
    return TypeAdapter(spec.draft)


def _is_geometry(rule: Mapping[str, Any]) -> bool:
    return str(rule.get("title", "")).startswith("GeoJSON ")


def _field(name: str, rule: Mapping[str, Any], required: bool, default: Any) -> FieldSpec:
    kinds = [part for part in rule.get("anyOf", [rule]) if part.get("type") != "null"]
    plain = kinds[0] if len(kinds) == 1 else {}
    form = _form(plain)
    listed = plain.get("items", {}).get("enum") if form == "words" else plain.get("enum")
    if "const" in plain:
        listed = [plain["const"]]
    if choice := _CHOICE.fullmatch(plain.get("pattern", "")):
        form, listed = "word", choice[1].split("|")
    return FieldSpec(
        name, form, required, default,
        words=tuple(listed or ()),
        pattern=plain.get("pattern"),
        least=plain.get("minimum"), most=plain.get("maximum"),
        above=plain.get("exclusiveMinimum"), below=plain.get("exclusiveMaximum"),
        longest=plain.get("maxLength"),
        description=str(rule.get("description", plain.get("description", ""))),
    )  # fmt: skip


def _form(rule: Mapping[str, Any]) -> Form:
    kind = rule.get("type")
    if "enum" in rule or "const" in rule:
        return "word"
    if kind == "array":
        return "words" if "enum" in rule.get("items", {}) else "json"
    if kind == "string":
        formats: dict[str | None, Form] = {"date": "day", "date-time": "instant"}
        return formats.get(rule.get("format"), "code" if "pattern" in rule else "text")
    simple: dict[str, Form] = {"number": "number", "integer": "integer", "boolean": "boolean"}
    return simple.get(str(kind), "json")


def _places(shapes: tuple[str, ...]) -> dict[str, FieldSpec]:
    told = 'Geometry as WKT or GeoJSON; a point also as "lat, lon" in one cell.'
    said = "Datum of the coordinates of the row: WGS84, CGCS2000, GCJ02, BD09 or EPSG:n."
    fields = {
        "geometry": FieldSpec("geometry", "geometry", description=told),
        "datum": FieldSpec("datum", "place", description=said),
    }
    if "Point" in shapes:
        words = {
            "lon": "Longitude.", "lat": "Latitude.", "easting": "Easting of a projected CRS.",
            "northing": "Northing of a projected CRS.", "x": "x: degrees or metres, as the CRS says.",
            "y": "y: degrees or metres, as the CRS says.", "position": "Both coordinates in one cell.",
        }  # fmt: skip
        fields |= {name: FieldSpec(name, "place", description=words[name]) for name in _PLACES}
    return fields


def _lane_fields(schema: Mapping[str, Any]) -> dict[str, FieldSpec]:
    rules = schema["$defs"]["Lane"]["properties"]
    fields = {}
    for key, rule in rules.items():
        name = key if key == "lane" else LANE + key
        fields[name] = _field(name, rule, False, None)
    return fields


def _helpers(fields: Mapping[str, FieldSpec]) -> dict[str, FieldSpec]:
    helpers = {}
    if "name_zh" in fields and "name_en" in fields:
        helpers["name"] = FieldSpec("name", "text", longest=200, description="Name in whichever language.")
    if "horizontal_pixels" in fields:
        helpers["resolution"] = FieldSpec("resolution", "text", description="Resolution, e.g. 1920x1080.")
    return helpers

"""What a row can become: the fields of each kind, read off its draft so that a new kind just works.

The draft's JSON schema says what a field takes (a number with bounds, a word of a list, a day ...).
Fields that stand for others (``lon`` and ``lat`` for the geometry) are added here.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter

from app.errors import Invalid
from app.records.drafts import RingDraft
from app.records.kinds import BY_NAME
from app.states.service import StateReport

Form = Literal[
    "text", "code", "number", "integer", "boolean", "day", "instant", "word", "words", "json",
    "geometry", "place",
]  # fmt: skip


@dataclass(frozen=True)
class Field:
    """One field a column can feed."""

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
class Kind:
    """A kind of row: its draft, its fields, and the geometry it has."""

    name: str
    draft: type[BaseModel]
    fields: Mapping[str, Field]
    """Fields of the draft in order; each is a column of the good rows."""
    helpers: Mapping[str, Field]
    """Fields that stand for others while reading."""
    shapes: tuple[str, ...] = ()
    """Types of geometry it takes; none: it has no geometry."""
    device: bool = False
    references: Mapping[str, str] = field(default_factory=dict)

    def field(self, name: str) -> Field | None:
        """Return a field a column may feed."""
        return self.fields.get(name) or self.helpers.get(name)


_DRAFTS: Final[dict[str, type[BaseModel]]] = {"ring": RingDraft, "state": StateReport}
_POLYGONAL: Final = ("Polygon", "MultiPolygon")
_CHOICE: Final = re.compile(r"\^\((\w+(?:\|\w+)*)\)\$")
"""A pattern that is a list of words."""
_PLACES: Final = ("lon", "lat", "easting", "northing", "x", "y", "position")
LANES: Final = "lanes"
LANE: Final = "lane_"
"""Start of the names of columns that carry the fields of one lane."""


def names() -> tuple[str, ...]:
    """Return every kind that can be imported."""
    return (*(kind.name for kind in BY_NAME.values() if kind.shaped), *_DRAFTS)


@cache
def kind_of(name: str) -> Kind:
    """Return a kind by name; the plural of its route is taken too.

    Raises
    ------
    Invalid
        when there is no such kind.
    """
    plurals = {kind.plural: kind.name for kind in BY_NAME.values()} | {
        "rings": "ring",
        "states": "state",
    }
    name = plurals.get(name, name)
    if name in BY_NAME and name in names():
        record = BY_NAME[name]
        return _kind(name, record.draft, record.device, record.references)
    if name in _DRAFTS:
        return _kind(name, _DRAFTS[name], False, {})
    raise Invalid(f"There is no kind {name!r} to import; there are {', '.join(names())}.", code="unknown-kind")


def _kind(name: str, draft: type[BaseModel], device: bool, references: Mapping[str, str]) -> Kind:
    schema = draft.model_json_schema()
    required = frozenset(schema.get("required", ()))
    fields: dict[str, Field] = {}
    shapes: tuple[str, ...] = ()
    for key, rule in schema["properties"].items():
        if _is_geometry(rule):
            shapes = tuple(rule["properties"]["type"]["enum"])
            continue
        info = draft.model_fields[key]
        default = None if key in required or info.default_factory else info.get_default()
        fields[key] = _field(key, rule, key in required, default)
    if name == "ring":
        shapes = _POLYGONAL
    helpers = {} if not shapes else _places(shapes)
    if LANES in fields:
        fields[LANES] = Field(LANES, "json", default=[], description=fields[LANES].description)
        helpers |= _lane_fields(schema)
    helpers |= _helpers(fields)
    return Kind(name, draft, fields, helpers, shapes, device, references)


@cache
def rules_of(kind: Kind, name: str) -> TypeAdapter[Any]:
    """Return the rules of one field by themselves, as strict as the draft."""
    info = kind.draft.model_fields[name]
    rules: Any = info.annotation
    if info.metadata:
        rules = Annotated[rules, *info.metadata]
    return TypeAdapter(rules, config=ConfigDict(strict=True, arbitrary_types_allowed=True))


@cache
def draft_rules(kind: Kind) -> TypeAdapter[Any]:
    """Return the rules of a whole draft, without what SQLModel adds around them at every call."""
    return TypeAdapter(kind.draft)


def _is_geometry(rule: Mapping[str, Any]) -> bool:
    return str(rule.get("title", "")).startswith("GeoJSON ")


def _field(name: str, rule: Mapping[str, Any], required: bool, default: Any) -> Field:
    kinds = [part for part in rule.get("anyOf", [rule]) if part.get("type") != "null"]
    plain = kinds[0] if len(kinds) == 1 else {}
    form = _form(plain)
    listed = plain.get("items", {}).get("enum") if form == "words" else plain.get("enum")
    if "const" in plain:
        listed = [plain["const"]]
    if choice := _CHOICE.fullmatch(plain.get("pattern", "")):
        form, listed = "word", choice[1].split("|")
    return Field(
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


def _places(shapes: tuple[str, ...]) -> dict[str, Field]:
    told = 'Geometry as WKT or GeoJSON; a point also as "lat, lon" in one cell.'
    said = "Datum of the coordinates of the row: WGS84, CGCS2000, GCJ02, BD09 or EPSG:n."
    fields = {
        "geometry": Field("geometry", "geometry", description=told),
        "datum": Field("datum", "place", description=said),
    }
    if "Point" in shapes:
        words = {
            "lon": "Longitude.", "lat": "Latitude.", "easting": "Easting of a projected CRS.",
            "northing": "Northing of a projected CRS.", "x": "x: degrees or metres, as the CRS says.",
            "y": "y: degrees or metres, as the CRS says.", "position": "Both coordinates in one cell.",
        }  # fmt: skip
        fields |= {name: Field(name, "place", description=words[name]) for name in _PLACES}
    return fields


def _lane_fields(schema: Mapping[str, Any]) -> dict[str, Field]:
    rules = schema["$defs"]["Lane"]["properties"]
    fields = {}
    for key, rule in rules.items():
        name = key if key == "lane" else LANE + key
        fields[name] = _field(name, rule, False, None)
    return fields


def _helpers(fields: Mapping[str, Field]) -> dict[str, Field]:
    helpers = {}
    if "name_zh" in fields and "name_en" in fields:
        helpers["name"] = Field("name", "text", longest=200, description="Name in whichever language.")
    if "horizontal_pixels" in fields:
        helpers["resolution"] = Field("resolution", "text", description="Resolution, e.g. 1920x1080.")
    return helpers

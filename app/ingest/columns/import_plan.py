"""How a file is read, once that is decided: fields, the columns they come from, and what is told of it."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from app.errors import Invalid, Issue
from app.ingest.columns.field_specs import LANE, LANES, FieldSpec, RecordSpec
from app.ingest.columns.location_columns import LocationSource
from app.ingest.columns.options import Key, Options
from app.ingest.values import cell_parsing
from app.ingest.values.field_parsers import FieldParser


@dataclass(frozen=True)
class Note:
    """Something the sender should know about how the file is read."""

    code: str
    message: str
    message_zh: str


@dataclass(frozen=True, eq=False)
class FieldSource:
    """One field and the column, or columns, it is read from."""

    columns: tuple[str, ...]
    spec: FieldSpec
    why: str
    """``mapping``, ``profile`` or ``heading``."""
    parser: FieldParser
    code_list: str | None = None
    unit: str | None = None

    @property
    def separator(self) -> str:
        """What stands between the cells of several columns."""
        return "-" if self.spec.form == "code" else " "

    @property
    def has_other_unit(self) -> bool:
        """Whether the unit of the heading is another than the field's own."""
        return cell_parsing.find_units(self.spec.name).get(self.unit or "", 1.0) != 1.0

    def describe(self) -> dict[str, Any]:
        """Return what the report says about it."""
        told = {"columns": list(self.columns), "field": self.spec.name, "why": self.why}
        more = {"code_list": self.code_list, "unit": self.unit}
        return told | {name: value for name, value in more.items() if value is not None}


@dataclass(frozen=True, eq=False)
class ImportPlan:
    """How a file is read."""

    options: Options
    spec: RecordSpec
    profile: str
    sources: tuple[FieldSource, ...]
    location: LocationSource
    defaults: Mapping[str, Any]
    ignored: Mapping[str, str]
    """Column to the reason it is not read."""
    dropped: tuple[str, ...]
    notes: tuple[Note, ...] = ()
    profile_detected: bool = False
    recognised: str = "native"
    """The built-in profile the sender names, or the file speaks for."""
    missing: tuple[str, ...] = ()
    """Fields a record needs and the file does not give: its rows are parts of registered records."""
    assumed: frozenset[str] = frozenset()
    """Fields that only the default of a built-in profile gives: they are for new records."""
    columns: tuple[str, ...] = field(default=())

    @cached_property
    def fields(self) -> frozenset[str]:
        """Fields of the record that the file or a default of its sender gives."""
        fed = {feed.spec.name for feed in self.sources} | set(self.defaults) - self.assumed
        if "resolution" in fed:
            fed |= {"horizontal_pixels", "vertical_pixels"}
        if any(name == "lane" or name.startswith(LANE) for name in fed):
            fed.add(LANES)
        return frozenset(fed & set(self.spec.fields)) | ({"geometry"} if self.has_location else set())

    @property
    def has_location(self) -> bool:
        """Whether rows have a place."""
        return bool(self.spec.shapes) and self.location.mode != "none"

    @cached_property
    def lane_members(self) -> frozenset[str]:
        """Members of a lane that the file or a default gives."""
        names = {feed.spec.name for feed in self.lane_sources} | set(self.defaults)
        lane = {name for name in names if name == "lane" or name.startswith(LANE)}
        return frozenset(name.removeprefix(LANE) for name in lane)

    @property
    def merges_lanes(self) -> bool:
        """Whether lanes are put among those that are registered, by their number."""
        return self.groups_lanes and bool(self.missing)

    @cached_property
    def lane_sources(self) -> tuple[FieldSource, ...]:
        """Feeds of the fields of one lane."""
        return tuple(f for f in self.sources if f.spec.name == "lane" or f.spec.name.startswith(LANE))

    @cached_property
    def record_sources(self) -> tuple[FieldSource, ...]:
        """Feeds of the fields of the record itself."""
        return tuple(feed for feed in self.sources if feed not in self.lane_sources)

    @property
    def groups_lanes(self) -> bool:
        """Whether rows are lanes, several of which make one checkpoint."""
        return bool(self.lane_sources)

    @property
    def key(self) -> Key:
        """What makes a row the record it updates."""
        return self.options.key

    def describe(self) -> dict[str, Any]:
        """Return the plan as JSON for the report."""
        return {
            "kind": self.spec.name,
            "profile": self.profile,
            "profile_detected": self.profile_detected,
            "key": self.key,
            "columns": [feed.describe() for feed in self.sources],
            "geometry": self.location.describe(),
            "defaults": dict(self.defaults),
            "ignored": [{"column": name, "why": why} for name, why in self.ignored.items()],
            "dropped": list(self.dropped),
            "missing": list(self.missing),
            "notes": [vars(note) for note in self.notes],
        }


# What a file does not give of whole records: refused, or told where its rows may be parts of them.
#
# Rows that are parts of registered records need the key, and something to change.

_KEYS: Final = frozenset({"code", "jurisdiction", "owner_unit", "owner_reference"})


def find_missing_fields(kind: RecordSpec, fed: Collection[str], key: str, *, placed: bool) -> tuple[str, ...]:
    """Return the fields a record needs and nothing gives, in order."""
    needed = {name for name, target in kind.fields.items() if target.required}
    if key == "owner_reference" and "code" not in fed:
        needed = needed - {"code"} | {"owner_unit", "owner_reference"}
    found = [name for name in kind.fields if name in needed - set(fed)]
    return (*found, *(("geometry",) if kind.shapes and not placed else ()))


def check_key_fields(
    kind: RecordSpec, fed: Collection[str], key: str, lacking: Sequence[str], ignored: Iterable[str]
) -> None:
    """Refuse a file whose rows do not say which record they are, or nothing of it.

    Raises
    ------
    Invalid
        ``fields-missing``.
    """
    needed = {"code"} if key == "code" else {"jurisdiction", "owner_unit", "owner_reference"}
    if "code" not in kind.fields:  # a ring
        needed = {"jurisdiction", "level"}
    if key == "owner_reference" and "code" in fed:
        needed = {"code", "jurisdiction"}
    if absent := [name for name in lacking if name in needed]:
        raise build_missing_error(absent, ignored)
    by = {"code", "jurisdiction", *needed} if key == "code" else _KEYS
    if lacking and not set(fed) - by:
        told = "Nothing gives a field to change: the file has the key of its records alone."
        fault = Issue("/mapping", "fields-missing", "no column gives a field to change")
        raise Invalid(_with_ignored(told, ignored), code="fields-missing", issues=[fault])
    lanes = [name for name in fed if name.startswith(LANE)]
    if lanes and LANES in kind.fields and "lane" not in fed and lacking:
        raise build_missing_error(["lane"], ignored)


def build_missing_error(names: Sequence[str], ignored: Iterable[str]) -> Invalid:
    """Return the refusal of a file that lacks fields of whole records."""
    told = "no column gives {}, and no default does"
    message = f"Nothing gives {', '.join(names)}: map a column to each, or give a default."
    return Invalid(
        _with_ignored(message, ignored),
        code="fields-missing",
        issues=[Issue(f"/mapping/{n}", "fields-missing", told.format(n)) for n in names],
    )


def build_half_location_error(columns: Sequence[str]) -> Invalid:
    """Return the refusal of a file with one coordinate: its places would stay, and nobody would know."""
    told = f"{', '.join(columns)} is half of a place, and no column gives the other half"
    return Invalid(
        f"No place can be read: {told}. Map a column to it, or name {', '.join(columns)} in "
        "drop_columns to keep the places that are registered.",
        code="fields-missing",
        issues=[Issue("/mapping/geometry", "fields-missing", told)],
    )


def build_lanes_error(names: Sequence[str]) -> Invalid:
    """Return the refusal of lanes whose checkpoints are not registered."""
    return Invalid(
        f"These are lanes without their checkpoints, and none of those is registered: nothing gives "
        f"{', '.join(names)}. Send them in one file with their tollgates (TollgateListObject and "
        "LaneListObject side by side), or register the checkpoints first.",
        code="fields-missing",
        issues=[Issue("/mapping/geometry", "fields-missing", "lanes alone have no place")],
    )


def _with_ignored(message: str, ignored: Iterable[str]) -> str:
    names = ", ".join(ignored)
    if not names:
        return message
    return f"{message} Columns not used: {names}."


def build_plan_error(plan: ImportPlan) -> Invalid:
    """Return the refusal of a plan for parts of records of which none is registered."""
    if plan.merges_lanes:
        return build_lanes_error(plan.missing)
    return build_missing_error(plan.missing, plan.ignored)


def build_partial_note(kind: RecordSpec, feeds: Sequence[FieldSource], lacking: Sequence[str]) -> Note:
    """Tell that rows are parts of registered records."""
    needs = ", ".join(lacking)
    english = (
        f"the file gives only some fields of registered records: what it does not give stays as it is. "
        f"A row whose {kind.title} is not registered is refused, because a new one needs {needs}"
    )
    chinese = f"文件只含已登记记录的部分字段，未给出的字段保持不变；尚未登记的行将被拒绝，因为新记录还需要 {needs}"
    if any(feed.spec.name == "lane" for feed in feeds):
        english += ". Lanes are put among those that are registered by their number; others stay"
        chinese += "。车道按车道号并入已登记的车道，其余车道保留"
    return Note("some-fields", f"{english}.", f"{chinese}。")


def build_placeholder(target: FieldSpec) -> Any:
    """Return a value that a draft takes in place of what is registered, so that it judges the rest.

    Rules between fields are not held over a field that stands in.
    """
    if target.form == "words":
        return [target.words[0]]
    return target.words[0] if target.words else "000000"


def build_placeholders(plan: ImportPlan) -> Mapping[str, Any]:
    """Return what stands in for the fields that the file does not give."""
    fields = plan.spec.fields
    return {name: build_placeholder(fields[name]) for name in plan.missing if name in fields}

"""The import plan: how one file is read, field by field, and what its sender should know about it."""

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
from app.messages import Message, translate_message


@dataclass(frozen=True)
class Note:
    """What the sender should know about how the file is read."""

    code: str
    message: Message

    def describe(self) -> dict[str, str]:
        """Return the note as the report shows it, in both languages."""
        return {"code": self.code, "message": self.message, "message_zh": translate_message(self.message, "zh")}


@dataclass(frozen=True, eq=False)
class FieldSource:
    """One field, and the column or columns that give it."""

    columns: tuple[str, ...]
    spec: FieldSpec
    why: str
    """``mapping``, ``profile`` or ``heading``."""
    parser: FieldParser
    code_list: str | None = None
    unit: str | None = None

    @property
    def separator(self) -> str:
        """Text between the cells of several columns."""
        return "-" if self.spec.form == "code" else " "

    @property
    def has_other_unit(self) -> bool:
        """Whether the unit of the heading differs from the unit of the field."""
        return cell_parsing.find_units(self.spec.name).get(self.unit or "", 1.0) != 1.0

    def describe(self) -> dict[str, Any]:
        """Return the source as the report shows it."""
        document = {"columns": list(self.columns), "field": self.spec.name, "why": self.why}
        optional = {"code_list": self.code_list, "unit": self.unit}
        return document | {name: value for name, value in optional.items() if value is not None}


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
    """The built-in profile that the sender names or the headings show."""
    missing: tuple[str, ...] = ()
    """Fields that a record needs and the file does not give: its rows update registered records."""
    assumed: frozenset[str] = frozenset()
    """Fields that only the default of a built-in profile gives; they apply to new records."""
    columns: tuple[str, ...] = field(default=())

    @cached_property
    def fields(self) -> frozenset[str]:
        """Fields of the record that the file, or a default of its sender, gives."""
        given = {feed.spec.name for feed in self.sources} | set(self.defaults) - self.assumed
        if "resolution" in given:
            given |= {"horizontal_pixels", "vertical_pixels"}
        if any(name == "lane" or name.startswith(LANE) for name in given):
            given.add(LANES)
        return frozenset(given & set(self.spec.fields)) | ({"geometry"} if self.has_location else set())

    @property
    def has_location(self) -> bool:
        """Whether rows have a location."""
        return bool(self.spec.shapes) and self.location.mode != "none"

    @cached_property
    def lane_members(self) -> frozenset[str]:
        """Members of a lane that the file or a default gives."""
        names = {feed.spec.name for feed in self.lane_sources} | set(self.defaults)
        lane = {name for name in names if name == "lane" or name.startswith(LANE)}
        return frozenset(name.removeprefix(LANE) for name in lane)

    @property
    def merges_lanes(self) -> bool:
        """Whether lanes are merged with the registered lanes, by their number."""
        return self.groups_lanes and bool(self.missing)

    @cached_property
    def lane_sources(self) -> tuple[FieldSource, ...]:
        """Sources of the fields of one lane."""
        return tuple(f for f in self.sources if f.spec.name == "lane" or f.spec.name.startswith(LANE))

    @cached_property
    def record_sources(self) -> tuple[FieldSource, ...]:
        """Sources of the fields of the record itself."""
        return tuple(feed for feed in self.sources if feed not in self.lane_sources)

    @property
    def groups_lanes(self) -> bool:
        """Whether rows are lanes, several of which may make one checkpoint."""
        return bool(self.lane_sources)

    @property
    def key(self) -> Key:
        """What identifies the record of a row."""
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
            "notes": [note.describe() for note in self.notes],
        }


# Fields that a file lacks: an error, or a note if its rows update registered records.

_KEY_FIELDS: Final = frozenset({"code", "jurisdiction", "owner_unit", "owner_reference"})


def find_missing_fields(spec: RecordSpec, given: Collection[str], key: str, *, has_location: bool) -> tuple[str, ...]:
    """Return the fields that a record needs and nothing gives, in order."""
    needed = {name for name, field_spec in spec.fields.items() if field_spec.required}
    if key == "owner_reference" and "code" not in given:
        needed = needed - {"code"} | {"owner_unit", "owner_reference"}
    missing = [name for name in spec.fields if name in needed - set(given)]
    return (*missing, *(("geometry",) if spec.shapes and not has_location else ()))


def check_key_fields(
    spec: RecordSpec, given: Collection[str], key: str, missing: Sequence[str], ignored: Iterable[str]
) -> None:
    """Raise ``fields-missing`` if the rows of a file do not identify their records, or change nothing of them."""
    needed = {"code"} if key == "code" else {"jurisdiction", "owner_unit", "owner_reference"}
    if "code" not in spec.fields:  # a ring
        needed = {"jurisdiction", "level"}
    if key == "owner_reference" and "code" in given:
        needed = {"code", "jurisdiction"}
    if absent := [name for name in missing if name in needed]:
        raise build_missing_error(absent, ignored)
    keys = {"code", "jurisdiction", *needed} if key == "code" else _KEY_FIELDS
    if missing and not set(given) - keys:
        message = Message("The file has only the key of its records and no field to change.")
        issue = Issue("/mapping", "fields-missing", Message("no column gives a field to change"))
        raise Invalid(_add_ignored(message, ignored), code="fields-missing", issues=[issue])
    lanes = [name for name in given if name.startswith(LANE)]
    if lanes and LANES in spec.fields and "lane" not in given and missing:
        raise build_missing_error(["lane"], ignored)


def build_missing_error(names: Sequence[str], ignored: Iterable[str]) -> Invalid:
    """Return the error of a file that lacks fields of whole records."""
    message = Message(
        "Missing required fields: {fields}. Map a column to each, or give it a default.", fields=", ".join(names)
    )
    return Invalid(
        _add_ignored(message, ignored),
        code="fields-missing",
        issues=[
            Issue(f"/mapping/{name}", "fields-missing", Message("no column and no default gives {field}", field=name))
            for name in names
        ],
    )


def build_half_location_error(columns: Sequence[str]) -> Invalid:
    """Return the error of a file with one coordinate: without an error, locations would silently stay as they are."""
    reason = Message("{columns} is one coordinate, and no column gives the other one", columns=", ".join(columns))
    return Invalid(
        Message(
            "The location is incomplete: {reason}. Map a column to it, or name {columns} in drop_columns to keep the "
            "registered locations.",
            reason=reason,
            columns=", ".join(columns),
        ),
        code="fields-missing",
        issues=[Issue("/mapping/geometry", "fields-missing", reason)],
    )


def build_lanes_error(names: Sequence[str]) -> Invalid:
    """Return the error of lanes whose checkpoints are not registered."""
    return Invalid(
        Message(
            "The file has lanes without their checkpoints, and none of the checkpoints is registered: it lacks {fields}. "
            "Send lanes in one file with their tollgates (TollgateListObject and LaneListObject), or register the "
            "checkpoints first.",
            fields=", ".join(names),
        ),
        code="fields-missing",
        issues=[Issue("/mapping/geometry", "fields-missing", Message("lanes have no location"))],
    )


def _add_ignored(message: Message, ignored: Iterable[str]) -> Message:
    names = ", ".join(ignored)
    return Message("{message} Columns not used: {columns}.", message=message, columns=names) if names else message


def build_plan_error(plan: ImportPlan) -> Invalid:
    """Return the error of a plan that updates registered records, if none is registered."""
    if plan.merges_lanes:
        return build_lanes_error(plan.missing)
    return build_missing_error(plan.missing, plan.ignored)


def build_partial_note(spec: RecordSpec, sources: Sequence[FieldSource], missing: Sequence[str]) -> Note:
    """Return the note that rows update registered records."""
    message = Message(
        "The file has only some fields of registered records: the other fields stay as they are. A row whose {kind} is "
        "not registered is an error, because a new one needs {fields}.",
        kind=spec.title,
        fields=", ".join(missing),
    )
    if any(source.spec.name == "lane" for source in sources):
        message = Message(
            "{message} Lanes are merged with the registered lanes by their number; other lanes stay.", message=message
        )
    return Note("some-fields", message)


def build_placeholder(spec: FieldSpec) -> Any:
    """Return a value that a draft accepts instead of the registered one, so that it validates the other fields.

    Rules over several fields are not checked if one of their fields has a placeholder.
    """
    if spec.form == "words":
        return [spec.words[0]]
    return spec.words[0] if spec.words else "000000"


def build_placeholders(plan: ImportPlan) -> Mapping[str, Any]:
    """Return placeholders for the fields that the file does not give."""
    fields = plan.spec.fields
    return {name: build_placeholder(fields[name]) for name in plan.missing if name in fields}

"""How one file is read: which column feeds which field, with which code list, unit and datum.

Made once per file from what the sender says and what the file shows. Promises that every column is
told about: used, left out on purpose, or not understood. Refuses forbidden content, headings that
mean the same field, and required fields that nothing gives.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

from app.errors import Fault, Invalid
from app.intake import codes, headers, options, places
from app.intake.aliases import KNOWN_BUT_NOT_KEPT
from app.intake.cells import Unreadable
from app.intake.faults import Rows
from app.intake.headers import plain, recognise, taken_apart
from app.intake.options import BUILT_IN, Key, Options, check_profile, known_list, no_list
from app.intake.places import Place
from app.intake.readers import Reader
from app.intake.targets import LANE, Field, Kind, kind_of
from app.schemas.forbidden import forbidden
from app.schemas.imports import Profile

__all__ = ["BUILT_IN", "Feed", "Options", "Plan", "plan_for"]

_JOINED: Final = {"code": "-", "text": " "}
"""How several columns mapped to one field are put together, by the form of the field."""
_CRITICAL: Final = frozenset({"code", "lon", "lat", "x", "y", "easting", "northing"})


class Told(Protocol):
    """What the reader of a file found out about it (``app.formats``)."""

    @property
    def format(self) -> str:
        """Name of the format."""

    @property
    def crs(self) -> str | None:
        """CRS of its geometry."""

    @property
    def geometry(self) -> bool:
        """Whether it has a geometry."""


@dataclass(frozen=True)
class Note:
    """Something the sender should know about how the file is read."""

    code: str
    message: str
    message_zh: str


@dataclass(frozen=True, eq=False)
class Feed:
    """One field and the column, or columns, it is read from."""

    columns: tuple[str, ...]
    field: Field
    why: str
    """``mapping``, ``profile`` or ``heading``."""
    reader: Reader
    code_list: str | None = None
    unit: str | None = None

    def view(self) -> dict[str, Any]:
        """Return what the report says about it."""
        told = {"columns": list(self.columns), "field": self.field.name, "why": self.why}
        more = {"code_list": self.code_list, "unit": self.unit}
        return told | {name: value for name, value in more.items() if value is not None}


@dataclass(frozen=True, eq=False)
class Plan:
    """How a file is read."""

    options: Options
    kind: Kind
    profile: str
    feeds: tuple[Feed, ...]
    place: Place
    defaults: Mapping[str, Any]
    ignored: Mapping[str, str]
    """Column to the reason it is not read."""
    dropped: tuple[str, ...]
    notes: tuple[Note, ...] = ()
    profile_detected: bool = False
    columns: tuple[str, ...] = field(default=())

    @property
    def fields(self) -> frozenset[str]:
        """Fields of the record that the file or a default gives."""
        fed = {feed.field.name for feed in self.feeds} | set(self.defaults)
        if "resolution" in fed:
            fed |= {"horizontal_pixels", "vertical_pixels"}
        if any(name == "lane" or name.startswith(LANE) for name in fed):
            fed.add("lanes")
        return frozenset(fed & set(self.kind.fields)) | (
            {"geometry"} if self.kind.shapes else set()
        )

    @property
    def grouped(self) -> bool:
        """Whether rows are lanes, several of which make one checkpoint."""
        return any(f.field.name == "lane" or f.field.name.startswith(LANE) for f in self.feeds)

    @property
    def key(self) -> Key:
        """What makes a row the record it updates."""
        return self.options.key

    def describe(self) -> dict[str, Any]:
        """Return the plan as JSON for the report."""
        return {
            "kind": self.kind.name,
            "profile": self.profile,
            "profile_detected": self.profile_detected,
            "key": self.key,
            "columns": [feed.view() for feed in self.feeds],
            "geometry": self.place.view(),
            "defaults": dict(self.defaults),
            "ignored": [{"column": name, "why": why} for name, why in self.ignored.items()],
            "dropped": list(self.dropped),
            "notes": [vars(note) for note in self.notes],
        }


@dataclass(eq=False)
class _Choice:
    """The columns that were found for one field so far."""

    target: str
    why: str
    rank: int
    columns: list[str]
    unit: str | None = None
    datum: str | None = None


def plan_for(
    wanted: Options, told: Told | None, columns: Sequence[str], sample: Rows | None = None
) -> Plan:
    """Return how a file is read.

    Parameters
    ----------
    wanted : Options
        What the sender says.
    told : Detected or None
        What the reader of the file found out.
    columns : sequence of str
        Headings of the file.
    sample : Batch, optional
        The first rows: they decide headings such as "status" or "direction", and warn of codes
        whose meaning depends on their source.

    Raises
    ------
    Invalid
        ``forbidden-content``, ``unknown-column``, ``unknown-field``, ``unknown-code-list``,
        ``ambiguous-columns``, ``fields-missing``, ``bad-default``, ``crs-needed``, ``unknown-crs``.
    """
    return _Maker(wanted, told, tuple(columns), sample).plan()


class _Maker:
    """Makes one plan; holds what is found on the way."""

    def __init__(
        self, wanted: Options, told: Told | None, columns: tuple[str, ...], sample: Rows | None
    ) -> None:
        self.wanted, self.told, self.columns, self.sample = wanted, told, columns, sample
        self.kind = kind_of(wanted.kind)
        self.given = wanted.profile
        if self.given is not None:
            check_profile(self.given)
        self.detected = self.given is None
        self.base = self.given or options.recognised(columns, told.format if told else None)
        self.notes: list[Note] = []
        self.ignored: dict[str, str] = {}
        self.choices: dict[str, _Choice] = {}

    def plan(self) -> Plan:
        self._check_mapping()
        dropped = self._dropped()
        self._refuse_forbidden(dropped)
        for column in self.columns:
            if column not in dropped:
                self._place_column(column)
        place = self._geometry()
        feeds = tuple(self._feed(choice) for choice in self.choices.values())
        defaults = self._defaults(feeds)
        self._refuse_missing(feeds, defaults, place)
        plan = Plan(
            self.wanted, self.kind, self.base.name, feeds, place, defaults, self.ignored,
            tuple(column for column in self.columns if column in dropped), (), self.detected,
            self.columns,
        )  # fmt: skip
        return _with_notes(plan, [*self.notes, *self._code_notes(feeds)])

    # columns

    def _check_mapping(self) -> None:
        faults = []
        for column, target in self.wanted.mapping.items():
            if column not in self.columns:
                known = ", ".join(self.columns[:40])
                message = f"the file has no column {column!r}; it has {known}"
                faults.append(Fault(f"/mapping/{column}", "unknown-column", message))
            elif target is not None:
                faults += self._target_faults(f"/mapping/{column}", target)
        for name in [*self.wanted.defaults, *self.wanted.values]:
            faults += self._target_faults(f"/{name}", name)
        for topic, code_list in _lists(self.wanted.code_lists).items():
            if topic and not known_list(topic, code_list):
                message = f"there is no code list {code_list!r} for {topic}"
                faults.append(Fault("/code_lists", "unknown-code-list", message))
        if faults:
            raise Invalid(
                f"The mapping does not fit the file: {faults[0].message}.",
                code=faults[0].code, faults=faults,
            )  # fmt: skip

    def _target_faults(self, pointer: str, target: str) -> list[Fault]:
        name, _, code_list = target.partition("@")
        if self.kind.field(name) is None:
            known = ", ".join([*self.kind.fields, *self.kind.helpers])
            message = f"a {self.kind.name} has no field {name!r}; it has {known}"
            return [Fault(pointer, "unknown-field", message)]
        if code_list and not known_list(name, code_list):
            return [Fault(pointer, "unknown-code-list", no_list(name, code_list))]
        return []

    def _dropped(self) -> frozenset[str]:
        named = {*self.wanted.drop_columns, *(self.base.drop_columns if self.given else ())}
        named |= {column for column, target in self.wanted.mapping.items() if target is None}
        plain_named = {plain(name) for name in named}
        return frozenset(c for c in self.columns if c in named or plain(c) in plain_named)

    def _refuse_forbidden(self, dropped: frozenset[str]) -> None:
        names = [
            column
            for column in self.columns
            if column not in dropped and forbidden(column) and not self._ours(column)
        ]
        if names:
            told = ", ".join(names)
            raise Invalid(
                f"The file is refused for its columns {told}: the registry holds equipment and places, "
                "never people, images, recognitions or logins. Name them in drop_columns to import "
                "the rest without them.",
                code="forbidden-content",
                faults=[
                    Fault(f"/columns/{n}", "forbidden-content", f"column {n!r} is refused")
                    for n in names
                ],
            )

    def _ours(self, column: str) -> bool:
        found = recognise(column, self.kind.name)
        return found is not None and found.field in self.kind.fields

    def _place_column(self, column: str) -> None:
        target, why, rank, unit, datum = self._target_of(column)
        if target is None:
            self.ignored[column] = why
            return
        name = target.partition("@")[0]
        present = self.choices.get(name)
        if present is None or rank < present.rank:
            if present is not None:
                self._not_used(present.columns, name, column)
            self.choices[name] = _Choice(target, why, rank, [column], unit, datum)
        elif rank > present.rank:
            self._not_used([column], name, present.columns[0])
        else:
            self._same_rank(present, column, name)

    def _same_rank(self, present: _Choice, column: str, name: str) -> None:
        found = self.kind.field(name)
        if present.why == "mapping" and found is not None and found.form in _JOINED:
            present.columns.append(column)
            return
        if (
            present.datum != (datum := taken_apart(column).datum)
            or name in _CRITICAL
            or present.why == "mapping"
        ):
            if {present.datum, datum} & {"wgs84", "cgcs2000"} and present.datum != datum:
                self._prefer_wgs84(present, column, name, datum)
                return
            both = f"{present.columns[0]!r} and {column!r}"
            raise Invalid(
                f"Columns {both} both mean {name}: say in the mapping which is meant.",
                code="ambiguous-columns",
                faults=[
                    Fault(f"/mapping/{column}", "ambiguous-columns", f"{both} both mean {name}")
                ],
            )
        self._not_used([column], name, present.columns[0])

    def _prefer_wgs84(self, present: _Choice, column: str, name: str, datum: str | None) -> None:
        if datum in ("wgs84", "cgcs2000"):
            self._not_used(present.columns, name, column)
            present.columns, present.datum = [column], datum
        else:
            self._not_used([column], name, present.columns[0])

    def _not_used(self, columns: Sequence[str], name: str, instead: str) -> None:
        for column in columns:
            self.ignored[column] = f"{name} is read from {instead!r}"
            self.notes.append(
                Note(
                    "column-not-used",
                    f"{column!r} would be {name} too; {instead!r} is read. Say otherwise in the mapping.",
                    f"“{column}”也可作 {name}，已采用“{instead}”；如需更换请在映射中指定。",
                )
            )

    def _target_of(self, column: str) -> tuple[str | None, str, int, str | None, str | None]:
        apart = taken_apart(column)
        if column in self.wanted.mapping:
            return self.wanted.mapping[column], "mapping", 0, apart.unit, apart.datum
        named, target = _in_profile(self.base, column)
        if named and self.given is not None and target is None:
            return None, "the profile leaves it out", 0, None, None
        if target is not None and self.kind.field(target.partition("@")[0]) is not None:
            target = self._fitting(target)
            return target, "profile", 1, apart.unit, apart.datum
        found = recognise(column, self.kind.name)
        if found is not None:
            target = found.field if found.code_list is None else f"{found.field}@{found.code_list}"
            return target, "heading", 2 + found.rank, found.unit, found.datum
        return self._undecided(column, apart)

    def _fitting(self, target: str) -> str:
        """Return a profile's target as the kind has it: a tollgate's function is its kind."""
        name, _, code_list = target.partition("@")
        known = not code_list or code_list in ("code",) or known_list(name, code_list)
        return target if known else name

    def _undecided(
        self, column: str, apart: headers.Heading
    ) -> tuple[str | None, str, int, str | None, str | None]:
        between = headers.choices(apart.plain, self.kind)
        if between:
            able = [target for target in between if self._can_read(column, target)]
            if len(able) == 1:
                return able[0], "values", 5, apart.unit, None
            self.notes.append(_undecided_note(column, between))
            return None, f"may mean {' or '.join(between)}; say which in the mapping", 9, None, None
        why = KNOWN_BUT_NOT_KEPT.get(apart.plain)
        return None, f"not kept: {why}" if why else "not recognised", 9, None, None

    def _can_read(self, column: str, target: str) -> bool:
        """Tell whether every sampled cell of a column is a word or code of the target."""
        name, _, code_list = target.partition("@")
        found = self.kind.field(name)
        cells = self._sampled(column)
        if found is None or not cells:
            return False
        if found.form == "number":
            cells = [cell for cell in cells if not cell.isdigit()] or ["?"]
        reader = self._reader(found, self._list_of(name, code_list))
        return all(_readable(reader, cell) for cell in cells)

    def _sampled(self, column: str) -> list[str]:
        if self.sample is None or column not in self.sample.columns:
            return []
        cells = self.sample.columns[column].drop_null().unique().to_pylist()
        return [str(cell) for cell in cells[:200]]

    # fields

    def _list_of(self, name: str, stated: str | None) -> str | None:
        """Return the code list in force for a field: the column's, the sender's, the profile's."""
        topic = codes.TOPICS.get(name)
        if stated and stated != "code":
            return stated
        if topic is None:
            return None
        chosen = _lists(self.wanted.code_lists)
        for source in (chosen.get(name), chosen.get(topic), chosen.get("")):
            if source and known_list(topic, source):
                return source
        by_profile = self.base.code_lists.get(name) or self.base.code_lists.get(topic)
        if topic == "direction" and stated is None and not by_profile:
            return "degrees"
        if topic == "direction" and stated is None and self.detected:
            return "degrees"
        return by_profile or codes.DEFAULTS.get(topic)

    def _reader(self, found: Field, code_list: str | None, unit: str | None = None) -> Reader:
        values = {
            **(self.base.values.get(found.name) or {}),
            **self.wanted.values.get(found.name, {}),
        }
        osm = self.base.name == "osm"
        return Reader(found, code_list, unit, values, osm, self.wanted.offset_h)

    def _feed(self, choice: _Choice) -> Feed:
        name, _, stated = choice.target.partition("@")
        found = self.kind.field(name)
        assert found is not None  # noqa: S101  # targets were checked
        if name == "name":
            found = self.kind.fields[self._language(choice.columns)]
        code_list = self._list_of(name, stated or None)
        if stated == "code" and code_list is None:
            code_list = codes.DEFAULTS["direction"]
        reader = self._reader(found, code_list, choice.unit)
        return Feed(tuple(choice.columns), found, choice.why, reader, code_list, choice.unit)

    def _language(self, columns: Sequence[str]) -> str:
        cells = [cell for column in columns for cell in self._sampled(column)]
        chinese = sum(any("\u3400" <= sign <= "\u9fff" for sign in cell) for cell in cells)
        return "name_zh" if not cells or 2 * chinese >= len(cells) else "name_en"

    def _geometry(self) -> Place:
        found: dict[str, _Choice] = {
            name: self.choices.pop(name)
            for name in ("geometry", "position", "lon", "lat", "x", "y", "easting", "northing")
            if name in self.choices
        }
        spoken: dict[str, tuple[str, str | None]] = {
            name: (choice.columns[0], choice.datum) for name, choice in found.items()
        }
        place, unused = places.chosen(
            self.kind, spoken, self.told, self.wanted.crs or self.base.crs
        )
        for column, why in unused.items():
            self.ignored[column] = why
        return place

    def _defaults(self, feeds: Sequence[Feed]) -> dict[str, Any]:
        stated = {**self.base.defaults, **self.wanted.defaults}
        if self.wanted.jurisdiction is not None:
            stated.setdefault("jurisdiction", self.wanted.jurisdiction)
        kept = {}
        for target, value in stated.items():
            name, _, code_list = target.partition("@")
            found = self.kind.field(name)
            if found is None:
                continue
            if isinstance(value, str):
                try:
                    value = self._reader(found, self._list_of(name, code_list or None)).read(value)
                except Unreadable as reason:
                    message = f"the default of {name} cannot be read: {reason}"
                    raise Invalid(
                        message,
                        code="bad-default",
                        faults=[Fault(f"/defaults/{name}", "bad-default", message)],
                    ) from reason
            kept[name] = value
        return kept

    def _refuse_missing(
        self, feeds: Sequence[Feed], defaults: Mapping[str, Any], place: Place
    ) -> None:
        fed = {feed.field.name for feed in feeds} | set(defaults)
        if self.wanted.key == "owner_reference":
            fed.add("code")
        missing = [name for name, f in self.kind.fields.items() if f.required and name not in fed]
        if self.kind.shapes and place.mode == "none":
            missing.append("geometry")
        if missing:
            faults = [
                Fault(
                    f"/mapping/{name}",
                    "fields-missing",
                    f"no column gives {name}, and no default does",
                )
                for name in missing
            ]
            unread = ", ".join(self.ignored) or "none"
            raise Invalid(
                f"Nothing gives {', '.join(missing)}: map a column to each, or give a default. "
                f"Columns not used: {unread}.",
                code="fields-missing",
                faults=faults,
            )

    def _code_notes(self, feeds: Sequence[Feed]) -> list[Note]:
        """Warn of codes on which lists disagree while nobody named the source."""
        notes = []
        for feed in feeds:
            topic = codes.TOPICS.get(feed.field.name)
            named = _lists(self.wanted.code_lists)
            if topic not in codes.DISAGREE or named.get(topic) or named.get("") or self.given:
                continue
            if (
                feed.why == "mapping"
                and feed.code_list
                and feed.code_list != codes.DEFAULTS.get(topic)
            ):
                continue
            notes += _disagreeing(
                feed, topic, [c for col in feed.columns for c in self._sampled(col)]
            )
        return notes


def _disagreeing(feed: Feed, topic: str, cells: Sequence[str]) -> list[Note]:
    present = {code for cell in cells for code in _codes_in(cell)}
    for listed, sources in codes.DISAGREE[topic].items():
        unsure = sorted(present & set(listed.split()))
        if unsure and feed.code_list in sources:
            others = " / ".join(sorted(sources))
            told = ", ".join(unsure)
            return [
                Note(
                    "code-list-assumed",
                    f"codes {told} of {feed.columns[0]!r} mean different things in {others}; "
                    f"{feed.code_list} is used. Name the list in code_lists if it is another.",
                    f"“{feed.columns[0]}”中的代码 {told} 在 {others} 中含义不同，已按 {feed.code_list} 解读；"
                    "如来源不同请在 code_lists 中指定。",
                )
            ]
    return []


def _codes_in(cell: str) -> set[str]:
    """Return the codes in a cell, without leading zeros."""
    return {
        part.lstrip("0")
        for part in cell.replace("/", " ").replace(",", " ").split()
        if part.isdigit()
    }


def _readable(reader: Reader, cell: str) -> bool:
    try:
        reader.read(cell)
    except Unreadable:
        return False
    return True


def _undecided_note(column: str, between: Sequence[str]) -> Note:
    told = " / ".join(between)
    return Note(
        "column-undecided",
        f"{column!r} may mean {told}, and its cells do not tell: it is not read. Say which in the mapping.",
        f"“{column}”可能是 {told}，无法由取值判断，未读取；请在映射中指定。",
    )


def _in_profile(profile: Profile, column: str) -> tuple[bool, str | None]:
    """Return whether a profile names a column, and the field it gives it."""
    if column in profile.columns:
        return True, profile.columns[column]
    names = {plain(name): target for name, target in profile.columns.items()}
    apart = taken_apart(column).plain
    return apart in names, names.get(apart)


def _lists(stated: str | Mapping[str, str] | None) -> dict[str, str]:
    if stated is None:
        return {}
    return {"": stated} if isinstance(stated, str) else dict(stated)


def _with_notes(plan: Plan, notes: Sequence[Note]) -> Plan:
    return replace(plan, notes=tuple(notes))

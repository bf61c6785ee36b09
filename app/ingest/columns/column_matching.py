"""Which column feeds which field: the sender's word first, then profiles, then headings, then cells.

Promises that two columns for one field are never chosen between silently, and that digits alone
decide nothing: a column of 1, 2, 3 may be anything.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from app.errors import Invalid, Issue
from app.ingest.columns import headings, options
from app.ingest.columns.field_specs import FieldSpec
from app.ingest.columns.headings import KNOWN_BUT_NOT_KEPT, match_heading, parse_heading, to_plain_form
from app.ingest.columns.import_plan import Note
from app.ingest.columns.options import Options
from app.ingest.columns.profiles import Profile
from app.ingest.readers.opening import Batch, DetectedFormat
from app.ingest.values.cell_parsing import CellError
from app.ingest.values.code_lists import find_topic
from app.ingest.values.field_parsers import FieldParser

_JOINED: Final = frozenset({"code", "text"})
"""Forms of fields that several columns may be mapped to: they are put together."""
_CRITICAL: Final = frozenset({"code", "lon", "lat", "x", "y", "easting", "northing"})
_WGS84: Final = frozenset({"wgs84", "cgcs2000"})
_SAMPLED: Final = 200
_LAST: Final = 9


class ColumnMatch(NamedTuple):
    """What a column was found to be."""

    target: str | None
    """``field`` or ``field@list``; None: the column is not read."""
    why: str
    rank: int
    unit: str | None = None
    datum: str | None = None


@dataclass(eq=False)
class FieldChoice:
    """The columns that were found for one field."""

    match: ColumnMatch
    columns: list[str] = field(default_factory=list)

    @property
    def field(self) -> str:
        """Name of the field."""
        return str(self.match.target).partition("@")[0]


class ColumnMatcher:
    """Goes through the columns of one file."""

    def __init__(
        self,
        wanted: Options,
        told: DetectedFormat | None,
        columns: tuple[str, ...],
        sample: Batch | None,
    ) -> None:
        self.options, self.columns, self.sample = wanted, columns, sample
        self.spec = wanted.spec
        recognised = options.detect_profile(columns, told.format if told else None)
        self.profiles: tuple[Profile, ...] = (recognised,)
        if wanted.profile is not None:
            self.profiles = (wanted.profile, recognised)
        self.notes: list[Note] = []
        self.ignored: dict[str, str] = {}
        self.choices: dict[str, FieldChoice] = {}

    def match_columns(self, dropped: frozenset[str]) -> None:
        """Find a field for every column that is not dropped."""
        for column in self.columns:
            if column not in dropped:
                self._place(column)

    def _place(self, column: str) -> None:
        found = self._find(column)
        if found.target is None:
            self.ignored[column] = found.why
            return
        new = FieldChoice(found, [column])
        present = self.choices.get(new.field)
        if present is None:
            self.choices[new.field] = new
        elif found.rank < present.match.rank:
            self._set_aside(present.columns, new)
            self.choices[new.field] = new
        elif found.rank > present.match.rank:
            self._set_aside([column], present)
        else:
            self._between_equals(present, new)

    def _between_equals(self, present: FieldChoice, new: FieldChoice) -> None:
        target = self.spec.field(new.field)
        stated = present.match.why == "mapping"
        if stated and target is not None and target.form in _JOINED:
            present.columns += new.columns
        elif (present.match.datum in _WGS84) is not (new.match.datum in _WGS84):
            better, other = (present, new) if present.match.datum in _WGS84 else (new, present)
            self._set_aside(other.columns, better)
            self.choices[new.field] = better
        elif stated or new.field in _CRITICAL:
            both = f"{present.columns[0]!r} and {new.columns[0]!r}"
            message = f"{both} both mean {new.field}"
            raise Invalid(
                f"Columns {message}: say in the mapping which is meant.",
                code="ambiguous-columns",
                issues=[Issue(f"/mapping/{new.columns[0]}", "ambiguous-columns", message)],
            )
        else:
            self._set_aside(new.columns, present)

    def _set_aside(self, columns: Sequence[str], chosen: FieldChoice) -> None:
        for column in columns:
            self.set_aside(column, chosen.field, chosen.columns[0])

    def set_aside(self, column: str, name: str, instead: str) -> None:
        """Leave a column out because another gives its field, and say so."""
        self.ignored[column] = f"{name} is read from {instead!r}"
        self.notes.append(
            Note(
                "column-not-used",
                f"{column!r} would be {name} too; {instead!r} is read. Say otherwise in the mapping.",
                f"“{column}”也可作 {name}，已采用“{instead}”；如需更换请在映射中指定。",
            )
        )

    def _find(self, column: str) -> ColumnMatch:
        apart = parse_heading(column)
        if column in self.options.mapping:
            return ColumnMatch(self.options.mapping[column], "mapping", 0, apart.unit, apart.datum)
        for rank, profile in enumerate(self.profiles, start=1):
            named, target = _in_profile(self._for_kind(profile), column)
            if named and target is None:
                return ColumnMatch(None, "the profile leaves it out", _LAST)
            if target is not None and self.spec.field(target.partition("@")[0]) is not None:
                return ColumnMatch(self._fitting(target), "profile", rank, apart.unit, apart.datum)
        found = match_heading(column, self.spec)
        if found is None:
            return self._by_cells(column, apart)
        if found.field == "division_code" and self._names_only(column):
            self.notes.append(
                Note(
                    "column-not-used",
                    f"{column!r} holds names and no codes of divisions; it is not read.",
                    f"“{column}”中是行政区划的名称而不是代码，未读取。",
                )
            )
            return ColumnMatch(None, "holds names and no codes", _LAST)
        target = found.field if found.code_list is None else f"{found.field}@{found.code_list}"
        return ColumnMatch(target, "heading", 3 + found.rank, found.unit, found.datum)

    def _names_only(self, column: str) -> bool:
        cells = self.sample_cells([column])
        return bool(cells) and not any(sign.isdigit() for cell in cells for sign in cell)

    def _for_kind(self, profile: Profile) -> Profile:
        own = options.BY_KIND.get((profile.name, self.spec.name))
        if own and options.is_lane_list(profile.name, self.spec.name, self.columns):
            own = {**own, **options.OF_LANES}
        return profile.model_copy(update={"columns": {**profile.columns, **own}}) if own else profile

    def _fitting(self, target: str) -> str:
        """Return a profile's target without a list that this kind's field has not."""
        name, _, code_list = target.partition("@")
        topic = find_topic(name)
        return target if not code_list or (topic is not None and code_list in topic.lists) else name

    def _by_cells(self, column: str, apart: headings.Heading) -> ColumnMatch:
        between = headings.find_candidates(apart.name, self.spec)
        if between:
            able = [target for target in between if self._reads(column, target)]
            if len(able) == 1:
                return ColumnMatch(able[0], "cells", 8, apart.unit, apart.datum)
            self.notes.append(_undecided(column, between))
            return ColumnMatch(None, f"may mean {' or '.join(between)}; say which in the mapping", _LAST)
        why = KNOWN_BUT_NOT_KEPT.get(apart.name)
        return ColumnMatch(None, f"not kept: {why}" if why else "not recognised", _LAST)

    def _reads(self, column: str, target: str) -> bool:
        """Tell whether the sampled cells that are not digits are all words of the target."""
        name, _, stated = target.partition("@")
        found = self.spec.field(name)
        cells = [cell for cell in self.sample_cells([column]) if not cell.isdigit()]
        if found is None or not cells:
            return False
        reader = self.create_parser(found, self.find_code_list(name, stated or None))
        return all(_readable(reader, cell) for cell in cells)

    def sample_cells(self, columns: Sequence[str]) -> list[str]:
        """Return distinct cells of columns in the sample; a heading said again is none."""
        if self.sample is None:
            return []
        known = self.sample.columns
        return [
            str(cell)
            for name in columns
            if name in known
            for cell in known[name].drop_null().unique().slice(0, _SAMPLED).to_pylist()
            if to_plain_form(cell) != to_plain_form(name)
        ]

    def find_code_list(self, name: str, stated: str | None) -> str | None:
        """Return the code list in force for a field: the column's, the sender's, a profile's.

        A direction is of a code list only where its heading or the sender says so.
        """
        topic = find_topic(name)
        if topic is None or (stated and stated != "code"):
            return stated
        chosen = options.to_code_lists(self.options.code_lists)
        for source in (chosen.get(name), chosen.get(topic.name), chosen.get("")):
            if source and source in topic.lists:
                return source
        if topic.name == "direction" and stated is None:
            return "degrees"
        for profile in self.profiles:
            if source := profile.code_lists.get(name) or profile.code_lists.get(topic.name):
                return source if source in topic.lists else None
        return topic.default

    def is_code_list_assumed(self, name: str, stated: str) -> bool:
        """Tell whether nobody named the code list of a field whose lists disagree."""
        topic = find_topic(name)
        if topic is None or not topic.disputed_codes or (stated and stated != "code"):
            return False
        if options.to_code_lists(self.options.code_lists).keys() & {topic.name, name, ""}:
            return False
        return not any({topic.name, name} & profile.code_lists.keys() for profile in self.profiles)

    def create_parser(self, target: FieldSpec, code_list: str | None, unit: str | None = None) -> FieldParser:
        """Return what reads the cells of a field."""
        values: dict[str, Any] = {}
        for profile in reversed(self.profiles):
            values |= profile.values.get(target.name, {})
        values |= self.options.values.get(target.name, {})
        return FieldParser(target, code_list, unit, values, self.options.offset_h)


def _readable(reader: FieldParser, cell: str) -> bool:
    try:
        reader.parse(cell)
    except CellError:
        return False
    return True


def _in_profile(profile: Profile, column: str) -> tuple[bool, str | None]:
    """Return whether a profile names a column, and the field it gives it."""
    if column in profile.columns:
        return True, profile.columns[column]
    names: Mapping[str, str | None] = {to_plain_form(n): target for n, target in profile.columns.items()}
    apart = parse_heading(column).name
    return apart in names, names.get(apart)


def _undecided(column: str, between: Sequence[str]) -> Note:
    told = " / ".join(between)
    return Note(
        "column-undecided",
        f"{column!r} may mean {told}, and its cells do not tell: it is not read. Say which in the mapping.",
        f"“{column}”可能是 {told}，无法由取值判断，未读取；请在映射中指定。",
    )

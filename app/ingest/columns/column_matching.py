"""Matching of columns to fields: the sender's mapping first, then profiles, then headings, then the cells.

Two columns for one field are never chosen between silently. Digits alone decide nothing: a column of 1, 2, 3 may be
anything.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from app.errors import Invalid, Issue
from app.ingest.columns import options as profiles
from app.ingest.columns.field_specs import FieldSpec
from app.ingest.columns.headings import (
    KNOWN_BUT_NOT_KEPT,
    Heading,
    find_candidates,
    match_heading,
    parse_heading,
    to_plain_form,
)
from app.ingest.columns.import_plan import Note
from app.ingest.columns.options import Options, Profile
from app.ingest.readers.opening import Batch, DetectedFormat
from app.ingest.values.cell_parsing import CellError
from app.ingest.values.code_lists import find_topic
from app.ingest.values.field_parsers import FieldParser
from app.messages import Message

_JOINED_FORMS: Final = frozenset({"code", "text"})
"""Forms of fields that several columns may be mapped to: their cells are joined."""
_CRITICAL_FIELDS: Final = frozenset({"code", "lon", "lat", "x", "y", "easting", "northing"})
"""Fields for which two headings are an error, not a note."""
_WGS84: Final = frozenset({"wgs84", "cgcs2000"})
_MAX_SAMPLED: Final = 200
_CELLS_RANK: Final = 8
_LAST_RANK: Final = 9


class ColumnMatch(NamedTuple):
    """The field that a column gives, and why."""

    target: str | None
    """``field`` or ``field@list``; None: the column is not read."""
    why: str
    rank: int
    """How sure the match is; 0 is the surest."""
    unit: str | None = None
    datum: str | None = None


@dataclass(eq=False)
class FieldChoice:
    """The columns that were chosen for one field."""

    match: ColumnMatch
    columns: list[str] = field(default_factory=list)

    @property
    def field(self) -> str:
        """Name of the field."""
        return str(self.match.target).partition("@")[0]


class ColumnMatcher:
    """Matches the columns of one file to fields."""

    def __init__(
        self,
        options: Options,
        detected: DetectedFormat | None,
        columns: tuple[str, ...],
        sample: Batch | None,
    ) -> None:
        self.options, self.columns, self.sample = options, columns, sample
        self.spec = options.spec
        built_in = profiles.detect_profile(columns, detected.format if detected else None)
        self.profiles: tuple[Profile, ...] = (built_in,)
        if options.profile is not None:
            self.profiles = (options.profile, built_in)
        self.notes: list[Note] = []
        self.ignored: dict[str, str] = {}
        self.choices: dict[str, FieldChoice] = {}

    def match_columns(self, dropped: frozenset[str]) -> None:
        """Match every column that is not dropped."""
        for column in self.columns:
            if column not in dropped:
                self._add_column(column)

    def _add_column(self, column: str) -> None:
        match = self._match(column)
        if match.target is None:
            self.ignored[column] = match.why
            return
        new = FieldChoice(match, [column])
        present = self.choices.get(new.field)
        if present is None:
            self.choices[new.field] = new
        elif match.rank < present.match.rank:
            self._set_aside(present.columns, new)
            self.choices[new.field] = new
        elif match.rank > present.match.rank:
            self._set_aside([column], present)
        else:
            self._choose_between_equals(present, new)

    def _choose_between_equals(self, present: FieldChoice, new: FieldChoice) -> None:
        target = self.spec.field(new.field)
        is_stated = present.match.why == "mapping"
        if is_stated and target is not None and target.form in _JOINED_FORMS:
            present.columns += new.columns
        elif (present.match.datum in _WGS84) is not (new.match.datum in _WGS84):
            better, worse = (present, new) if present.match.datum in _WGS84 else (new, present)
            self._set_aside(worse.columns, better)
            self.choices[new.field] = better
        elif is_stated or new.field in _CRITICAL_FIELDS:
            message = Message(
                "{first!r} and {second!r} both mean {field}",
                first=present.columns[0],
                second=new.columns[0],
                field=new.field,
            )
            raise Invalid(
                Message("Two columns give one field: {reason}. Choose one in the mapping.", reason=message),
                code="ambiguous-columns",
                issues=[Issue(f"/mapping/{new.columns[0]}", "ambiguous-columns", message)],
            )
        else:
            self._set_aside(new.columns, present)

    def _set_aside(self, columns: Sequence[str], chosen: FieldChoice) -> None:
        for column in columns:
            self.set_aside(column, chosen.field, chosen.columns[0])

    def set_aside(self, column: str, name: str, chosen: str) -> None:
        """Ignore a column because another one gives its field, and add a note."""
        self.ignored[column] = Message("{field} is read from {column!r}", field=name, column=chosen)
        message = Message(
            "{column!r} could be {field}, too; {chosen!r} is read. Use the mapping to choose another column.",
            column=column,
            field=name,
            chosen=chosen,
        )
        self.notes.append(Note("column-not-used", message))

    def _match(self, column: str) -> ColumnMatch:
        heading = parse_heading(column)
        if column in self.options.mapping:
            return ColumnMatch(self.options.mapping[column], "mapping", 0, heading.unit, heading.datum)
        for rank, profile in enumerate(self.profiles, start=1):
            is_named, target = _find_in_profile(self._adapt_profile(profile), column)
            if is_named and target is None:
                return ColumnMatch(None, Message("the profile leaves it out"), _LAST_RANK)
            if target is not None and self.spec.field(target.partition("@")[0]) is not None:
                return ColumnMatch(self._remove_unknown_list(target), "profile", rank, heading.unit, heading.datum)
        match = match_heading(column, self.spec)
        if match is None:
            return self._match_by_cells(column, heading)
        if match.field == "division_code" and self._has_only_names(column):
            message = Message("{column!r} has names of divisions, not codes; it is not read.", column=column)
            self.notes.append(Note("column-not-used", message))
            return ColumnMatch(None, Message("has names, not codes"), _LAST_RANK)
        target = match.field if match.code_list is None else f"{match.field}@{match.code_list}"
        return ColumnMatch(target, "heading", 3 + match.rank, match.unit, match.datum)

    def _has_only_names(self, column: str) -> bool:
        cells = self.sample_cells([column])
        return bool(cells) and not any(sign.isdigit() for cell in cells for sign in cell)

    def _adapt_profile(self, profile: Profile) -> Profile:
        """Return a profile with the columns that mean something else for this kind."""
        own = profiles.BY_KIND.get((profile.name, self.spec.name))
        if own and profiles.is_lane_list(profile.name, self.spec.name, self.columns):
            own = {**own, **profiles.OF_LANES}
        return profile.model_copy(update={"columns": {**profile.columns, **own}}) if own else profile

    def _remove_unknown_list(self, target: str) -> str:
        """Return the target of a profile without a code list that the field of this kind does not have."""
        name, _, code_list = target.partition("@")
        topic = find_topic(name)
        return target if not code_list or (topic is not None and code_list in topic.lists) else name

    def _match_by_cells(self, column: str, heading: Heading) -> ColumnMatch:
        candidates = find_candidates(heading.name, self.spec)
        if candidates:
            able = [target for target in candidates if self._can_parse(column, target)]
            if len(able) == 1:
                return ColumnMatch(able[0], "cells", _CELLS_RANK, heading.unit, heading.datum)
            targets = " / ".join(candidates)
            message = Message(
                "{column!r} may mean {targets}, and its cells do not decide: it is not read. Use the mapping to choose.",
                column=column,
                targets=targets,
            )
            self.notes.append(Note("column-undecided", message))
            return ColumnMatch(
                None, Message("may mean {targets}; choose one in the mapping", targets=targets), _LAST_RANK
            )
        meaning = KNOWN_BUT_NOT_KEPT.get(heading.name)
        why = Message("not kept: {meaning}", meaning=meaning) if meaning else Message("not recognised")
        return ColumnMatch(None, why, _LAST_RANK)

    def _can_parse(self, column: str, target: str) -> bool:
        """Return whether all sampled cells that are not digits are words of the target."""
        name, _, code_list = target.partition("@")
        field_spec = self.spec.field(name)
        cells = [cell for cell in self.sample_cells([column]) if not cell.isdigit()]
        if field_spec is None or not cells:
            return False
        parser = self.create_parser(field_spec, self.find_code_list(name, code_list or None))
        return all(_is_parsable(parser, cell) for cell in cells)

    def sample_cells(self, columns: Sequence[str]) -> list[str]:
        """Return distinct cells of columns in the sample, without repeated headings."""
        if self.sample is None:
            return []
        sampled = self.sample.columns
        return [
            str(cell)
            for name in columns
            if name in sampled
            for cell in sampled[name].drop_null().unique().slice(0, _MAX_SAMPLED).to_pylist()
            if to_plain_form(cell) != to_plain_form(name)
        ]

    def find_code_list(self, name: str, stated: str | None) -> str | None:
        """Return the code list in force for a field: that of the column, the sender, a profile, or the default.

        A direction has a code list only if its heading or the sender says so; otherwise it is in degrees.
        """
        topic = find_topic(name)
        if topic is None or (stated and stated != "code"):
            return stated
        chosen = profiles.to_code_lists(self.options.code_lists)
        for code_list in (chosen.get(name), chosen.get(topic.name), chosen.get("")):
            if code_list and code_list in topic.lists:
                return code_list
        if topic.name == "direction" and stated is None:
            return "degrees"
        for profile in self.profiles:
            if code_list := profile.code_lists.get(name) or profile.code_lists.get(topic.name):
                return code_list if code_list in topic.lists else None
        return topic.default

    def is_code_list_assumed(self, name: str, stated: str) -> bool:
        """Return whether nothing names the code list of a field whose lists disagree."""
        topic = find_topic(name)
        if topic is None or not topic.disputed_codes or (stated and stated != "code"):
            return False
        if profiles.to_code_lists(self.options.code_lists).keys() & {topic.name, name, ""}:
            return False
        return not any({topic.name, name} & profile.code_lists.keys() for profile in self.profiles)

    def create_parser(self, target: FieldSpec, code_list: str | None, unit: str | None = None) -> FieldParser:
        """Return the parser of the cells of a field."""
        values: dict[str, Any] = {}
        for profile in reversed(self.profiles):
            values |= profile.values.get(target.name, {})
        values |= self.options.values.get(target.name, {})
        return FieldParser(target, code_list, unit, values, self.options.offset_h)


def _is_parsable(parser: FieldParser, cell: str) -> bool:
    try:
        parser.parse(cell)
    except CellError:
        return False
    return True


def _find_in_profile(profile: Profile, column: str) -> tuple[bool, str | None]:
    """Return whether a profile names a column, and the target that it gives to it."""
    if column in profile.columns:
        return True, profile.columns[column]
    targets: Mapping[str, str | None] = {to_plain_form(name): target for name, target in profile.columns.items()}
    name = parse_heading(column).name
    return name in targets, targets.get(name)

"""How one file is to be read: which column feeds which field, with which code list, unit and datum.

Made once per file from what the sender says and what the file shows. Promises that every column is
told about: used, left out on purpose, or not understood. Refuses forbidden content, headings that
mean the same field, and required fields that nothing gives.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import ValidationError

from app.errors import Invalid, Issue
from app.ingest.columns import import_plan, location_columns
from app.ingest.columns.column_matching import ColumnMatcher, FieldChoice
from app.ingest.columns.field_specs import RecordSpec, field_validator
from app.ingest.columns.headings import match_heading, to_plain_form
from app.ingest.columns.import_plan import FieldSource, ImportPlan, Note
from app.ingest.columns.location_columns import LocationSource
from app.ingest.columns.options import BUILT_IN, Options, check_profile, to_code_lists
from app.ingest.readers.opening import Batch, DetectedFormat
from app.ingest.validation.location import locate_rows
from app.ingest.values.cell_parsing import CellError, split_list
from app.ingest.values.code_lists import TOPICS, describe_unknown_list, find_lists, find_topic
from app.ingest.values.forbidden_names import is_forbidden_name

__all__ = ["BUILT_IN", "FieldSource", "Note", "Options", "ImportPlan", "build_plan"]

_NINE = frozenset("123456789")
_NO_PLACE = "every row has a place of its own"
_NO_DEFAULT: Final = {
    **dict.fromkeys(("geometry", "position", "lon", "lat", "x", "y", "easting", "northing"), _NO_PLACE),
    "datum": "say crs",
    "name": "say name_zh or name_en",
    "resolution": "say horizontal_pixels and vertical_pixels",
}
"""What a column can give and a default cannot, and why or what to say instead."""
_PLACES = ("geometry", "position", "lon", "lat", "x", "y", "easting", "northing", "datum")


def build_plan(
    wanted: Options,
    told: DetectedFormat | None,
    columns: Sequence[str],
    sample: Batch | None = None,
) -> ImportPlan:
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
    if wanted.profile is not None:
        check_profile(wanted.profile, wanted.spec if wanted.profile.kind == wanted.spec.name else None)
    chooser = ColumnMatcher(wanted, told, tuple(columns), sample)
    _check_options(chooser)
    dropped = _dropped(chooser)
    _refuse_forbidden(chooser, dropped)
    chooser.match_columns(dropped)
    place = _place(chooser, told)
    if sample is not None:
        chooser.notes += _swapped(place, chooser.spec, sample)
    feeds = _feeds(chooser)
    defaults = _defaults(chooser, place)
    missing = _missing(chooser, feeds, defaults, place)
    return ImportPlan(
        wanted,
        chooser.spec,
        chooser.profiles[0].name,
        feeds,
        place,
        defaults,
        chooser.ignored,
        tuple(column for column in columns if column in dropped),
        tuple(chooser.notes),
        wanted.profile is None,
        next(profile.name for profile in chooser.profiles if profile.name in BUILT_IN),
        missing,
        _assumed(chooser, feeds),
        tuple(columns),
    )


def _check_options(chooser: ColumnMatcher) -> None:
    wanted, columns = chooser.options, chooser.columns
    faults = []
    for column, target in wanted.mapping.items():
        if column not in columns:
            known = ", ".join(columns[:40])
            message = f"the file has no column {column!r}; it has {known}"
            faults.append(Issue(f"/mapping/{column}", "unknown-column", message))
        elif target is not None:
            faults += _target_faults(chooser.spec, f"/mapping/{column}", target)
    for member, names in (("defaults", wanted.defaults), ("values", wanted.values)):
        for name in names:
            faults += _target_faults(chooser.spec, f"/{member}/{name}", name)
    for name in wanted.defaults:
        if instead := _NO_DEFAULT.get(_bare(name)):
            message = f"a default cannot give {_bare(name)}: {instead}"
            faults.append(Issue(f"/defaults/{name}", "bad-default", message))
    for topic, code_list in to_code_lists(wanted.code_lists).items():
        if topic and code_list not in find_lists(topic):
            message = describe_unknown_list(topic, code_list)
            faults.append(Issue(f"/code_lists/{topic}", "unknown-code-list", message))
        elif not topic and not any(code_list in topic.lists for topic in TOPICS.values()):
            message = f"no topic has a code list {code_list!r}"
            faults.append(Issue("/code_lists", "unknown-code-list", message))
    if faults:
        raise Invalid(
            f"The options do not fit the file: {faults[0].message}.",
            code=faults[0].code,
            issues=faults,
        )


def _target_faults(kind: RecordSpec, pointer: str, target: str) -> list[Issue]:
    name, _, code_list = target.partition("@")
    if kind.field(name) is None:
        known = ", ".join([*kind.fields, *kind.helpers])
        message = f"a {kind.name} has no field {name!r}; it has {known}"
        return [Issue(pointer, "unknown-field", message)]
    if code_list and code_list not in find_lists(name):
        return [Issue(pointer, "unknown-code-list", describe_unknown_list(name, code_list))]
    return []


def _dropped(chooser: ColumnMatcher) -> frozenset[str]:
    wanted = chooser.options
    named = {*wanted.drop_columns}
    named |= {column for column, target in wanted.mapping.items() if target is None}
    if wanted.profile is not None:
        named |= {*wanted.profile.drop_columns}
        named |= {column for column, target in wanted.profile.columns.items() if target is None}
    plainly = {to_plain_form(name) for name in named}
    return frozenset(c for c in chooser.columns if c in named or to_plain_form(c) in plainly)


def _refuse_forbidden(chooser: ColumnMatcher, dropped: frozenset[str]) -> None:
    names = [
        column
        for column in chooser.columns
        if column not in dropped and is_forbidden_name(column) and not _ours(chooser.spec, column)
    ]
    if names:
        told = ", ".join(names)
        raise Invalid(
            f"The file is refused for its columns {told}: the registry holds equipment and places, "
            "never people, images, recognitions or logins. Name them in drop_columns to import "
            "the rest without them.",
            code="forbidden-content",
            issues=[Issue(f"/columns/{name}", "forbidden-content", f"column {name!r} is refused") for name in names],
        )


def _ours(spec: RecordSpec, column: str) -> bool:
    found = match_heading(column, spec)
    return found is not None and found.field in spec.fields


def _place(chooser: ColumnMatcher, told: DetectedFormat | None) -> LocationSource:
    chosen = {name: chooser.choices.pop(name) for name in _PLACES if name in chooser.choices}
    found = {name: location_columns.LocationColumn(c.columns[0], c.match.datum) for name, c in chosen.items()}
    if "position" in chosen:
        stated_order = str(chosen["position"].match.target).partition("@")[2]
        order = chooser.find_code_list("position", stated_order or None)
        found["position"] = found["position"]._replace(order=order)
    stated = chooser.options.crs or next((p.crs for p in chooser.profiles if p.crs), None)
    place, unused, notes = location_columns.choose_location(chooser.spec, found, told, stated, chooser.sample)
    if place.mode == "none" and found and chooser.options.some_fields:
        raise import_plan.build_half_location_error([column.name for column in found.values()])
    chooser.ignored |= unused
    chooser.notes += [Note(*words) for words in notes]
    return place


def _swapped(place: LocationSource, kind: RecordSpec, sample: Batch) -> list[Note]:
    """Tell when most places of the sample are none, and would be with the axes swapped."""
    found = locate_rows(place, kind, sample)
    if not kind.shapes or 2 * found.swapped <= len(sample.row_numbers):
        return []
    columns = " and ".join(place.columns) or "the coordinates"
    english, chinese = _TURNED[place.mode]
    return [
        Note(
            "axes-swapped",
            f"{columns} look swapped: most places are none as they stand, and are with the axes "
            f"exchanged. Nothing was exchanged; {english}.",
            f"坐标疑似经纬度颠倒：多数位置对调后才成立。系统未作对调，{chinese}。",
        )
    ]


_TURNED: Final = {
    "pair": ("map the columns the other way round", "请在映射中交换两列"),
    "cell": (
        "map the column to position@latlon if it holds latitude before longitude",
        "如单元格内纬度在前，请将该列映射到 position@latlon",
    ),
    "file": ("correct the file: longitude comes first", "请更正文件，经度应在前"),
}
"""What helps against swapped axes, by where the place comes from."""


def _feeds(chooser: ColumnMatcher) -> tuple[FieldSource, ...]:
    feeds: dict[str, FieldSource] = {}
    ordered = sorted(chooser.choices.values(), key=lambda choice: choice.field == "name")
    for choice in ordered:
        feed = _feed(chooser, choice, feeds)
        if feed is not None:
            feeds[feed.spec.name] = feed
    return tuple(feeds.values())


def _feed(chooser: ColumnMatcher, choice: FieldChoice, fed: Mapping[str, FieldSource]) -> FieldSource | None:
    name, _, stated = str(choice.match.target).partition("@")
    if name == "name":
        name = _language(chooser, choice.columns)
        if name in fed:
            chooser.set_aside(choice.columns[0], name, fed[name].columns[0])
            return None
    target = chooser.spec.field(name)
    assert target is not None  # noqa: S101  # targets were checked
    code_list = chooser.find_code_list(name, stated or None)
    if name in TOPICS["direction"].fields:
        code_list = _direction_list(chooser, choice, stated, code_list)
    unit = choice.match.unit
    reader = chooser.create_parser(target, code_list, unit)
    feed = FieldSource(tuple(choice.columns), target, choice.match.why, reader, code_list, unit)
    if chooser.is_code_list_assumed(name, stated):
        chooser.notes += _disagreeing(chooser, feed)
    return feed


def _direction_list(chooser: ColumnMatcher, choice: FieldChoice, stated: str, code_list: str | None) -> str | None:
    """Return the list of a direction column, having looked whether its numbers can be codes."""
    numbers = [cell for cell in chooser.sample_cells(choice.columns) if _is_number(cell)]
    column = choice.columns[0]
    coded = [cell for cell in numbers if cell.lstrip("0") in _NINE]
    if code_list == "degrees" and len(coded) == len(numbers) > 3:
        chooser.notes.append(
            Note(
                "direction-codes",
                f"every number in {column!r} is a digit 1 to 9, as direction codes are; they are read "
                f"as degrees. Map it to {choice.field}@gbt28181 or @gat1400 if they are codes.",
                f"“{column}”的数值全为 1-9，疑为方位代码，现按角度读取；如为代码请映射到 {choice.field}@gbt28181 或 @gat1400。",
            )
        )
    if stated == "code" and code_list in ("gbt28181", "gat1400") and 2 * len(coded) < len(numbers):
        chooser.notes.append(
            Note(
                "direction-degrees",
                f"most numbers in {column!r} are no direction codes; they are read as degrees.",
                f"“{column}”的数值多数不是方位代码，按角度读取。",
            )
        )
        return "degrees"
    return code_list


def _is_number(cell: str) -> bool:
    return cell.replace(".", "", 1).isdigit()


def _language(chooser: ColumnMatcher, columns: Sequence[str]) -> str:
    cells = chooser.sample_cells(columns)
    chinese = sum(any("\u3400" <= sign <= "\u9fff" for sign in cell) for cell in cells)
    return "name_zh" if not cells or 2 * chinese >= len(cells) else "name_en"


def _defaults(chooser: ColumnMatcher, place: LocationSource) -> dict[str, Any]:
    stated: dict[str, Any] = {}
    if chooser.spec.name == "ring" and place.crs in ("gcj02", "bd09", "cgcs2000"):
        stated["datum_received"] = place.crs
    for profile in reversed(chooser.profiles):
        stated |= profile.defaults
    stated |= chooser.options.defaults
    if chooser.options.jurisdiction is not None:
        stated.setdefault("jurisdiction", chooser.options.jurisdiction)
    known = {name: value for name, value in stated.items() if chooser.spec.field(_bare(name))}
    return {_bare(name): _default(chooser, name, value) for name, value in known.items()}


def _assumed(chooser: ColumnMatcher, feeds: Sequence[FieldSource]) -> frozenset[str]:
    """Return fields that only the default of a built-in profile gives: nobody said it of a record."""
    built_in = [profile for profile in chooser.profiles if profile.name in BUILT_IN]
    said = {_bare(name) for name in chooser.options.defaults}
    said |= {_bare(name) for profile in chooser.profiles if profile not in built_in for name in profile.defaults}
    said |= {feed.spec.name for feed in feeds}
    return frozenset(_bare(name) for profile in built_in for name in profile.defaults) - said


def _bare(target: str) -> str:
    return target.partition("@")[0]


def _default(chooser: ColumnMatcher, target: str, value: Any) -> Any:
    """Return a default as the field holds it; text is read like a cell."""
    name, _, code_list = target.partition("@")
    found = chooser.spec.field(name)
    assert found is not None  # noqa: S101  # only known names get here
    try:
        if isinstance(value, str):
            value = chooser.create_parser(found, chooser.find_code_list(name, code_list or None)).parse(value)
        if name in chooser.spec.fields:
            field_validator(chooser.spec, name).validate_python(value)
    except (CellError, ValidationError) as reason:
        told = reason if isinstance(reason, CellError) else reason.errors()[0]["msg"]
        message = f"the default of {name} cannot be used: {told}"
        fault = Issue(f"/defaults/{name}", "bad-default", message)
        raise Invalid(message, code="bad-default", issues=[fault]) from reason
    return value


def _missing(
    chooser: ColumnMatcher, feeds: Sequence[FieldSource], defaults: Mapping[str, Any], place: LocationSource
) -> tuple[str, ...]:
    """Return what the file does not give of whole records; refuse it where it has to.

    Raises
    ------
    Invalid
        ``fields-missing``.
    """
    fed = {feed.spec.name for feed in feeds} | set(defaults)
    kind, key = chooser.spec, chooser.options.key
    found = import_plan.find_missing_fields(kind, fed, key, placed=place.mode != "none")
    if not found:
        return ()
    if not chooser.options.some_fields:
        if "geometry" in found and "lane" in fed:
            raise import_plan.build_lanes_error(found)
        raise import_plan.build_missing_error(found, chooser.ignored)
    given = fed if place.mode == "none" else {*fed, "geometry"}
    import_plan.check_key_fields(kind, given, key, found, chooser.ignored)
    chooser.notes.append(import_plan.build_partial_note(kind, feeds, found))
    return found


def _disagreeing(chooser: ColumnMatcher, feed: FieldSource) -> list[Note]:
    """Warn of codes on which lists disagree while nobody named the source."""
    topic = find_topic(feed.spec.name)
    assert topic is not None  # noqa: S101  # only fields with a topic are assumed
    present = {code for cell in chooser.sample_cells(feed.columns) for code in _codes_in(cell)}
    unsure = sorted(present & topic.disputed_codes)
    if unsure and feed.code_list in topic.disputed_lists:
        others, told, column = " / ".join(sorted(topic.disputed_lists)), ", ".join(unsure), feed.columns[0]
        english = (
            f"codes {told} of {column!r} mean different things in {others}; {feed.code_list} is "
            "used. Name the list in code_lists if it is another."
        )
        chinese = (
            f"“{column}”中的代码 {told} 在 {others} 中含义不同，已按 {feed.code_list} 解读；"
            "如来源不同请在 code_lists 中指定。"
        )
        return [Note("code-list-assumed", english, chinese)]
    return []


def _codes_in(cell: str) -> set[str]:
    """Return the codes in a cell, without leading zeros."""
    return {part.lstrip("0") for part in split_list(cell) if part.isdigit()}

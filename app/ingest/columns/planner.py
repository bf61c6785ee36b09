"""The planner: makes the import plan of one file from what its sender says and what the file shows.

Every column is used, left out on purpose, or reported as not recognised. Errors are forbidden content, headings that
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
from app.messages import Message

__all__ = ["BUILT_IN", "FieldSource", "ImportPlan", "Note", "Options", "build_plan"]

_CODE_DIGITS: Final = frozenset("123456789")
_LOCATION_FIELDS: Final = ("geometry", "position", "lon", "lat", "x", "y", "easting", "northing", "datum")
_OWN_LOCATION: Final = Message("every row has its own location")
_WITHOUT_DEFAULT: Final[Mapping[str, Message]] = {
    **dict.fromkeys(_LOCATION_FIELDS, _OWN_LOCATION),
    "datum": Message("use crs"),
    "name": Message("use name_zh or name_en"),
    "resolution": Message("use horizontal_pixels and vertical_pixels"),
}
"""Fields that a column can give and a default cannot, with the reason or what to use instead."""


def build_plan(
    options: Options,
    detected: DetectedFormat | None,
    columns: Sequence[str],
    sample: Batch | None = None,
) -> ImportPlan:
    """Return how a file is read.

    Parameters
    ----------
    detected : DetectedFormat or None
        What the reader knows of the file.
    columns : sequence of str
        Headings of the file.
    sample : Batch, optional
        The first rows: they decide headings such as "status" or "direction", and show codes whose meaning depends on
        their source.

    Raises
    ------
    Invalid
        ``forbidden-content``, ``unknown-column``, ``unknown-field``, ``unknown-code-list``,
        ``ambiguous-columns``, ``fields-missing``, ``bad-default``, ``crs-needed``, ``unknown-crs``.
    """
    if options.profile is not None:
        check_profile(options.profile, options.spec if options.profile.kind == options.spec.name else None)
    matcher = ColumnMatcher(options, detected, tuple(columns), sample)
    _check_options(matcher)
    dropped = _find_dropped(matcher)
    _check_forbidden(matcher, dropped)
    matcher.match_columns(dropped)
    location = _choose_location(matcher, detected)
    if sample is not None:
        matcher.notes += _note_swapped_axes(location, matcher.spec, sample)
    sources = _build_sources(matcher)
    defaults = _build_defaults(matcher, location)
    missing = _check_missing(matcher, sources, defaults, location)
    return ImportPlan(
        options,
        matcher.spec,
        matcher.profiles[0].name,
        sources,
        location,
        defaults,
        matcher.ignored,
        tuple(column for column in columns if column in dropped),
        tuple(matcher.notes),
        options.profile is None,
        next(profile.name for profile in matcher.profiles if profile.name in BUILT_IN),
        missing,
        _find_assumed_fields(matcher, sources),
        tuple(columns),
    )


def _check_options(matcher: ColumnMatcher) -> None:
    options, issues = matcher.options, []
    for column, target in options.mapping.items():
        if column not in matcher.columns:
            known = ", ".join(matcher.columns[:40])
            message = Message("the file has no column {column!r}. Columns: {known}", column=column, known=known)
            issues.append(Issue(f"/mapping/{column}", "unknown-column", message))
        elif target is not None:
            issues += _find_target_issues(matcher.spec, f"/mapping/{column}", target)
    for member, names in (("defaults", options.defaults), ("values", options.values)):
        for name in names:
            issues += _find_target_issues(matcher.spec, f"/{member}/{name}", name)
    for name in options.defaults:
        if reason := _WITHOUT_DEFAULT.get(_to_field(name)):
            message = Message("{field} cannot have a default: {reason}", field=_to_field(name), reason=reason)
            issues.append(Issue(f"/defaults/{name}", "bad-default", message))
    for topic, code_list in to_code_lists(options.code_lists).items():
        if topic and code_list not in find_lists(topic):
            message = describe_unknown_list(topic, code_list)
            issues.append(Issue(f"/code_lists/{topic}", "unknown-code-list", message))
        elif not topic and not any(code_list in known_topic.lists for known_topic in TOPICS.values()):
            message = Message("unknown code list {code_list!r}", code_list=code_list)
            issues.append(Issue("/code_lists", "unknown-code-list", message))
    if issues:
        raise Invalid(
            Message("The options do not fit the file: {reason}.", reason=issues[0].message),
            code=issues[0].code,
            issues=issues,
        )


def _find_target_issues(spec: RecordSpec, pointer: str, target: str) -> list[Issue]:
    name, _, code_list = target.partition("@")
    if spec.field(name) is None:
        message = Message(
            "a {kind} has no field {field!r}. Fields: {known}",
            kind=spec.name,
            field=name,
            known=", ".join([*spec.fields, *spec.helpers]),
        )
        return [Issue(pointer, "unknown-field", message)]
    if code_list and code_list not in find_lists(name):
        return [Issue(pointer, "unknown-code-list", describe_unknown_list(name, code_list))]
    return []


def _find_dropped(matcher: ColumnMatcher) -> frozenset[str]:
    """Return the columns that the options or the profile leave out."""
    options = matcher.options
    names = {*options.drop_columns}
    names |= {column for column, target in options.mapping.items() if target is None}
    if options.profile is not None:
        names |= {*options.profile.drop_columns}
        names |= {column for column, target in options.profile.columns.items() if target is None}
    plain = {to_plain_form(name) for name in names}
    return frozenset(column for column in matcher.columns if column in names or to_plain_form(column) in plain)


def _check_forbidden(matcher: ColumnMatcher, dropped: frozenset[str]) -> None:
    names = [
        column
        for column in matcher.columns
        if column not in dropped and is_forbidden_name(column) and not _is_own_field(matcher.spec, column)
    ]
    if names:
        raise Invalid(
            Message(
                "The file is refused for its columns {columns}: the registry holds equipment and places, never people, "
                "images, recognitions or logins. Name them in drop_columns to import the file without them.",
                columns=", ".join(names),
            ),
            code="forbidden-content",
            issues=[
                Issue(f"/columns/{name}", "forbidden-content", Message("column {column!r} is refused", column=name))
                for name in names
            ],
        )


def _is_own_field(spec: RecordSpec, column: str) -> bool:
    match = match_heading(column, spec)
    return match is not None and match.field in spec.fields


def _choose_location(matcher: ColumnMatcher, detected: DetectedFormat | None) -> LocationSource:
    chosen = {name: matcher.choices.pop(name) for name in _LOCATION_FIELDS if name in matcher.choices}
    columns: dict[str, location_columns.LocationColumn] = {
        name: location_columns.LocationColumn(choice.columns[0], choice.match.datum) for name, choice in chosen.items()
    }
    if "position" in chosen:
        stated_order = str(chosen["position"].match.target).partition("@")[2]
        order = matcher.find_code_list("position", stated_order or None)
        columns["position"] = columns["position"]._replace(order=order)
    crs = matcher.options.crs or next((profile.crs for profile in matcher.profiles if profile.crs), None)
    choice = location_columns.choose_location(matcher.spec, columns, detected, crs, matcher.sample)
    if choice.source.mode == "none" and columns and matcher.options.some_fields:
        raise import_plan.build_half_location_error([column.name for column in columns.values()])
    matcher.ignored |= choice.unused
    if choice.is_crs_assumed:
        message = Message(
            "The file does not say the CRS of its geometry; it is read as longitude and latitude (WGS 84)."
        )
        matcher.notes.append(Note("crs-assumed", message))
    return choice.source


def _note_swapped_axes(location: LocationSource, spec: RecordSpec, sample: Batch) -> list[Note]:
    """Return a note if most locations of the sample are not valid, and would be with the axes swapped."""
    located = locate_rows(location, spec, sample)
    if not spec.shapes or 2 * located.swapped <= len(sample.row_numbers):
        return []
    message = Message(
        "{columns}: longitude and latitude look swapped, because most locations are valid only with the axes swapped. "
        "Nothing was swapped. {remedy}",
        columns=", ".join(location.columns) or Message("The geometry of the file"),
        remedy=_SWAP_REMEDIES[location.mode],
    )
    return [Note("axes-swapped", message)]


_SWAP_REMEDIES: Final[Mapping[str, Message]] = {
    "pair": Message("Swap the two columns in the mapping."),
    "cell": Message("Map the column to position@latlon if it has latitude before longitude."),
    "file": Message("Correct the file: longitude comes first."),
}
"""What to do about swapped axes, by the source of the location."""


def _build_sources(matcher: ColumnMatcher) -> tuple[FieldSource, ...]:
    sources: dict[str, FieldSource] = {}
    # A column "name" comes last: it gives name_zh or name_en only if no other column does.
    for choice in sorted(matcher.choices.values(), key=lambda choice: choice.field == "name"):
        source = _build_source(matcher, choice, sources)
        if source is not None:
            sources[source.spec.name] = source
    return tuple(sources.values())


def _build_source(
    matcher: ColumnMatcher, choice: FieldChoice, sources: Mapping[str, FieldSource]
) -> FieldSource | None:
    name, _, stated = str(choice.match.target).partition("@")
    if name == "name":
        name = _detect_language(matcher, choice.columns)
        if name in sources:
            matcher.set_aside(choice.columns[0], name, sources[name].columns[0])
            return None
    target = matcher.spec.field(name)
    assert target is not None  # noqa: S101  # targets were checked
    code_list = matcher.find_code_list(name, stated or None)
    if name in TOPICS["direction"].fields:
        code_list = _check_direction_list(matcher, choice, stated, code_list)
    unit = choice.match.unit
    parser = matcher.create_parser(target, code_list, unit)
    source = FieldSource(tuple(choice.columns), target, choice.match.why, parser, code_list, unit)
    if matcher.is_code_list_assumed(name, stated):
        matcher.notes += _note_disputed_codes(matcher, source)
    return source


def _check_direction_list(
    matcher: ColumnMatcher, choice: FieldChoice, stated: str, code_list: str | None
) -> str | None:
    """Return the code list of a direction column; add a note if its numbers look like the other kind."""
    numbers = [cell for cell in matcher.sample_cells(choice.columns) if cell.replace(".", "", 1).isdigit()]
    codes = [cell for cell in numbers if cell.lstrip("0") in _CODE_DIGITS]
    column = choice.columns[0]
    if code_list == "degrees" and len(codes) == len(numbers) > 3:
        message = Message(
            "Every number in {column!r} is a digit from 1 to 9, as direction codes are; they are read as degrees. If "
            "they are codes, map the column to {field}@gbt28181 or {field}@gat1400.",
            column=column,
            field=choice.field,
        )
        matcher.notes.append(Note("direction-codes", message))
    if stated == "code" and code_list in ("gbt28181", "gat1400") and 2 * len(codes) < len(numbers):
        message = Message(
            "Most numbers in {column!r} are not direction codes; they are read as degrees.", column=column
        )
        matcher.notes.append(Note("direction-degrees", message))
        return "degrees"
    return code_list


def _detect_language(matcher: ColumnMatcher, columns: Sequence[str]) -> str:
    """Return the field of a column of names: name_zh, unless most cells have no Chinese character."""
    cells = matcher.sample_cells(columns)
    chinese = sum(any("\u3400" <= sign <= "\u9fff" for sign in cell) for cell in cells)
    return "name_zh" if not cells or 2 * chinese >= len(cells) else "name_en"


def _build_defaults(matcher: ColumnMatcher, location: LocationSource) -> dict[str, Any]:
    """Return the defaults of the fields of the kind: the sender's first, then those of the profiles."""
    stated: dict[str, Any] = {}
    if matcher.spec.name == "ring" and location.crs in ("gcj02", "bd09", "cgcs2000"):
        stated["datum_received"] = location.crs
    for profile in reversed(matcher.profiles):
        stated |= profile.defaults
    stated |= matcher.options.defaults
    if matcher.options.jurisdiction is not None:
        stated.setdefault("jurisdiction", matcher.options.jurisdiction)
    return {
        _to_field(name): _parse_default(matcher, name, value)
        for name, value in stated.items()
        if matcher.spec.field(_to_field(name))
    }


def _find_assumed_fields(matcher: ColumnMatcher, sources: Sequence[FieldSource]) -> frozenset[str]:
    """Return the fields that only the default of a built-in profile gives, not the sender."""
    built_in = [profile for profile in matcher.profiles if profile.name in BUILT_IN]
    stated = {_to_field(name) for name in matcher.options.defaults}
    stated |= {_to_field(name) for profile in matcher.profiles if profile not in built_in for name in profile.defaults}
    stated |= {source.spec.name for source in sources}
    return frozenset(_to_field(name) for profile in built_in for name in profile.defaults) - stated


def _to_field(target: str) -> str:
    return target.partition("@")[0]


def _parse_default(matcher: ColumnMatcher, target: str, value: Any) -> Any:
    """Return a default as the field stores it; text is parsed like a cell."""
    name, _, code_list = target.partition("@")
    spec = matcher.spec.field(name)
    assert spec is not None  # noqa: S101  # only fields of the kind have defaults
    try:
        if isinstance(value, str):
            value = matcher.create_parser(spec, matcher.find_code_list(name, code_list or None)).parse(value)
        if name in matcher.spec.fields:
            field_validator(matcher.spec, name).validate_python(value)
    except (CellError, ValidationError) as error:
        reason = error.message if isinstance(error, CellError) else error.errors()[0]["msg"]
        message = Message("the default of {field} is not valid: {reason}", field=name, reason=reason)
        issue = Issue(f"/defaults/{name}", "bad-default", message)
        raise Invalid(message, code="bad-default", issues=[issue]) from error
    return value


def _check_missing(
    matcher: ColumnMatcher, sources: Sequence[FieldSource], defaults: Mapping[str, Any], location: LocationSource
) -> tuple[str, ...]:
    """Return the fields of whole records that the file lacks; raise ``fields-missing`` if it needs them."""
    given = {source.spec.name for source in sources} | set(defaults)
    spec, key = matcher.spec, matcher.options.key
    has_location = location.mode != "none"
    missing = import_plan.find_missing_fields(spec, given, key, has_location=has_location)
    if not missing:
        return ()
    if not matcher.options.some_fields:
        if "geometry" in missing and "lane" in given:
            raise import_plan.build_lanes_error(missing)
        raise import_plan.build_missing_error(missing, matcher.ignored)
    given_fields = {*given, "geometry"} if has_location else given
    import_plan.check_key_fields(spec, given_fields, key, missing, matcher.ignored)
    matcher.notes.append(import_plan.build_partial_note(spec, sources, missing))
    return missing


def _note_disputed_codes(matcher: ColumnMatcher, source: FieldSource) -> list[Note]:
    """Return a note if the codes of a column mean different things in lists of which none is named."""
    topic = find_topic(source.spec.name)
    assert topic is not None  # noqa: S101  # only fields with a topic have code lists
    codes = {code for cell in matcher.sample_cells(source.columns) for code in _find_codes(cell)}
    disputed = sorted(codes & topic.disputed_codes)
    if not disputed or source.code_list not in topic.disputed_lists:
        return []
    message = Message(
        "Codes {codes} of {column!r} mean different things in {lists}; {code_list} is used. If the source is another, "
        "name the list in code_lists.",
        codes=", ".join(disputed),
        column=source.columns[0],
        lists=" / ".join(sorted(topic.disputed_lists)),
        code_list=source.code_list,
    )
    return [Note("code-list-assumed", message)]


def _find_codes(cell: str) -> set[str]:
    """Return the codes in a cell, without leading zeros."""
    return {member.lstrip("0") for member in split_list(cell) if member.isdigit()}

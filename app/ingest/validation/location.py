"""Locations of the rows of a batch: longitude and latitude of WGS 84, or a shape of a type that the kind has.

The result is valid, finite and two-dimensional, with nine decimals as the registry stores it. Parsing and conversion are
those of `app.ingest.values.coordinates`. Nothing is moved or swapped: a location that needs it is an issue.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from app.geo.arrays import Bools, Floats
from app.ingest.columns.field_specs import RecordSpec
from app.ingest.columns.location_columns import LocationSource, describe_metres, parse_datum
from app.ingest.readers.opening import Batch
from app.ingest.values import coordinates, copy_text
from app.ingest.values.cell_parsing import NO_VALUE_SPELLINGS
from app.ingest.values.coordinates import (
    BAD_GEOMETRY,
    BLANK,
    HALF_BLANK,
    NOT_A_NUMBER,
    NOT_FINITE,
    OUT_OF_RANGE,
    OUTSIDE_CRS,
    UNKNOWN_ORDER,
    Locations,
)
from app.messages import Message
from app.models.columns import DECIMALS

Shapes = NDArray[np.object_]


class _Texts(NamedTuple):
    """Code, message and hint of one kind of issue."""

    code: str
    message: Message
    hint: Message | None = None


_TEXTS: Final[Mapping[int, _Texts]] = {
    BLANK: _Texts("geometry-missing", Message("The row has no location")),
    HALF_BLANK: _Texts("missing-coordinates", Message("One of the two coordinates is missing")),
    NOT_A_NUMBER: _Texts(
        "not-a-coordinate",
        Message("The coordinates cannot be parsed"),
        Message("Write degrees such as 113.2418, or degrees, minutes and seconds."),
    ),
    NOT_FINITE: _Texts("geometry-not-finite", Message("The coordinates must be finite numbers")),
    OUT_OF_RANGE: _Texts(
        "geometry-out-of-range",
        Message("The numbers are not longitude and latitude in degrees"),
        Message("State the CRS of the coordinates."),
    ),
    OUTSIDE_CRS: _Texts(
        "outside-crs",
        Message("The location is outside the area of the CRS"),
        Message("Check the CRS and its zone."),
    ),
    UNKNOWN_ORDER: _Texts(
        "unknown-order",
        Message("Either of the two numbers may be the longitude"),
        Message("Give longitude and latitude a column each, or map the column to position@latlon."),
    ),
    BAD_GEOMETRY: _Texts("not-a-geometry", Message("The geometry is not valid WKT, GeoJSON or WKB")),
}
_SWAPPED: Final = Message("The numbers are not longitude and latitude, but would be with the axes swapped")
SWAP_HINTS: Final[Mapping[str, Message]] = {
    "pair": Message("Swap the two columns in the mapping."),
    "cell": Message(
        "Longitude comes first in a shape. If a column has latitude before longitude, map it to position@latlon."
    ),
    "file": Message("Longitude must come first in the geometry of a file."),
}
"""What to do about swapped axes, by the source of the location."""
_ZERO: Final = _Texts("zero-coordinates", Message("The location is 0, 0, so it was not entered"))
_UNKNOWN_DATUM: Final = _Texts(
    "unknown-crs",
    Message("The row names an unknown coordinate system"),
    Message("Write WGS84, CGCS2000, GCJ02, BD09 or EPSG:n, or drop the column and state crs for the file."),
)


@dataclass(frozen=True)
class LocationIssue:
    """What is wrong with the location of one row of a batch."""

    index: int
    code: str
    message: Message
    hint: Message | None = None
    value: str | None = None
    column: int = 0
    """Index of the column of the location that has the issue; after the last one comes that of the datum."""


@dataclass(eq=False)
class LocatedRows:
    """Locations of the rows of a batch: points as numbers, other geometries as shapes."""

    valid: Bools
    xy: Floats = field(default_factory=lambda: np.empty((0, 2)))
    """lon, lat of points, shape (n, 2); NaN: no location."""
    shapes: Shapes | None = None
    issues: list[LocationIssue] = field(default_factory=list)
    swapped: int = 0

    def shape(self, index: int) -> BaseGeometry:
        """Return the geometry of one valid row."""
        if self.shapes is not None:
            shape: BaseGeometry = self.shapes[index]
            return shape
        return shapely.Point(self.xy[index])

    def format_geometries(self, spec: RecordSpec, rows: NDArray[np.int64]) -> Any:
        """Return the geometry of valid rows as EWKB hex, SRID 4326."""
        if self.shapes is None:
            return copy_text.format_points(self.xy[rows])
        shapes = self.shapes[rows]
        if spec.name == "ring":
            shapes = np.array([_to_multipolygon(shape) for shape in shapes], dtype=np.object_)
        return copy_text.format_shapes(shapes)

    def add_issue(self, index: int, texts: _Texts, value: str | None = None, column: int = 0) -> None:
        """Mark a row as not valid and add what is wrong with it."""
        self.valid[index] = False
        self.issues.append(LocationIssue(index, *texts, value, column))

    def remove_issues(self, is_selected: Callable[[int], bool]) -> None:
        """Remove the issues of the selected rows."""
        self.issues = [issue for issue in self.issues if not is_selected(issue.index)]


def locate_rows(source: LocationSource, spec: RecordSpec, batch: Batch) -> LocatedRows:
    """Return the locations of the rows of a batch; rows of a kind without geometry are all valid."""
    if source.datum_column is not None:
        return _locate_by_datum(source, spec, batch, batch.columns[source.datum_column])
    count = len(batch.row_numbers)
    if source.mode == "file":
        shapes = batch.geometry if batch.geometry is not None else np.full(count, None)
        return _locate_shapes(shapes, np.zeros(count, np.int64), source, spec, None)
    columns = [batch.columns[column] for column in source.columns]
    if source.mode == "pair":
        return _locate_points(_mark_no_values(coordinates.parse_columns(*columns), columns), source, columns)
    if source.mode == "cell":
        return _locate_cells(columns[0], source, spec)
    return LocatedRows(np.ones(count, dtype=bool))


def _mark_no_values(parsed: Locations, columns: list[Any]) -> Locations:
    """Return locations in which a word for "no value" is a blank, not a number that cannot be parsed."""
    codes = parsed.issue_codes.copy()
    for index in np.flatnonzero(codes == NOT_A_NUMBER).tolist():
        cells = [column[index].as_py() for column in columns]
        filled = [cell for cell in cells if cell is not None and cell not in NO_VALUE_SPELLINGS]
        if len(filled) < len(cells):
            codes[index] = HALF_BLANK if filled else BLANK
    return replace(parsed, issue_codes=codes)


def _locate_by_datum(source: LocationSource, spec: RecordSpec, batch: Batch, column: Any) -> LocatedRows:
    """Locate each row in the datum that its cell names, rows without one in the CRS of the file."""
    datums = {text: parse_datum(text) for text in column.drop_null().unique().to_pylist()}
    texts = column.to_pylist()
    systems = np.array([datums[text] or source.crs if text else source.crs for text in texts], object)
    without_datum = replace(source, datum_column=None)
    by_crs = {
        crs: locate_rows(replace(without_datum, crs=crs), spec, batch)
        for crs in sorted({crs for crs in datums.values() if crs} | {source.crs})
        if crs == source.crs or (systems == crs).any()
    }
    result = by_crs.pop(source.crs)
    for crs, located in by_crs.items():
        rows = systems == crs
        result.valid[rows], result.swapped = located.valid[rows], result.swapped + located.swapped
        if located.shapes is not None and result.shapes is not None:
            result.shapes[rows] = located.shapes[rows]
        else:
            result.xy[rows] = located.xy[rows]
        result.remove_issues(lambda index, rows=rows: bool(rows[index]))  # type: ignore[misc]  # bound in this turn
        result.issues += [issue for issue in located.issues if rows[issue.index]]
    unknown = {index for index, text in enumerate(texts) if text and datums[text] is None}
    result.remove_issues(unknown.__contains__)
    for index in sorted(unknown):
        result.add_issue(index, _UNKNOWN_DATUM, column[index].as_py(), len(source.columns))
    return result


def _locate_points(parsed: Locations, source: LocationSource, columns: list[Any]) -> LocatedRows:
    """Return the locations of points that were parsed from columns of text."""
    converted = coordinates.locations_to_lonlat(parsed, source.crs)
    result = LocatedRows(converted.valid.copy(), np.round(converted.xy, DECIMALS))
    swapped = _find_swapped_points(parsed, converted, source)
    for index in np.flatnonzero(converted.issue_codes).tolist():
        code = int(converted.issue_codes[index])
        texts = _choose_texts(source, code, is_swapped=bool(swapped[index]))
        result.add_issue(index, texts, _join_cells(columns, index), _find_wrong_column(columns, index, code))
    result.swapped = int(swapped.sum())
    _add_metres_hints(result, lambda index: parsed.xy[index : index + 1])
    for index in np.flatnonzero(result.valid & (result.xy == 0).all(axis=1)).tolist():
        result.add_issue(index, _ZERO, _join_cells(columns, index))
    return result


def _add_metres_hints(result: LocatedRows, numbers_of: Callable[[int], Floats]) -> None:
    """Add to each issue about numbers that are not degrees which metres they look like."""
    for position, issue in enumerate(result.issues):
        if issue.code == "geometry-out-of-range" and (system := describe_metres(numbers_of(issue.index))):
            hint = Message("{hint} {system}", hint=issue.hint, system=system)
            result.issues[position] = replace(issue, hint=hint)


def _find_swapped_points(parsed: Locations, converted: Locations, source: LocationSource) -> Bools:
    """Return the points that are not valid, and would be with x and y swapped."""
    is_off = np.asarray((converted.issue_codes == OUT_OF_RANGE) | (converted.issue_codes == OUTSIDE_CRS), dtype=bool)
    if not is_off.any():
        return is_off
    turned = Locations(parsed.xy[:, ::-1], np.where(is_off, 0, BLANK))
    return np.asarray(is_off & coordinates.locations_to_lonlat(turned, source.crs).valid, dtype=bool)


def _choose_texts(source: LocationSource, code: int, *, is_swapped: bool) -> _Texts:
    return _Texts("swapped-coordinates", _SWAPPED, SWAP_HINTS[source.mode]) if is_swapped else _TEXTS[code]


def _find_wrong_column(columns: list[Any], index: int, code: int) -> int:
    """Return which column of a pair has the issue: the blank one, or the one that is not a number."""
    if code not in (HALF_BLANK, NOT_A_NUMBER):
        return 0
    return int(coordinates.parse_numbers(columns[0].slice(index, 1))[1][0] == 0)


def _join_cells(columns: list[Any], index: int) -> str | None:
    cells = [text for column in columns if (text := column[index].as_py()) is not None]
    return ", ".join(cells) or None


def _locate_cells(column: Any, source: LocationSource, spec: RecordSpec) -> LocatedRows:
    """Return the locations of a column with a whole location in each cell, a shape or a pair of numbers."""
    shapes, codes, srid = coordinates.parse_shapes(column)
    pairs = np.flatnonzero(codes == BAD_GEOMETRY) if "Point" in spec.shapes else np.empty(0, int)
    if len(pairs):
        parsed = coordinates.parse_pairs(column.take(pa.array(pairs)), order=source.order)
        shapes[pairs[parsed.valid]] = shapely.points(parsed.xy[parsed.valid])
        codes[pairs] = parsed.issue_codes
    for index in np.flatnonzero(codes > BLANK).tolist():
        if column[index].as_py() in NO_VALUE_SPELLINGS:
            codes[index] = BLANK
    result = _locate_shapes(shapes, srid, source, spec, column)
    by_row = {index: int(codes[index]) for index in np.flatnonzero(codes > BLANK).tolist()}
    result.remove_issues(by_row.__contains__)
    for index, code in by_row.items():
        result.add_issue(index, _TEXTS[code], column[index].as_py())
    return result


def _locate_shapes(
    shapes: Shapes, srid: NDArray[np.int64], source: LocationSource, spec: RecordSpec, column: Any
) -> LocatedRows:
    """Return the locations of shapes; ``srid`` is 0 where a shape names no CRS."""
    merged = _merge_single_members(np.asarray(shapes, dtype=object), spec)
    converted, codes = _to_lonlat(merged, srid, source)
    result = LocatedRows(codes == 0, shapes=converted)
    swapped = _find_swapped_shapes(merged, codes, source)
    for index in np.flatnonzero(codes).tolist():
        texts = _choose_texts(source, int(codes[index]), is_swapped=bool(swapped[index]))
        result.add_issue(index, texts, _join_cells([column], index) if column is not None else None)
    result.swapped = int(swapped.sum())
    _add_metres_hints(result, lambda index: shapely.get_coordinates(merged[index]))
    _check_types(result, merged, spec)
    if spec.shapes == ("Point",):
        result.xy = np.full((len(shapes), 2), np.nan)
        result.xy[result.valid] = np.round(shapely.get_coordinates(converted[result.valid]), DECIMALS)
        result.shapes = None
        for index in np.flatnonzero(result.valid & (result.xy == 0).all(axis=1)).tolist():
            result.add_issue(index, _ZERO, "0, 0")
        return result
    _check_validity(result, converted)
    return result


def _merge_single_members(shapes: Shapes, spec: RecordSpec) -> Shapes:
    """Return shapes in which a collection of one member is that member, and lines that touch are one line."""
    merged = shapes.copy()
    for index in np.flatnonzero(shapely.get_type_id(merged) > 3).tolist():
        shape = merged[index]
        if shape.geom_type not in spec.shapes:
            members = shapely.get_parts(shape)
            if len(members) == 1:
                merged[index] = members[0]
            elif shape.geom_type == "MultiLineString":
                merged[index] = shapely.line_merge(shape, directed=True)
    merged[shapely.is_empty(merged)] = None
    return merged


def _to_lonlat(shapes: Shapes, srid: NDArray[np.int64], source: LocationSource) -> tuple[Shapes, Any]:
    converted = np.full(len(shapes), None, dtype=object)
    codes = np.zeros(len(shapes), np.uint8)
    for number in np.unique(srid):
        rows = srid == number
        system = source.crs if number == 0 else f"EPSG:{number}"
        converted[rows], codes[rows] = coordinates.shapes_to_lonlat(shapes[rows], system)
    return converted, codes


def _find_swapped_shapes(shapes: Shapes, codes: Any, source: LocationSource) -> Bools:
    is_off = (codes == OUT_OF_RANGE) | (codes == OUTSIDE_CRS)
    if is_off.any():
        turned = shapely.transform(shapes[is_off], lambda xy: xy[:, ::-1])
        _, codes_of_turned = coordinates.shapes_to_lonlat(turned, source.crs)
        is_off[np.flatnonzero(is_off)] = codes_of_turned == 0
    return np.asarray(is_off, dtype=bool)


def _check_types(result: LocatedRows, shapes: Shapes, spec: RecordSpec) -> None:
    """Add an issue for each shape of a type that the kind does not have."""
    types = " / ".join(spec.shapes)
    for index in np.flatnonzero(result.valid).tolist():
        name = shapes[index].geom_type
        if name not in spec.shapes:
            message = Message("The geometry is a {type}; this kind needs a {types}", type=name, types=types)
            result.add_issue(index, _Texts("geometry-type", message, _choose_type_hint(spec, name)))


_OUTLINE_HINT: Final = Message(
    "Give the location of the device as a point. An outline or a field of view is not its location."
)
_SEVERAL_POINTS_HINT: Final = Message("A row has one location: give each point a row and a code.")
_SEVERAL_LINES_HINT: Final = Message(
    "The lines do not join end to end: give each a row and a code, or close the space between them."
)
_OPEN_LINE_HINT: Final = Message("Close the line and save it as a polygon.")
_OTHER_LAYER_HINT: Final = Message("Check whether another layer of the file, or another kind, is meant.")


def _choose_type_hint(spec: RecordSpec, name: str) -> Message:
    if "Point" in spec.shapes:
        if name in ("Polygon", "MultiPolygon"):
            return _OUTLINE_HINT
        if "Multi" in name or name == "GeometryCollection":
            return _SEVERAL_POINTS_HINT
    elif "LineString" in spec.shapes:
        if name == "MultiLineString":
            return _SEVERAL_LINES_HINT
    elif "Line" in name:
        return _OPEN_LINE_HINT
    return _OTHER_LAYER_HINT


def _check_validity(result: LocatedRows, shapes: Shapes) -> None:
    """Round shapes that are not points, and add an issue for each that is not valid."""
    rows = np.flatnonzero(result.valid)
    shapes[rows] = shapely.transform(shapes[rows], lambda xy: np.round(xy, DECIMALS))
    for index in rows[~shapely.is_valid(shapes[rows])].tolist():
        message = _describe_reason(shapely.is_valid_reason(shapes[index]))
        result.add_issue(index, _Texts("invalid-geometry", message))
    for index in rows.tolist():
        if result.valid[index] and not shapely.get_coordinates(shapes[index]).any():
            result.add_issue(index, _ZERO, "0, 0")


_REASON: Final = re.compile(r"(.+?)\[(.*)\]")
_REASONS: Final[Mapping[str, Message]] = {
    "Self-intersection": Message("self-intersection"),
    "Ring Self-intersection": Message("the ring touches itself"),
    "Hole lies outside shell": Message("a hole is outside the polygon"),
    "Holes are nested": Message("holes are nested"),
    "Interior is disconnected": Message("the interior is disconnected"),
    "Nested shells": Message("polygons are nested"),
    "Duplicate Rings": Message("two rings are equal"),
    "Too few points in geometry component": Message("a line or ring has too few points"),
}
"""Reasons of GEOS."""


def _describe_reason(reason: str) -> Message:
    """Return the message of a reason of GEOS, such as ``Self-intersection[113.2 35.2]``."""
    match = _REASON.fullmatch(reason)
    if match is None:
        return Message("The geometry is not valid: {reason}", reason=_REASONS.get(reason, reason))
    return Message(
        "The geometry is not valid: {reason} at {location}",
        reason=_REASONS.get(match[1], match[1]),
        location=match[2],
    )


def _to_multipolygon(shape: BaseGeometry) -> BaseGeometry:
    return shapely.MultiPolygon([shape]) if isinstance(shape, shapely.Polygon) else shape

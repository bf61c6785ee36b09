"""Where the rows of a batch lie: lon/lat of WGS 84, the type of geometry the kind has, or a fault.

Promises valid, finite, two-dimensional geometry to nine decimals, as the registry keeps it. Reading
and conversion are those of `app.ingest.values.coordinates`; nothing is moved or swapped silently.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from app.geo.arrays import Bools, Floats
from app.ingest.columns.field_specs import RecordSpec
from app.ingest.columns.location_columns import Place, datum_in, metres_like
from app.ingest.messages.chinese import in_chinese
from app.ingest.readers.opening import Batch
from app.ingest.values import coordinates, copy_text
from app.ingest.values.cell_parsing import NOTHING_AS_WRITTEN
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
from app.models.columns import DECIMALS

Shapes = NDArray[np.object_]

_WORDS: Final[dict[int, tuple[str, str, str, str | None]]] = {
    BLANK: ("geometry-missing", "there is no place", "缺少位置", None),
    HALF_BLANK: ("missing-coordinates", "a coordinate is missing", "缺少坐标", None),
    NOT_A_NUMBER: (
        "not-a-coordinate", "the coordinates cannot be read", "坐标无法识别",
        "degrees such as 113.2418, or degrees, minutes and seconds",
    ),
    NOT_FINITE: ("geometry-not-finite", "coordinates must be finite numbers", "坐标应为有限的数字", None),
    OUT_OF_RANGE: (
        "geometry-out-of-range", "this is no longitude and latitude in degrees", "不是以度为单位的经纬度",
        "say in which CRS the coordinates are",
    ),
    OUTSIDE_CRS: (
        "outside-crs", "the place lies outside the area the CRS is made for", "位置超出该坐标系的适用范围",
        "another CRS or zone may be meant",
    ),
    UNKNOWN_ORDER: (
        "unknown-order", "which of the two numbers is the longitude cannot be told", "无法判断哪个是经度、哪个是纬度",
        "give longitude and latitude columns of their own, or map the column to position@latlon",
    ),
    BAD_GEOMETRY: ("not-a-geometry", "the geometry cannot be read: WKT, GeoJSON or WKB is needed",
                   "几何无法识别，应为 WKT、GeoJSON 或 WKB", None),
}  # fmt: skip
_SWAPPED: Final = (
    "swapped-coordinates", "this is no longitude and latitude; with the axes swapped it is one",
    "不是经度、纬度；对调后才成立",
)  # fmt: skip
TURN: Final = {
    "pair": "map the two columns the other way round",
    "cell": "longitude comes first in a shape; map a column of two numbers to position@latlon if "
    "latitude stands before longitude in it",
    "file": "longitude comes first in the geometry of a file",
}
"""What helps against swapped axes, by where the place comes from."""
_ZERO: Final = (
    "zero-coordinates",
    "the place is 0, 0: no place was entered",
    "坐标为 0, 0：未填写位置",
    None,
)


_UNKNOWN_DATUM: Final = (
    "unknown-crs",
    "the row names a coordinate system that is not known",
    "该行写明的坐标系无法识别",
    "WGS84, CGCS2000, GCJ02, BD09 or EPSG:n; or drop the column and say crs for the whole file",
)


@dataclass(frozen=True)
class PlaceFault:
    """What is wrong with the place of one row of a batch."""

    index: int
    code: str
    message: str
    message_zh: str
    hint: str | None = None
    value: str | None = None
    column: int = 0
    """Which of the columns of the place is to blame; after the last one, that of the datum."""


@dataclass(eq=False)
class Located:
    """Places of the rows of a batch: points as numbers, anything else as shapes."""

    good: Bools
    xy: Floats = field(default_factory=lambda: np.empty((0, 2)))
    """lon, lat of points, shape (n, 2); NaN where there is none."""
    shapes: Shapes | None = None
    faults: list[PlaceFault] = field(default_factory=list)
    swapped: int = 0

    def shape(self, index: int) -> BaseGeometry:
        """Return the geometry of one good row."""
        if self.shapes is not None:
            shape: BaseGeometry = self.shapes[index]
            return shape
        return shapely.Point(self.xy[index])

    def hexed(self, kind: RecordSpec, rows: NDArray[np.int64]) -> Any:
        """Return the geometry of good rows as EWKB hex, SRID 4326."""
        if self.shapes is None:
            return copy_text.points(self.xy[rows])
        shapes = self.shapes[rows]
        if kind.name == "ring":
            shapes = np.array([_multi(shape) for shape in shapes], dtype=np.object_)
        return copy_text.shapes(shapes)

    def refuse(
        self,
        index: int,
        words: tuple[str, str, str, str | None],
        value: str | None,
        column: int = 0,
    ) -> None:
        """Note what is wrong with a row."""
        code, english, chinese, hint = words
        self.good[index] = False
        self.faults.append(PlaceFault(index, code, english, chinese, hint, value, column))


def located(place: Place, kind: RecordSpec, batch: Batch) -> Located:
    """Return where the rows of a batch lie; a kind without geometry lies well everywhere."""
    if place.datums is not None:
        return _by_datum(place, kind, batch, batch.columns[place.datums])
    count = len(batch.row_numbers)
    if place.mode == "file":
        shapes = batch.geometry if batch.geometry is not None else np.full(count, None)
        return _of_shapes(shapes, np.zeros(count, np.int64), place, kind, None)
    columns = [batch.columns[column] for column in place.columns]
    if place.mode == "pair":
        return _of_points(_blanks_read(coordinates.parse_columns(*columns), columns), place, columns)
    if place.mode == "cell":
        return _of_cells(columns[0], place, kind)
    return Located(np.ones(count, dtype=bool))


def _blanks_read(read: Locations, columns: list[Any]) -> Locations:
    """Return places where a word for nothing is a blank, and no number that cannot be read."""
    fault = read.issue_codes.copy()
    for index in np.flatnonzero(fault == NOT_A_NUMBER):
        cells = [column[int(index)].as_py() for column in columns]
        said = [cell for cell in cells if cell is not None and cell not in NOTHING_AS_WRITTEN]
        if len(said) < len(cells):
            fault[index] = HALF_BLANK if said else BLANK
    return replace(read, issue_codes=fault)


def _by_datum(place: Place, kind: RecordSpec, batch: Batch, column: Any) -> Located:
    """Read each row in the datum that a cell of it names, others as the rest of the file."""
    plainly = replace(place, datums=None)
    known = {text: datum_in(text) for text in column.drop_null().unique().to_pylist()}
    systems = np.array([known[text] or place.crs if text else place.crs for text in column.to_pylist()], object)
    parts = {
        crs: located(replace(plainly, crs=crs), kind, batch)
        for crs in sorted({crs for crs in known.values() if crs} | {place.crs})
        if crs == place.crs or (systems == crs).any()
    }
    found = parts.pop(place.crs)
    for crs, part in parts.items():
        of = systems == crs
        found.good[of], found.swapped = part.good[of], found.swapped + part.swapped
        if part.shapes is not None and found.shapes is not None:
            found.shapes[of] = part.shapes[of]
        else:
            found.xy[of] = part.xy[of]
        found.faults = [one for one in found.faults if not of[one.index]]
        found.faults += [one for one in part.faults if of[one.index]]
    unknown = [at for at, text in enumerate(column.to_pylist()) if text and known[text] is None]
    for index in unknown:
        found.faults = [one for one in found.faults if one.index != index]
        found.refuse(index, _UNKNOWN_DATUM, column[index].as_py(), len(place.columns))
    return found


def _of_points(read: Locations, place: Place, columns: list[Any]) -> Located:
    """Judge points read from columns of text."""
    there = coordinates.locations_to_lonlat(read, place.crs)
    found = Located(there.valid.copy(), np.round(there.xy, DECIMALS))
    exchanged = _exchanged(read, there, place)
    for index in np.flatnonzero(there.issue_codes):
        words = _words(place, int(there.issue_codes[index]), swapped=bool(exchanged[index]))
        blamed = _blamed(columns, int(index), int(there.issue_codes[index]))
        found.refuse(int(index), words, _cells_at(columns, int(index)), blamed)
    found.swapped = int(exchanged.sum())
    _hint_metres(found, lambda at: read.xy[at : at + 1])
    for index in np.flatnonzero(found.good & (found.xy == 0).all(axis=1)):
        found.refuse(int(index), _ZERO, _cells_at(columns, int(index)))
    return found


def _hint_metres(found: Located, numbers: Callable[[int], Floats]) -> None:
    """Say of numbers that are no degrees which metres they look like, row by row."""
    for at, one in enumerate(found.faults):
        if one.code == "geometry-out-of-range" and (like := metres_like(numbers(one.index))):
            found.faults[at] = replace(one, hint=f"{one.hint}{like}")


def _exchanged(read: Locations, there: Locations, place: Place) -> Bools:
    """Return the points that are no place, and would be one with x and y exchanged."""
    off = np.asarray((there.issue_codes == OUT_OF_RANGE) | (there.issue_codes == OUTSIDE_CRS), dtype=bool)
    if not off.any():
        return off
    other = coordinates.locations_to_lonlat(Locations(read.xy[:, ::-1], np.where(off, 0, BLANK)), place.crs)
    return np.asarray(off & other.valid, dtype=bool)


def _words(place: Place, fault: int, *, swapped: bool) -> tuple[str, str, str, str | None]:
    return (*_SWAPPED, TURN[place.mode]) if swapped else _WORDS[fault]


def _blamed(columns: list[Any], index: int, fault: int) -> int:
    """Return which column of a pair is to blame: the blank one, or the one that is no number."""
    if fault not in (HALF_BLANK, NOT_A_NUMBER):
        return 0
    return int(coordinates.parse_numbers(columns[0].slice(index, 1))[1][0] == 0)


def _cells_at(columns: list[Any], index: int) -> str | None:
    cells = [text for column in columns if (text := column[index].as_py()) is not None]
    return ", ".join(cells) or None


def _of_cells(column: Any, place: Place, kind: RecordSpec) -> Located:
    """Judge a column with a whole place in each cell, written as shape or as a pair."""
    shapes, fault, srid = coordinates.parse_shapes(column)
    pairs = np.flatnonzero(fault == BAD_GEOMETRY) if "Point" in kind.shapes else np.empty(0, int)
    if len(pairs):
        read = coordinates.parse_pairs(column.take(pa.array(pairs)), order=place.order)
        shapes[pairs[read.valid]] = shapely.points(read.xy[read.valid])
        fault[pairs] = read.issue_codes
    for at in np.flatnonzero(fault > BLANK).tolist():
        if column[at].as_py() in NOTHING_AS_WRITTEN:
            fault[at] = BLANK
    found = _of_shapes(shapes, srid, place, kind, column)
    told = {int(index): int(fault[index]) for index in np.flatnonzero(fault > BLANK)}
    found.faults = [one for one in found.faults if one.index not in told]
    for index, what in told.items():
        found.refuse(index, _WORDS[what], column[index].as_py())
    return found


def _of_shapes(shapes: Shapes, srid: NDArray[np.int64], place: Place, kind: RecordSpec, column: Any) -> Located:
    count = len(shapes)
    kept = _single(np.asarray(shapes, dtype=object), kind)
    there, fault = _to_lonlat(kept, srid, place)
    found = Located(fault == 0, shapes=there)
    exchanged = _exchanged_shapes(kept, fault, place)
    for index in np.flatnonzero(fault):
        words = _words(place, int(fault[index]), swapped=bool(exchanged[index]))
        found.refuse(int(index), words, _cells_at([column], int(index)) if column is not None else None)
    found.swapped = int(exchanged.sum())
    _hint_metres(found, lambda at: shapely.get_coordinates(kept[at]))
    _check_types(found, kept, kind)
    if kind.shapes == ("Point",):
        found.xy = np.full((count, 2), np.nan)
        found.xy[found.good] = np.round(shapely.get_coordinates(there[found.good]), DECIMALS)
        found.shapes = None
        for index in np.flatnonzero(found.good & (found.xy == 0).all(axis=1)):
            found.refuse(int(index), _ZERO, "0, 0")
        return found
    _check_validity(found)
    return found


def _single(shapes: Shapes, kind: RecordSpec) -> Shapes:
    """Return shapes where a collection of one member is the member, and touching lines are one."""
    kept = shapes.copy()
    types = shapely.get_type_id(kept)
    for index in np.flatnonzero(types > 3):
        shape = kept[index]
        if shape.geom_type not in kind.shapes:
            parts = shapely.get_parts(shape)
            kept[index] = parts[0] if len(parts) == 1 else _merged(shape)
    empty = shapely.is_empty(kept)
    kept[empty] = None
    return kept


def _merged(shape: BaseGeometry) -> BaseGeometry:
    return shapely.line_merge(shape, directed=True) if shape.geom_type == "MultiLineString" else shape


def _to_lonlat(shapes: Shapes, srid: NDArray[np.int64], place: Place) -> tuple[Shapes, Any]:
    there = np.full(len(shapes), None, dtype=object)
    fault = np.zeros(len(shapes), np.uint8)
    for number in np.unique(srid):
        of = srid == number
        system = place.crs if number == 0 else f"EPSG:{number}"
        there[of], fault[of] = coordinates.shapes_to_lonlat(shapes[of], system)
    return there, fault


def _exchanged_shapes(shapes: Shapes, fault: Any, place: Place) -> Bools:
    off = (fault == OUT_OF_RANGE) | (fault == OUTSIDE_CRS)
    if off.any():
        turned = shapely.transform(shapes[off], lambda xy: xy[:, ::-1])
        _, again = coordinates.shapes_to_lonlat(turned, place.crs)
        off[np.flatnonzero(off)] = again == 0
    return np.asarray(off, dtype=bool)


def _check_types(found: Located, shapes: Shapes, kind: RecordSpec) -> None:
    needed = " or ".join(kind.shapes)
    for index in np.flatnonzero(found.good):
        name = shapes[index].geom_type
        if name not in kind.shapes:
            words = (
                "geometry-type", f"the geometry must be a {needed}, not a {name}",
                f"几何类型应为 {needed}，而不是 {name}", _other_type(kind, name),
            )  # fmt: skip
            found.refuse(int(index), words, None)


def _other_type(kind: RecordSpec, name: str) -> str:
    """Return what helps against a geometry of another type."""
    if "Point" in kind.shapes:
        if name in ("Polygon", "MultiPolygon"):
            return "give the place of the device itself as a point; an outline or a field of view is not the place"
        if "Multi" in name or name == "GeometryCollection":
            return "one row has one place: give each point a row and a code of its own"
    elif "LineString" in kind.shapes:
        if name == "MultiLineString":
            return "the parts do not join end to end: give each part a row and a code of its own, or mend the gap"
    elif "Line" in name:
        return "close the line and save it as a polygon"
    return "another layer of the file, or another kind, may be meant"


def _check_validity(found: Located) -> None:
    assert found.shapes is not None  # noqa: S101  # points do not come here
    rows = np.flatnonzero(found.good)
    found.shapes[rows] = shapely.transform(found.shapes[rows], lambda xy: np.round(xy, DECIMALS))
    for index in rows[~shapely.is_valid(found.shapes[rows])]:
        reason = shapely.is_valid_reason(found.shapes[index])
        found.refuse(
            int(index),
            ("invalid-geometry", reason, f"几何图形无效：{in_chinese(reason)}", None),
            None,
        )
    zero = [index for index in rows if found.good[index] and not shapely.get_coordinates(found.shapes[index]).any()]
    for index in zero:
        found.refuse(int(index), _ZERO, "0, 0")


def _multi(shape: BaseGeometry) -> BaseGeometry:
    return shapely.MultiPolygon([shape]) if isinstance(shape, shapely.Polygon) else shape

"""Coordinates from text, and locations of any coordinate system as longitude and latitude.

A row that cannot be parsed, or has a location outside its system, gets an issue code; no row raises an error. x comes
before y, whatever the axis order of the system. Plain decimal numbers are parsed as a column, other rows one by one by
`app.ingest.values.angles`. The result says in which order a pair was read.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError

from app.errors import Invalid
from app.geo.projection.datum import DATUMS, to_wgs84
from app.ingest.values import crs as crses
from app.ingest.values.angles import Axis, parse_angle, parse_pair
from app.ingest.values.shapes import parse_geojson_texts, parse_hex_wkb, parse_wkt
from app.messages import Message

Floats = NDArray[np.float64]
IssueCodes = NDArray[np.uint8]
Order = Literal["lonlat", "latlon"]

ISSUE_CODES: Final = (
    "",
    "blank",
    "half-blank",
    "not-a-number",
    "not-finite",
    "out-of-range",
    "outside-crs",
    "unknown-order",
    "bad-geometry",
)
"""Meaning of the numbers in `Locations.issue_codes`; 0: the location is valid."""
(
    BLANK,
    HALF_BLANK,
    NOT_A_NUMBER,
    NOT_FINITE,
    OUT_OF_RANGE,
    OUTSIDE_CRS,
    UNKNOWN_ORDER,
    BAD_GEOMETRY,
) = range(1, 9)
_DECIMAL: Final = r"^[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?$"
_PAIR: Final = (
    r"^\(?\s*(?P<first>[+-]?[0-9]+(?:\.[0-9]*)?)\s*(?:[,，;；/|]|\s)\s*"
    r"(?P<second>[+-]?[0-9]+(?:\.[0-9]*)?)\s*\)?$"
)
_EPSG_CODE: Final = re.compile(r"(?:EPSG:)?([0-9]{4,6})", re.IGNORECASE)
_MARGIN_DEG: Final = 2.0
"""A system is used a little outside the area that it is registered for."""


@dataclass(frozen=True, eq=False)
class Locations:
    """Positions, with an issue code in each row that has none."""

    xy: Floats
    """Shape (n, 2), x (longitude, easting) first; NaN in a row with an issue."""
    issue_codes: IssueCodes
    """Shape (n,), indices of `ISSUE_CODES`."""
    order: Order | None = None
    """Order in which most pairs were written, if it was read from the pairs."""

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Rows with a location."""
        valid: NDArray[np.bool_] = self.issue_codes == 0
        return valid


def parse_numbers(column: pa.StringArray) -> tuple[Floats, IssueCodes, list[Axis | None] | None]:
    """Return a column of numbers or angles, issue codes, and the axes that cells name.

    The axes are None if no cell names one: nearly always.
    """
    count = len(column)
    codes = np.zeros(count, np.uint8)
    if column.null_count:
        codes[np.asarray(column.is_null())] = BLANK
    axes: list[Axis | None] | None = None
    try:
        values = _to_doubles(column)
    except pa.ArrowInvalid:
        is_decimal = pc.fill_null(pc.match_substring_regex(column, _DECIMAL), False)
        values = _to_doubles(pc.if_else(is_decimal, column, pa.scalar(None, pa.string())))
        for index in np.flatnonzero(~np.asarray(is_decimal) & (codes == 0)):
            text = column[int(index)].as_py()
            angle = parse_angle(text)
            if angle is None:
                codes[index] = NOT_FINITE if is_not_finite(text) else NOT_A_NUMBER
                continue
            values[index] = angle.value
            if angle.axis is not None:
                axes = axes or [None] * count
                axes[index] = angle.axis
    codes[(codes == 0) & ~np.isfinite(values)] = NOT_FINITE
    return values, codes, axes


def parse_columns(x: pa.StringArray, y: pa.StringArray) -> Locations:
    """Return the locations of two columns, the first with longitude or easting.

    A cell that names its axis (35.2N) overrules the column that it is in.
    """
    first, first_codes, first_axes = parse_numbers(x)
    second, second_codes, second_axes = parse_numbers(y)
    codes = np.where(first_codes > BLANK, first_codes, second_codes)
    codes[(first_codes == BLANK) & (second_codes <= BLANK)] = HALF_BLANK
    codes[(first_codes == 0) & (second_codes == BLANK)] = HALF_BLANK
    codes[(first_codes == BLANK) & (second_codes == BLANK)] = BLANK
    xy = np.stack([first, second], axis=1)
    if first_axes or second_axes:
        for index in range(len(codes)):
            first_axis = first_axes[index] if first_axes else None
            second_axis = second_axes[index] if second_axes else None
            if first_axis is not None and first_axis == second_axis:
                codes[index] = UNKNOWN_ORDER
            elif first_axis == "lat" or second_axis == "lon":
                xy[index] = xy[index, ::-1]
    return _build_locations(xy, codes)


def parse_pairs(cells: pa.StringArray, *, order: Order | None = None) -> Locations:
    """Return the locations of one column that has both coordinates.

    Parameters
    ----------
    cells : pa.StringArray
        Such as ``35.2, 113.5``, ``113.5 35.2`` or ``N35°12' E113°30'``.
    order : {"lonlat", "latlon"}, optional
        The order if it is known. Otherwise each pair is read by the axes it names or by numbers beyond 90; the other
        pairs follow the majority, else they get an issue code.
    """
    matches = pc.extract_regex(cells, _PAIR)
    count = len(cells)
    codes = np.zeros(count, np.uint8)
    codes[np.asarray(cells.is_null())] = BLANK
    first, second = matches.flatten()
    xy = np.stack([_to_doubles(first), _to_doubles(second)], axis=1)
    missing = pc.is_null(matches) if matches.null_count else None
    orders = np.zeros(count, np.int8)  # 1: longitude is first, -1: latitude is first
    unmatched = np.asarray(missing) & (codes == 0) if missing is not None else np.zeros(count, bool)
    for index in np.flatnonzero(unmatched):
        text = cells[int(index)].as_py()
        pair = parse_pair(text)
        if pair is None:
            codes[index] = NOT_FINITE if is_not_finite(text) else NOT_A_NUMBER
            xy[index] = np.nan
            continue
        xy[index] = pair.first.value, pair.second.value
        if pair.first.axis or pair.second.axis:
            orders[index] = 1 if pair.first.axis == "lon" or pair.second.axis == "lat" else -1
    majority = apply_order(xy, codes, orders, order)
    return _build_locations(xy, codes, majority)


def apply_order(
    xy: Floats,
    codes: IssueCodes,
    orders: NDArray[np.int8],
    order: Order | None,
) -> Order | None:
    """Put longitude first, in place; return the order in which most pairs were written."""
    is_valid = codes == 0
    is_named = orders != 0
    orders[is_valid & ~is_named & (np.abs(xy[:, 0]) > 90)] = 1
    orders[is_valid & ~is_named & (np.abs(xy[:, 1]) > 90)] = -1
    if order is not None:
        orders[~is_named] = 1 if order == "lonlat" else -1
    balance = int(orders[is_valid].sum())
    majority: Order | None = None if balance == 0 else ("lonlat" if balance > 0 else "latlon")
    is_open = is_valid & (orders == 0)
    if majority is None:
        codes[is_open] = UNKNOWN_ORDER
    else:
        orders[is_open] = 1 if majority == "lonlat" else -1
    is_reversed = is_valid & (orders < 0)
    xy[is_reversed] = xy[is_reversed][:, ::-1]
    return majority


def locations_to_lonlat(locations: Locations, system: str = "EPSG:4326") -> Locations:
    """Return locations of any system in WGS 84 longitude and latitude.

    Parameters
    ----------
    locations : Locations
        x before y: longitude or easting first.
    system : str
        ``EPSG:n`` or one of the datums ``wgs84``, ``cgcs2000``, ``gcj02``, ``bd09``.

    Returns
    -------
    Locations
        With the issue codes ``out-of-range`` (not a position on Earth) and ``outside-crs`` (more than two degrees
        outside the area of the system: swapped axes, another zone).

    Raises
    ------
    Invalid
        ``unknown-crs``.
    """
    codes = locations.issue_codes.copy()
    valid = np.flatnonzero(codes == 0)
    xy = np.full_like(locations.xy, np.nan)
    lonlat, position_codes = convert_positions(locations.xy[valid], parse_system(system))
    codes[valid] = position_codes
    xy[valid] = lonlat
    return _build_locations(xy, codes, locations.order)


def is_swapped(locations: Locations, system: str) -> bool:
    """Return whether most locations fit the area of a system only with x and y exchanged."""
    as_written = locations_to_lonlat(locations, system)
    exchanged = locations_to_lonlat(_build_locations(locations.xy[:, ::-1], locations.issue_codes), system)
    count = int(locations.valid.sum())
    return count > 0 and as_written.valid.sum() < count * 0.5 and exchanged.valid.sum() > count * 0.9


def shapes_to_lonlat(shapes: NDArray[np.object_], system: str) -> tuple[NDArray[np.object_], IssueCodes]:
    """Return shapes of any system in WGS 84 longitude and latitude, None if that fails; and issue codes.

    Raises
    ------
    Invalid
        ``unknown-crs``.
    """
    parsed_system = parse_system(system)
    codes = np.zeros(len(shapes), np.uint8)
    codes[shapely.is_missing(shapes)] = BLANK
    converted = np.full(len(shapes), None, dtype=object)
    present = np.flatnonzero(codes == 0)
    xy, owners = shapely.get_coordinates(shapes[present], return_index=True)
    if not len(xy):
        converted[present] = shapes[present]
        return converted, codes
    lonlat, position_codes = convert_positions(xy, parsed_system)
    worst = np.zeros(len(present), np.uint8)
    np.maximum.at(worst, owners, position_codes)
    codes[present] = worst
    lonlat[position_codes > 0] = 0.0  # shapes with such a vertex are left out below
    moved = shapely.set_coordinates(shapes[present].copy(), lonlat)
    converted[present[worst == 0]] = moved[worst == 0]
    return converted, codes


def parse_shapes(
    cells: pa.StringArray,
) -> tuple[NDArray[np.object_], IssueCodes, NDArray[np.int64]]:
    """Return shapes written as WKT, EWKT, GeoJSON or hexadecimal (E)WKB, issue codes, and the SRID or 0."""
    count = len(cells)
    shapes = np.full(count, None, dtype=object)
    codes = np.zeros(count, np.uint8)
    srid = np.zeros(count, np.int64)
    codes[np.asarray(cells.is_null())] = BLANK
    texts = np.array(cells.to_pylist(), dtype=object)
    prefixes = pc.extract_regex(cells, r"^(?i:SRID=(?P<srid>[0-9]{1,7})\s*[;,]\s*)(?P<rest>(?s:.*))$")
    has_prefix = np.asarray(prefixes.is_valid())
    if has_prefix.any():
        mask = pa.array(has_prefix)
        srid[has_prefix] = np.array(prefixes.field("srid").filter(mask).to_pylist(), dtype=np.int64)
        texts[has_prefix] = np.array(prefixes.field("rest").filter(mask).to_pylist(), dtype=object)
    notations = np.array([detect_notation(text) for text in texts])
    for notation, parse in (("json", parse_geojson_texts), ("hex", parse_hex_wkb), ("wkt", parse_wkt)):
        is_chosen = notations == notation
        if is_chosen.any():
            shapes[is_chosen] = parse(texts[is_chosen].tolist())
    own_srid = shapely.get_srid(shapes)
    srid = np.where((srid == 0) & (own_srid > 0), own_srid, srid)
    shapes = shapely.force_2d(shapes)
    is_finite = np.isfinite(shapely.bounds(shapes)).all(axis=1)
    is_bad = (codes == 0) & ~is_finite
    shapes[is_bad] = None
    codes[is_bad] = BAD_GEOMETRY
    return shapes, codes, srid


def detect_notation(text: str | None) -> str:
    """Return whether a shape is written as ``json``, ``hex`` or ``wkt``."""
    if text is None:
        return ""
    if text.startswith("{"):
        return "json"
    return "hex" if text[:2] in ("00", "01") and len(text) >= 42 else "wkt"


@dataclass(frozen=True)
class CoordinateSystem:
    """A datum, or a transformation to WGS 84 with the area that it is for."""

    datum: str | None
    transformer: Transformer | None
    area: tuple[float, float, float, float] | None


@lru_cache(maxsize=64)
def parse_system(system: str) -> CoordinateSystem:
    """Return a coordinate system by its name or definition.

    Raises
    ------
    Invalid
        ``unknown-crs``.
    """
    name = system.strip()
    if name.lower() in DATUMS:
        return CoordinateSystem(name.lower(), None, None)
    code = _EPSG_CODE.fullmatch(name)
    try:
        crs = CRS.from_epsg(int(code[1])) if code else None
        if crs is None and crses.format_crs_title(name) != name:  # the definition in a file
            crs = CRS.from_wkt(name)
    except CRSError:
        crs = None
    if crs is None:
        message = Message(
            "Unknown coordinate system {system!r}. Use EPSG:n, {datums}.", system=system[:40], datums=", ".join(DATUMS)
        )
        raise Invalid(message, code="unknown-crs")
    if not (crs.is_geographic or crs.is_projected):
        message = Message("{system!r} is not a system of positions on Earth. Use EPSG:n.", system=system[:40])
        raise Invalid(message, code="unknown-crs")
    bounds = crs.area_of_use.bounds if crs.area_of_use else None
    if crs.to_epsg() in (4326, 4490):
        # PROJ has only a null operation between the two.
        return CoordinateSystem("wgs84", None, None)
    return CoordinateSystem(None, Transformer.from_crs(crs, "EPSG:4326", always_xy=True), bounds)


def convert_positions(xy: Floats, system: CoordinateSystem) -> tuple[Floats, IssueCodes]:
    """Return longitudes and latitudes, NaN with an issue code if that fails."""
    codes = np.zeros(len(xy), np.uint8)
    if system.transformer is not None:
        x, y = system.transformer.transform(xy[:, 0], xy[:, 1])
        lonlat = np.stack([np.asarray(x, np.float64), np.asarray(y, np.float64)], axis=1)
        codes[~np.isfinite(lonlat).all(axis=1)] = OUTSIDE_CRS
        if system.area is not None:
            codes[(codes == 0) & ~is_inside_area(lonlat, system.area)] = OUTSIDE_CRS
    else:
        lonlat = xy.copy()
    with np.errstate(invalid="ignore"):
        is_off_earth = (np.abs(lonlat[:, 0]) > 180) | (np.abs(lonlat[:, 1]) > 90) | ~np.isfinite(lonlat).all(axis=1)
    codes[is_off_earth & (codes == 0)] = OUT_OF_RANGE
    is_valid = codes == 0
    if system.datum in ("gcj02", "bd09") and is_valid.any():
        lonlat[is_valid] = to_wgs84(lonlat[is_valid], system.datum)
    lonlat[~is_valid] = np.nan
    return lonlat, codes


def is_inside_area(lonlat: Floats, area: tuple[float, float, float, float]) -> NDArray[np.bool_]:
    """Return which positions are in an area or at most two degrees outside it."""
    west, south, east, north = area
    lon, lat = lonlat[:, 0], lonlat[:, 1]
    if west <= east:
        is_across = (lon >= west - _MARGIN_DEG) & (lon <= east + _MARGIN_DEG)
    else:  # the area crosses the date line
        is_across = (lon >= west - _MARGIN_DEG) | (lon <= east + _MARGIN_DEG)
    return is_across & (lat >= south - _MARGIN_DEG) & (lat <= north + _MARGIN_DEG)


def _build_locations(xy: Floats, codes: IssueCodes, order: Order | None = None) -> Locations:
    if codes.any():
        xy = xy.copy()
        xy[codes != 0] = np.nan
    return Locations(xy, codes, order)


def _to_doubles(column: pa.Array) -> Floats:
    values = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return np.array(values, dtype=np.float64)


def is_not_finite(text: str) -> bool:
    """Return whether a text means infinity or not a number."""
    return text.strip().lstrip("+-").lower() in ("nan", "inf", "infinity", "∞", "#num!", "#div/0!")

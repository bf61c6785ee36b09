"""Places out of text, and places of any coordinate system as longitude and latitude.

Promises that a row that cannot be read, or lies nowhere, is told and never raises; x before y
whatever the axis order of the system. Plain decimal numbers take a vectorised way, the odd rows
go through `app.ingest.values.angles` one by one. Decides nothing silently: which order of a pair was
taken is told.
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

Floats = NDArray[np.float64]
IssueCodes = NDArray[np.uint8]
Order = Literal["lonlat", "latlon"]

ISSUE_CODES: Final = (
    "", "blank", "half-blank", "not-a-number", "not-finite", "out-of-range", "outside-crs",
    "unknown-order", "bad-geometry",
)  # fmt: skip
"""What the numbers in `Locations.issue_codes` mean; 0 is a good place."""
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
_PLAIN: Final = r"^[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?$"
_PAIR: Final = (
    r"^\(?\s*(?P<first>[+-]?[0-9]+(?:\.[0-9]*)?)\s*(?:[,，;；/|]|\s)\s*"
    r"(?P<second>[+-]?[0-9]+(?:\.[0-9]*)?)\s*\)?$"
)
_CODE: Final = re.compile(r"(?:EPSG:)?([0-9]{4,6})", re.IGNORECASE)
# A system is used a little beyond the area it is registered for.
_MARGIN_DEG: Final = 2.0


@dataclass(frozen=True, eq=False)
class Locations:
    """Positions with what is wrong where there is none."""

    xy: Floats
    """Shape (n, 2), x (longitude, easting) first; NaN where there is a fault."""
    issue_codes: IssueCodes
    """Shape (n,), places in `ISSUE_CODES`."""
    order: Order | None = None
    """In which order the pairs were written, as far as that was read from them."""

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Rows with a place."""
        good: NDArray[np.bool_] = self.issue_codes == 0
        return good


def parse_numbers(column: pa.StringArray) -> tuple[Floats, IssueCodes, list[Axis | None] | None]:
    """Return a column of numbers or angles, what is wrong, and the axes the cells name.

    The axes are None when no cell names one, which is nearly always.
    """
    count = len(column)
    fault = np.zeros(count, np.uint8)
    if column.null_count:
        fault[np.asarray(column.is_null())] = BLANK
    axes: list[Axis | None] | None = None
    try:
        values = _to_doubles(column)
    except pa.ArrowInvalid:
        plain = pc.fill_null(pc.match_substring_regex(column, _PLAIN), False)
        values = _to_doubles(pc.if_else(plain, column, pa.scalar(None, pa.string())))
        for at in np.flatnonzero(~np.asarray(plain) & (fault == 0)):
            text = column[int(at)].as_py()
            found = parse_angle(text)
            if found is None:
                fault[at] = NOT_FINITE if is_not_finite(text) else NOT_A_NUMBER
                continue
            values[at] = found.value
            if found.axis is not None:
                axes = axes or [None] * count
                axes[at] = found.axis
    fault[(fault == 0) & ~np.isfinite(values)] = NOT_FINITE
    return values, fault, axes


def parse_columns(x: pa.StringArray, y: pa.StringArray) -> Locations:
    """Return the places of two columns, the first with longitude or easting.

    A cell that names its axis (35.2N) is believed over the column it stands in.
    """
    first, wrong_first, axes_first = parse_numbers(x)
    second, wrong_second, axes_second = parse_numbers(y)
    fault = np.where(wrong_first > BLANK, wrong_first, wrong_second)
    fault[(wrong_first == BLANK) & (wrong_second <= BLANK)] = HALF_BLANK
    fault[(wrong_first == 0) & (wrong_second == BLANK)] = HALF_BLANK
    fault[(wrong_first == BLANK) & (wrong_second == BLANK)] = BLANK
    xy = np.stack([first, second], axis=1)
    if axes_first or axes_second:
        for at in range(len(fault)):
            one = axes_first[at] if axes_first else None
            other = axes_second[at] if axes_second else None
            if one is not None and one == other:
                fault[at] = UNKNOWN_ORDER
            elif one == "lat" or other == "lon":
                xy[at] = xy[at, ::-1]
    return _build_locations(xy, fault)


def parse_pairs(
    cells: pa.StringArray, *, order: Order | None = None, near: tuple[float, float] | None = None
) -> Locations:
    """Return the places of one column that holds both coordinates.

    Parameters
    ----------
    cells : pa.StringArray
        Such as ``35.2, 113.5``, ``113.5 35.2`` or ``N35°12' E113°30'``.
    order : {"lonlat", "latlon"}, optional
        The order when it is known. Otherwise each pair is read by the axes it names or by numbers
        beyond 90; the rest follows the majority, then `near`, else it is a fault.
    near : tuple of float, optional
        Longitude and latitude of a place all of them should be near to.
    """
    found = pc.extract_regex(cells, _PAIR)
    count = len(cells)
    fault = np.zeros(count, np.uint8)
    fault[np.asarray(cells.is_null())] = BLANK
    first, second = found.flatten()
    xy = np.stack([_to_doubles(first), _to_doubles(second)], axis=1)
    missing = pc.is_null(found) if found.null_count else None
    turned = np.zeros(count, np.int8)  # 1: longitude is first, -1: latitude is
    unread = np.asarray(missing) & (fault == 0) if missing is not None else np.zeros(count, bool)
    for at in np.flatnonzero(unread):
        text = cells[int(at)].as_py()
        both = parse_pair(text)
        if both is None:
            fault[at] = NOT_FINITE if is_not_finite(text) else NOT_A_NUMBER
            xy[at] = np.nan
            continue
        xy[at] = both.first.value, both.second.value
        if both.first.axis or both.second.axis:
            turned[at] = 1 if both.first.axis == "lon" or both.second.axis == "lat" else -1
    taken = apply_order(xy, fault, turned, order, near)
    return _build_locations(xy, fault, taken)


def apply_order(
    xy: Floats,
    fault: IssueCodes,
    turned: NDArray[np.int8],
    order: Order | None,
    near: tuple[float, float] | None,
) -> Order | None:
    """Put longitude first, in place; return the order that most pairs were written in."""
    good = fault == 0
    named = turned != 0
    turned[good & ~named & (np.abs(xy[:, 0]) > 90)] = 1
    turned[good & ~named & (np.abs(xy[:, 1]) > 90)] = -1
    if order is not None:
        turned[~named] = 1 if order == "lonlat" else -1
    certain = int(turned[good].sum())
    majority: Order | None = None if certain == 0 else ("lonlat" if certain > 0 else "latlon")
    if majority is None and near is not None and good.any():
        away = [np.abs(xy[good] - np.array(place)).sum() for place in (near, near[::-1])]
        majority = "lonlat" if away[0] <= away[1] else "latlon"
    open_ = good & (turned == 0)
    if majority is None:
        fault[open_] = UNKNOWN_ORDER
    else:
        turned[open_] = 1 if majority == "lonlat" else -1
    swap = good & (turned < 0)
    xy[swap] = xy[swap][:, ::-1]
    return majority


def locations_to_lonlat(places: Locations, system: str = "EPSG:4326") -> Locations:
    """Return places of any system in WGS 84 longitude and latitude.

    Parameters
    ----------
    places : Places
        x before y: longitude or easting first.
    system : str
        ``EPSG:n`` or one of the datums ``wgs84``, ``cgcs2000``, ``gcj02``, ``bd09``.

    Returns
    -------
    Places
        With the faults ``out-of-range`` (no place on Earth) and ``outside-crs`` (more than two
        degrees outside the area the system is made for: swapped axes, another zone).

    Raises
    ------
    Invalid
        ``unknown-crs``.
    """
    fault = places.issue_codes.copy()
    good = np.flatnonzero(fault == 0)
    out = np.full_like(places.xy, np.nan)
    lonlat, wrong = convert_positions(places.xy[good], parse_system(system))
    fault[good] = wrong
    out[good] = lonlat
    return _build_locations(out, fault, places.order)


def is_swapped(places: Locations, system: str) -> bool:
    """Tell whether most places fit the area of a system only with x and y exchanged."""
    here, there = (
        locations_to_lonlat(places, system),
        locations_to_lonlat(_build_locations(places.xy[:, ::-1], places.issue_codes), system),
    )
    both = int(places.valid.sum())
    return both > 0 and here.valid.sum() < both * 0.5 and there.valid.sum() > both * 0.9


def shapes_to_lonlat(shapes: NDArray[np.object_], system: str) -> tuple[NDArray[np.object_], IssueCodes]:
    """Return shapes of any system in WGS 84 longitude and latitude, None where that fails.

    Raises
    ------
    Invalid
        ``unknown-crs``.
    """
    known = parse_system(system)
    fault = np.zeros(len(shapes), np.uint8)
    fault[shapely.is_missing(shapes)] = BLANK
    out = np.full(len(shapes), None, dtype=object)
    there = np.flatnonzero(fault == 0)
    xy, index = shapely.get_coordinates(shapes[there], return_index=True)
    if not len(xy):
        out[there] = shapes[there]
        return out, fault
    lonlat, wrong = convert_positions(xy, known)
    worst = np.zeros(len(there), np.uint8)
    np.maximum.at(worst, index, wrong)
    fault[there] = worst
    lonlat[wrong > 0] = 0.0  # shapes with such a vertex are left out below
    moved = shapely.set_coordinates(shapes[there].copy(), lonlat)
    out[there[worst == 0]] = moved[worst == 0]
    return out, fault


def parse_shapes(
    cells: pa.StringArray,
) -> tuple[NDArray[np.object_], IssueCodes, NDArray[np.int64]]:
    """Return shapes written as WKT, EWKT, GeoJSON or hexadecimal (E)WKB, with their SRID or 0."""
    count = len(cells)
    out = np.full(count, None, dtype=object)
    fault = np.zeros(count, np.uint8)
    srid = np.zeros(count, np.int64)
    fault[np.asarray(cells.is_null())] = BLANK
    texts = np.array(cells.to_pylist(), dtype=object)
    stated = pc.extract_regex(cells, r"^(?i:SRID=(?P<srid>[0-9]{1,7})\s*[;,]\s*)(?P<rest>(?s:.*))$")
    has = np.asarray(stated.is_valid())
    if has.any():
        srid[has] = np.array(stated.field("srid").filter(pa.array(has)).to_pylist(), dtype=np.int64)
        texts[has] = np.array(stated.field("rest").filter(pa.array(has)).to_pylist(), dtype=object)
    kinds = np.array([detect_notation(text) for text in texts])
    for kind, read in (("json", parse_geojson_texts), ("hex", parse_hex_wkb), ("wkt", parse_wkt)):
        chosen = kinds == kind
        if chosen.any():
            out[chosen] = read(texts[chosen].tolist())
    inner = shapely.get_srid(out)
    srid = np.where((srid == 0) & (inner > 0), inner, srid)
    out = shapely.force_2d(out)
    finite = np.isfinite(shapely.bounds(out)).all(axis=1)
    bad = (fault == 0) & ~finite
    out[bad] = None
    fault[bad] = BAD_GEOMETRY
    return out, fault, srid


def detect_notation(text: str | None) -> str:
    if text is None:
        return ""
    if text.startswith("{"):
        return "json"
    return "hex" if text[:2] in ("00", "01") and len(text) >= 42 else "wkt"


@dataclass(frozen=True)
class CoordinateSystem:
    datum: str | None
    transformer: Transformer | None
    area: tuple[float, float, float, float] | None
    degrees: bool


@lru_cache(maxsize=64)
def parse_system(system: str) -> CoordinateSystem:
    plain = system.strip()
    if plain.lower() in DATUMS:
        return CoordinateSystem(plain.lower(), None, None, degrees=True)
    found = _CODE.fullmatch(plain)
    try:
        crs = CRS.from_epsg(int(found[1])) if found else None
        if crs is None and crses.format_crs_title(plain) != plain:  # the definition in a file
            crs = CRS.from_wkt(plain)
    except CRSError:
        crs = None
    if crs is None:
        raise Invalid(
            f"There is no coordinate system {system[:40]!r}; use EPSG:n, {', '.join(DATUMS)}.",
            code="unknown-crs",
        )
    if not (crs.is_geographic or crs.is_projected):
        raise Invalid(f"{system!r} is no system of places on the ground.", code="unknown-crs")
    bounds = crs.area_of_use.bounds if crs.area_of_use else None
    if crs.to_epsg() in (4326, 4490):
        # PROJ knows only a null operation between the two.
        return CoordinateSystem("wgs84", None, None, degrees=True)
    transformer = Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    return CoordinateSystem(None, transformer, bounds, degrees=False)


def convert_positions(xy: Floats, system: CoordinateSystem) -> tuple[Floats, IssueCodes]:
    """Return longitudes and latitudes, and what is wrong; NaN there."""
    fault = np.zeros(len(xy), np.uint8)
    if system.transformer is not None:
        x, y = system.transformer.transform(xy[:, 0], xy[:, 1])
        out = np.stack([np.asarray(x, np.float64), np.asarray(y, np.float64)], axis=1)
        fault[~np.isfinite(out).all(axis=1)] = OUTSIDE_CRS
        if system.area is not None:
            fault[(fault == 0) & ~is_inside_area(out, system.area)] = OUTSIDE_CRS
    else:
        out = xy.copy()
    with np.errstate(invalid="ignore"):
        off = (np.abs(out[:, 0]) > 180) | (np.abs(out[:, 1]) > 90) | ~np.isfinite(out).all(axis=1)
    fault[off & (fault == 0)] = OUT_OF_RANGE
    good = fault == 0
    if system.datum in ("gcj02", "bd09") and good.any():
        out[good] = to_wgs84(out[good], system.datum)
    out[~good] = np.nan
    return out, fault


def is_inside_area(lonlat: Floats, area: tuple[float, float, float, float]) -> NDArray[np.bool_]:
    west, south, east, north = area
    lon, lat = lonlat[:, 0], lonlat[:, 1]
    if west <= east:
        across = (lon >= west - _MARGIN_DEG) & (lon <= east + _MARGIN_DEG)
    else:  # over the date line
        across = (lon >= west - _MARGIN_DEG) | (lon <= east + _MARGIN_DEG)
    return across & (lat >= south - _MARGIN_DEG) & (lat <= north + _MARGIN_DEG)


def _build_locations(xy: Floats, fault: IssueCodes, order: Order | None = None) -> Locations:
    if fault.any():
        xy = xy.copy()
        xy[fault != 0] = np.nan
    return Locations(xy, fault, order)


def _to_doubles(column: pa.Array) -> Floats:
    values = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return np.array(values, dtype=np.float64)


def is_not_finite(text: str) -> bool:
    return text.strip().lstrip("+-").lower() in ("nan", "inf", "infinity", "∞", "#num!", "#div/0!")

"""What gives the place of a row: a geometry of the file, a pair of columns, or one cell; and its CRS.

Degrees win over metres unless a projected CRS is named. Refuses coordinates that are no degrees when
nothing says of which CRS they are.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray

from app.errors import Invalid, Issue
from app.ingest.columns.field_specs import RecordSpec
from app.ingest.columns.headings import find_datum, parse_heading
from app.ingest.readers.opening import Batch, DetectedFormat
from app.ingest.values.coordinates import Order, parse_columns
from app.ingest.values.crs import format_crs_title, parse_crs

Mode = Literal["none", "file", "pair", "cell"]


@dataclass(frozen=True)
class LocationSource:
    """What gives the geometry."""

    mode: Mode
    columns: tuple[str, ...] = ()
    crs: str = "EPSG:4326"
    order: Order | None = None
    """Of two numbers in one cell, as the sender states it or the heading tells it."""
    datum_column: str | None = None
    """Column that says of each row in which datum its coordinates are."""

    def describe(self) -> dict[str, Any]:
        """Return what the report says about it."""
        told = {"from": self.mode, "columns": list(self.columns), "crs": format_crs_title(self.crs)}
        return told if self.datum_column is None else told | {"datum_column": self.datum_column}


class LocationColumn(NamedTuple):
    """A column of coordinates, with the datum its heading names and the order the sender states."""

    name: str
    datum: str | None = None
    order: str | None = None


Words = tuple[str, str, str]


def choose_location(
    kind: RecordSpec,
    found: Mapping[str, LocationColumn],
    told: DetectedFormat | None,
    stated: str | None,
    sample: Batch | None,
) -> tuple[LocationSource, dict[str, str], list[Words]]:
    """Return what gives the geometry, why other columns do not, and what to tell of it.

    Raises
    ------
    Invalid
        ``unknown-crs``; ``crs-needed`` when coordinates are in metres and nothing says of what;
        ``fields-missing`` when a layer among several has shapes of another type.
    """
    if not kind.shapes:
        return LocationSource("none"), {c.name: "this kind has no geometry" for c in found.values()}, []
    crs = None if stated is None else checked_crs(stated)
    told_of = found.get("datum")
    found = {name: column for name, column in found.items() if name != "datum"}
    shaped = told is not None and told.geometry and _has_shapes(sample)
    if shaped and told is not None and len(told.layers) > 1:
        _refuse_other_shapes(kind, told, sample)
    place = _first(found, told if shaped else None, crs)
    if place.mode == "none" and told is not None and told.geometry:
        place = _first({}, told, crs)
    notes: list[Words] = []
    if place.mode != "none" and (place.crs == "" or _doubtful(place, found, crs)):
        assumed = _assumed(place, sample)
        place = replace(place, crs=place.crs or assumed)
        if place.mode == "file":
            notes.append(_ASSUMED)
    read = " and ".join(place.columns) or "the geometry of the file"
    unused = {
        column.name: f"the place is read from {read}" for column in found.values() if column.name not in place.columns
    }
    if told_of is not None and (crs is not None or _projected(place.crs)):
        unused[told_of.name] = f"the coordinates are {format_crs_title(place.crs)}"
    elif told_of is not None and place.mode != "none":
        place = replace(place, datum_column=told_of.name)
    return place, unused, notes


def _refuse_other_shapes(kind: RecordSpec, told: DetectedFormat, sample: Batch | None) -> None:
    """Refuse a layer of other shapes where the file has more layers: one of those is meant.

    Raises
    ------
    Invalid
        ``fields-missing``; the caller looks at the other layers.
    """
    if sample is None or sample.geometry is None:
        return
    kinds = {shape.geom_type for shape in sample.geometry if shape is not None}
    if any(name in one for one in kinds for name in (*kind.shapes, "Collection")):
        return
    message = (
        f"layer {told.layer!r} holds {', '.join(sorted(kinds))}, and this kind is a "
        f"{' or '.join(kind.shapes)}; the file has {', '.join(told.layers)}"
    )
    raise Invalid(
        f"No place can be read: {message}.",
        code="fields-missing",
        issues=[Issue("/layer", "fields-missing", message)],
    )


def _has_shapes(sample: Batch | None) -> bool:
    """Tell whether the sample has any geometry; a file may have the column and nothing in it."""
    if sample is None or sample.geometry is None:
        return sample is None
    return bool((~shapely.is_missing(sample.geometry)).any())


_ASSUMED: Final = (
    "crs-assumed",
    "the file does not say in which CRS its geometry is; it is read as longitude and latitude (WGS 84)",
    "文件未说明坐标系，按 WGS 84 经纬度读取",
)


def checked_crs(text: str) -> str:
    """Return a CRS or datum as the rest of the module names it.

    >>> checked_crs("GCJ-02"), checked_crs("epsg:2326"), checked_crs("4326")
    ('gcj02', 'EPSG:2326', 'EPSG:4326')

    Raises
    ------
    Invalid
        ``unknown-crs``.
    """
    bare = re.sub(r"[\s_-]", "", text).lower()
    if bare in ("gcj02", "bd09", "cgcs2000", "wgs84"):
        return bare
    try:
        crs = pyproj.CRS.from_user_input(int(bare) if bare.isdigit() else text)
    except (pyproj.exceptions.CRSError, ValueError):
        message = f"there is no CRS {text[:60]!r}; say EPSG:4547, gcj02, bd09 ..."
        fault = Issue("/crs", "unknown-crs", message)
        raise Invalid(f"The CRS is not known: {message}.", code="unknown-crs", issues=[fault]) from None
    return parse_crs(crs) or text


def parse_datum(text: str) -> str | None:
    """Return the datum or CRS that a cell names; "" when it names none, None when it is not known.

    >>> [parse_datum(text) for text in ("火星坐标系（GCJ-02）", "EPSG:4490", "经纬度", "地方坐标系")]
    ['gcj02', 'EPSG:4490', '', None]
    """
    apart = parse_heading(text)
    if found := apart.datum or find_datum(apart.name):
        return found
    if apart.name in _NOT_SAID:
        return ""
    number = _EPSG.fullmatch(text.strip())
    try:
        return checked_crs(number[1]) if number else None
    except Invalid:
        return None


_EPSG: Final = re.compile(r"(?:EPSG\s*[:：]\s*)?([0-9]{4,6})", re.IGNORECASE)
_NOT_SAID: Final = frozenset({"经纬度", "经纬度坐标", "地理坐标", "地理坐标系", "大地坐标", "度"})
"""What says that coordinates are degrees, and not of which datum."""


def _projected(crs: str | None) -> bool:
    return crs is not None and crs.startswith("EPSG:") and pyproj.CRS.from_user_input(crs).is_projected


def _first(found: Mapping[str, LocationColumn], told: DetectedFormat | None, crs: str | None) -> LocationSource:
    """Return the surest source of a place; a CRS of "" is to be found out."""
    if told is not None and told.geometry:
        return LocationSource("file", (), crs or told.crs or "")
    pairs = (("lon", "lat"), ("x", "y"), ("easting", "northing"))
    for x, y in reversed(pairs) if _projected(crs) else pairs:
        if x in found and y in found:
            datum = crs or _common(found[x], found[y])
            return LocationSource("pair", (found[x].name, found[y].name), datum or _usual(x))
    for name in ("geometry", "position"):
        if name in found:
            column = found[name]
            datum = crs or column.datum or _usual("lon")
            return LocationSource("cell", (column.name,), datum, _order(column))
    return LocationSource("none")


def _common(x: LocationColumn, y: LocationColumn) -> str | None:
    """Return the datum that two headings name.

    Raises
    ------
    Invalid
        ``ambiguous-columns`` when they name two.
    """
    if x.datum and y.datum and x.datum != y.datum:
        message = f"{x.name!r} is {format_crs_title(x.datum)} and {y.name!r} is {format_crs_title(y.datum)}"
        raise Invalid(
            f"Columns {message}: say in the mapping which is meant.",
            code="ambiguous-columns",
            issues=[Issue(f"/mapping/{y.name}", "ambiguous-columns", message)],
        )
    return x.datum or y.datum


def _order(column: LocationColumn) -> Order | None:
    """Return the order of two numbers: as the sender states it, else as the heading tells it."""
    name = column.order or parse_heading(column.name).name
    if any(word in name for word in ("经纬", "lonlat", "lnglat", "longlat")):
        return "lonlat"
    return "latlon" if any(word in name for word in ("纬经", "latl", "纬度经度")) else None


def _usual(name: str) -> str:
    return "EPSG:4326" if name == "lon" else ""


def _doubtful(place: LocationSource, found: Mapping[str, LocationColumn], crs: str | None) -> bool:
    """Tell a datum that stands beside x and y, which may be metres of its grid."""
    metres = {found[name].name for name in ("x", "easting") if name in found}
    return crs is None and place.mode == "pair" and place.columns[0] in metres


def _assumed(place: LocationSource, sample: Batch | None) -> str:
    """Return lon/lat when the sampled numbers can be degrees.

    Raises
    ------
    Invalid
        ``crs-needed`` when they cannot.
    """
    if sample is None:
        return "EPSG:4326"
    if place.mode == "file":
        xy = shapely.get_coordinates(np.array([] if sample.geometry is None else sample.geometry))
    else:
        xy = parse_columns(*(sample.columns[column] for column in place.columns)).xy
    xy = xy[np.isfinite(xy).all(axis=1)]
    if not len(xy) or float(np.mean((np.abs(xy) <= 180).all(axis=1))) > 0.5:
        return "EPSG:4326"
    what = " and ".join(place.columns) or "the numbers of the geometry"
    message = f"{what} are no degrees, and nothing says of which CRS they are metres"
    fault = Issue("/crs", "crs-needed", message)
    raise Invalid(
        f"A CRS is needed: {message}{describe_metres(xy)}. Say crs=EPSG:...",
        code="crs-needed",
        issues=[fault],
    )


def describe_metres(xy: NDArray[np.float64]) -> str:
    """Return which systems of China numbers look like; nothing is read by it.

    Examples
    --------
    >>> describe_metres(np.array([[38430966.9, 3898808.8]]))
    '; they look like Gauss-Kruger, zone 38 of 3 degrees (EPSG:4526 in CGCS2000)'
    """
    if not len(xy):
        return ""
    # Every limit below is a multiple of 100 km.
    x, y = (float(middle // 1e5) * 1e5 + 5e4 for middle in np.median(xy, axis=0))
    return _metres_at(x, y)


@lru_cache(maxsize=1024)
def _metres_at(x: float, y: float) -> str:
    turned = _NORTH[0] < x < _NORTH[1] and not _NORTH[0] < y < _NORTH[1]
    x, y = (y, x) if turned else (x, y)
    zone, told = int(x // 1e6), ", with the northing first" if turned else ""
    if not _NORTH[0] < y < _NORTH[1]:
        return ""
    if 8.1e6 < x < 15.1e6:
        return f"; they look like Web Mercator (EPSG:3857){told}"
    for narrow, first, last, code in ((3, 25, 45, 4513), (6, 13, 23, 4491)):
        if first <= zone <= last:
            number = code + zone - first
            return f"; they look like Gauss-Kruger, zone {zone} of {narrow} degrees (EPSG:{number} in CGCS2000){told}"
    if 1e5 < x < 9e5:
        return (
            "; they look like Gauss-Kruger without a zone number (in CGCS2000 one of EPSG:4534, "
            f"75°E, to EPSG:4554, 135°E: ask for the central meridian){told}"
        )
    return ""


_NORTH: Final = (1.5e6, 7.2e6)
"""Northings of China in metres, also those of Web Mercator."""

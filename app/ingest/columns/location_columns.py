"""The columns, or the geometry of the file, that give the locations of its rows, and their CRS.

Degrees come before metres unless a projected CRS is stated. Coordinates that cannot be degrees are an error if nothing
says of which CRS they are.
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
from app.messages import Message

Mode = Literal["none", "file", "pair", "cell"]


@dataclass(frozen=True)
class LocationSource:
    """Where the geometry of a row comes from."""

    mode: Mode
    columns: tuple[str, ...] = ()
    crs: str = "EPSG:4326"
    order: Order | None = None
    """Order of two numbers in one cell, as the sender or the heading states it."""
    datum_column: str | None = None
    """Column that names the datum of the coordinates of each row."""

    def describe(self) -> dict[str, Any]:
        """Return the location source as the report shows it."""
        document = {"from": self.mode, "columns": list(self.columns), "crs": format_crs_title(self.crs)}
        return document if self.datum_column is None else document | {"datum_column": self.datum_column}


class LocationColumn(NamedTuple):
    """A column of coordinates, with the datum of its heading and the order that the sender states."""

    name: str
    datum: str | None = None
    order: str | None = None


class LocationChoice(NamedTuple):
    """The location source of a file, and why columns of coordinates are not used."""

    source: LocationSource
    unused: dict[str, Message]
    is_crs_assumed: bool = False
    """Whether the file does not say in which CRS its geometry is."""


def choose_location(
    spec: RecordSpec,
    columns: Mapping[str, LocationColumn],
    detected: DetectedFormat | None,
    stated_crs: str | None,
    sample: Batch | None,
) -> LocationChoice:
    """Return where the locations come from.

    Parameters
    ----------
    columns : mapping
        Field (``lon``, ``x``, ``geometry``, ``datum`` ...) to its column.

    Raises
    ------
    Invalid
        ``unknown-crs``; ``crs-needed`` if coordinates are in metres of an unknown CRS; ``fields-missing`` if a layer
        among several has shapes of another type.
    """
    if not spec.shapes:
        return LocationChoice(
            LocationSource("none"), {column.name: Message("this kind has no geometry") for column in columns.values()}
        )
    crs = None if stated_crs is None else parse_stated_crs(stated_crs)
    datum_column = columns.get("datum")
    coordinates = {name: column for name, column in columns.items() if name != "datum"}
    geometry_of_file = detected if detected is not None and detected.geometry else None
    if geometry_of_file is not None and len(geometry_of_file.layers) > 1:
        _check_layer_shapes(spec, geometry_of_file, sample)
    source = _choose_source(coordinates, geometry_of_file if _has_shapes(sample) else None, crs)
    if source.mode == "none" and geometry_of_file is not None:
        source = _choose_source({}, geometry_of_file, crs)
    is_crs_assumed = False
    if source.mode != "none" and (source.crs == "" or _may_be_grid(source, coordinates, crs)):
        lonlat = _check_degrees(source, sample)
        source = replace(source, crs=source.crs or lonlat)
        is_crs_assumed = source.mode == "file"
    used = ", ".join(source.columns) or Message("the geometry of the file")
    unused = {
        column.name: Message("the location comes from {columns}", columns=used)
        for column in coordinates.values()
        if column.name not in source.columns
    }
    if datum_column is not None and (crs is not None or _is_projected(source.crs)):
        unused[datum_column.name] = Message("the coordinates are {crs}", crs=format_crs_title(source.crs))
    elif datum_column is not None and source.mode != "none":
        source = replace(source, datum_column=datum_column.name)
    return LocationChoice(source, unused, is_crs_assumed)


def _check_layer_shapes(spec: RecordSpec, detected: DetectedFormat, sample: Batch | None) -> None:
    """Raise ``fields-missing`` if a layer has shapes of another type, so that the caller tries the other layers."""
    if sample is None or sample.geometry is None:
        return
    types = {shape.geom_type for shape in sample.geometry if shape is not None}
    if any(name in geometry_type for geometry_type in types for name in (*spec.shapes, "Collection")):
        return
    message = Message(
        "layer {layer!r} has geometries of type {types}, and this kind needs {needed}. Layers of the file: {layers}",
        layer=detected.layer,
        types=", ".join(sorted(types)),
        needed=" / ".join(spec.shapes),
        layers=", ".join(detected.layers),
    )
    raise Invalid(
        Message("The file has no locations: {reason}.", reason=message),
        code="fields-missing",
        issues=[Issue("/layer", "fields-missing", message)],
    )


def _has_shapes(sample: Batch | None) -> bool:
    """Return whether the sample has any geometry: a file may have a geometry column without values."""
    if sample is None or sample.geometry is None:
        return sample is None
    return bool((~shapely.is_missing(sample.geometry)).any())


def parse_stated_crs(text: str) -> str:
    """Return the short name of the CRS or datum that a sender states.

    >>> parse_stated_crs("GCJ-02"), parse_stated_crs("epsg:2326"), parse_stated_crs("4326")
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
        message = Message("unknown CRS {crs!r}. Write EPSG:4547, gcj02, bd09 or the like", crs=text[:60])
        raise Invalid(
            Message("The CRS is not valid: {reason}.", reason=message),
            code="unknown-crs",
            issues=[Issue("/crs", "unknown-crs", message)],
        ) from None
    return parse_crs(crs) or text


def parse_datum(text: str) -> str | None:
    """Return the datum or CRS that a cell names; "": degrees of no named datum; None: unknown.

    >>> [parse_datum(text) for text in ("火星坐标系（GCJ-02）", "EPSG:4490", "经纬度", "地方坐标系")]
    ['gcj02', 'EPSG:4490', '', None]
    """
    heading = parse_heading(text)
    if datum := heading.datum or find_datum(heading.name):
        return datum
    if heading.name in _DEGREES:
        return ""
    number = _EPSG.fullmatch(text.strip())
    try:
        return parse_stated_crs(number[1]) if number else None
    except Invalid:
        return None


_EPSG: Final = re.compile(r"(?:EPSG\s*[:：]\s*)?([0-9]{4,6})", re.IGNORECASE)
_DEGREES: Final = frozenset({"经纬度", "经纬度坐标", "地理坐标", "地理坐标系", "大地坐标", "度"})
"""Words for coordinates in degrees that name no datum."""


def _is_projected(crs: str | None) -> bool:
    return crs is not None and crs.startswith("EPSG:") and pyproj.CRS.from_user_input(crs).is_projected


def _choose_source(
    columns: Mapping[str, LocationColumn], detected: DetectedFormat | None, crs: str | None
) -> LocationSource:
    """Return the most reliable source of locations; a CRS of "" is not known yet."""
    if detected is not None:
        return LocationSource("file", (), crs or detected.crs or "")
    pairs = (("lon", "lat"), ("x", "y"), ("easting", "northing"))
    for x, y in reversed(pairs) if _is_projected(crs) else pairs:
        if x in columns and y in columns:
            datum = crs or _find_common_datum(columns[x], columns[y])
            return LocationSource(
                "pair", (columns[x].name, columns[y].name), datum or ("EPSG:4326" if x == "lon" else "")
            )
    for name in ("geometry", "position"):
        if name in columns:
            column = columns[name]
            return LocationSource("cell", (column.name,), crs or column.datum or "EPSG:4326", _find_order(column))
    return LocationSource("none")


def _find_common_datum(x: LocationColumn, y: LocationColumn) -> str | None:
    """Return the datum that two headings name; raise ``ambiguous-columns`` if they name two."""
    if x.datum and y.datum and x.datum != y.datum:
        message = Message(
            "{x!r} is {x_crs} and {y!r} is {y_crs}",
            x=x.name,
            x_crs=format_crs_title(x.datum),
            y=y.name,
            y_crs=format_crs_title(y.datum),
        )
        raise Invalid(
            Message("The columns do not fit together: {reason}. Choose the columns in the mapping.", reason=message),
            code="ambiguous-columns",
            issues=[Issue(f"/mapping/{y.name}", "ambiguous-columns", message)],
        )
    return x.datum or y.datum


def _find_order(column: LocationColumn) -> Order | None:
    """Return the order of two numbers: as the sender states it, else as the heading does."""
    name = column.order or parse_heading(column.name).name
    if any(word in name for word in ("经纬", "lonlat", "lnglat", "longlat")):
        return "lonlat"
    return "latlon" if any(word in name for word in ("纬经", "latl", "纬度经度")) else None


def _may_be_grid(source: LocationSource, columns: Mapping[str, LocationColumn], crs: str | None) -> bool:
    """Return whether a datum is named next to x and y, which may be metres of its grid."""
    grid = {columns[name].name for name in ("x", "easting") if name in columns}
    return crs is None and source.mode == "pair" and source.columns[0] in grid


def _check_degrees(source: LocationSource, sample: Batch | None) -> str:
    """Return the CRS of degrees; raise ``crs-needed`` if the sampled numbers cannot be degrees."""
    if sample is None:
        return "EPSG:4326"
    if source.mode == "file":
        xy = shapely.get_coordinates(np.array([] if sample.geometry is None else sample.geometry))
    else:
        xy = parse_columns(*(sample.columns[column] for column in source.columns)).xy
    xy = xy[np.isfinite(xy).all(axis=1)]
    if not len(xy) or float(np.mean((np.abs(xy) <= 180).all(axis=1))) > 0.5:
        return "EPSG:4326"
    message = Message(
        "the numbers of {columns} are not degrees, and their CRS is not stated",
        columns=", ".join(source.columns) or Message("the geometry of the file"),
    )
    detail = Message("The CRS is missing: {reason}. State it, such as crs=EPSG:4547.", reason=message)
    if system := describe_metres(xy):
        detail = Message("{hint} {system}", hint=detail, system=system)
    raise Invalid(detail, code="crs-needed", issues=[Issue("/crs", "crs-needed", message)])


def describe_metres(xy: NDArray[np.float64]) -> Message | None:
    """Return of which Chinese system numbers look like metres; no location is converted by it.

    Examples
    --------
    >>> describe_metres(np.array([[38430966.9, 3898808.8]]))
    'The numbers look like Gauss-Kruger, zone 38 of 3 degrees (EPSG:4526 in CGCS2000).'
    """
    if not len(xy):
        return None
    # The median is rounded for the cache: every limit below is a multiple of 100 km.
    x, y = (float(middle // 1e5) * 1e5 + 5e4 for middle in np.median(xy, axis=0))
    return _describe_metres_at(x, y)


@lru_cache(maxsize=1024)
def _describe_metres_at(x: float, y: float) -> Message | None:
    is_swapped = _NORTHINGS[0] < x < _NORTHINGS[1] and not _NORTHINGS[0] < y < _NORTHINGS[1]
    x, y = (y, x) if is_swapped else (x, y)
    if not _NORTHINGS[0] < y < _NORTHINGS[1]:
        return None
    system = _find_system(x)
    if system is None:
        return None
    if is_swapped:
        return Message("The numbers look like {system}, with the northing first.", system=system)
    return Message("The numbers look like {system}.", system=system)


def _find_system(easting: float) -> Message | None:
    if 8.1e6 < easting < 15.1e6:
        return Message("Web Mercator (EPSG:3857)")
    zone = int(easting // 1e6)
    for degrees, first, last, code in ((3, 25, 45, 4513), (6, 13, 23, 4491)):
        if first <= zone <= last:
            return Message(
                "Gauss-Kruger, zone {zone} of {degrees} degrees (EPSG:{code} in CGCS2000)",
                zone=zone,
                degrees=degrees,
                code=code + zone - first,
            )
    if 1e5 < easting < 9e5:
        return Message(
            "Gauss-Kruger without a zone number (EPSG:4534, 75°E, to EPSG:4554, 135°E, in CGCS2000: ask for the central meridian)"
        )
    return None


_NORTHINGS: Final = (1.5e6, 7.2e6)
"""Northings of China in metres, also those of Web Mercator."""

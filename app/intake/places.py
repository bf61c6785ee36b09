"""Where a row lies: a geometry of the file, a pair of columns, or one cell; into lon/lat of WGS 84.

Promises the type of geometry the kind has, valid, finite, two-dimensional, to nine decimals as the
registry keeps it; anything else is a fault with its reason. Nothing is moved silently.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyproj
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from app.errors import Fault, Invalid
from app.formats.source import Batch, Detected
from app.geo import datum as datums
from app.geo.arrays import Bools, Floats
from app.intake import cells, ewkb
from app.intake.cells import Unreadable
from app.intake.targets import Kind
from app.schemas.geojson import DECIMALS

Mode = Literal["none", "file", "pair", "cell"]
_LONLAT: Final = frozenset({"epsg:4326", "epsg:4490", "wgs84", "cgcs2000", "crs84", "ogc:crs84"})


@dataclass(frozen=True)
class Place:
    """What gives the geometry."""

    mode: Mode
    columns: tuple[str, ...] = ()
    crs: str = "EPSG:4326"

    def view(self) -> dict[str, Any]:
        """Return what the report says about it."""
        return {"from": self.mode, "columns": list(self.columns), "crs": self.crs}


class Column(NamedTuple):
    """A column of coordinates, with the datum its heading names."""

    name: str
    datum: str | None = None


Words = tuple[str, str, str]


def chosen(
    kind: Kind,
    found: Mapping[str, Column],
    told: Detected | None,
    stated: str | None,
    sample: Batch | None,
) -> tuple[Place, dict[str, str], list[Words]]:
    """Return what gives the geometry, why other columns do not, and what to tell of it.

    Raises
    ------
    Invalid
        ``unknown-crs``, or ``crs-needed`` when coordinates are in metres and nothing says of what.
    """
    if not kind.shapes:
        return Place("none"), {c.name: "this kind has no geometry" for c in found.values()}, []
    crs = None if stated is None else checked_crs(stated)
    place = _first(found, told, crs)
    notes: list[Words] = []
    if place.mode != "none" and place.crs == "":
        place = Place(place.mode, place.columns, _assumed(place, sample))
        if place.mode == "file":
            notes.append(_ASSUMED)
    read = " and ".join(place.columns) or "the geometry of the file"
    unused = {
        column.name: f"the place is read from {read}"
        for column in found.values()
        if column.name not in place.columns
    }
    return place, unused, notes


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
        fault = Fault("/crs", "unknown-crs", message)
        raise Invalid(
            f"The CRS is not known: {message}.", code="unknown-crs", faults=[fault]
        ) from None
    code = crs.to_epsg()
    return f"EPSG:{code}" if code else text


def _projected(crs: str | None) -> bool:
    return (
        crs is not None and crs.startswith("EPSG:") and pyproj.CRS.from_user_input(crs).is_projected
    )


def _first(found: Mapping[str, Column], told: Detected | None, crs: str | None) -> Place:
    """Return the surest source of a place; a CRS of "" is to be found out."""
    if told is not None and told.geometry:
        return Place("file", (), crs or told.crs or "")
    pairs = (("lon", "lat"), ("x", "y"), ("easting", "northing"))
    for x, y in reversed(pairs) if _projected(crs) else pairs:
        if x in found and y in found:
            datum = crs or found[x].datum or found[y].datum
            return Place("pair", (found[x].name, found[y].name), datum or _usual(x))
    for name in ("geometry", "position"):
        if name in found:
            column = found[name]
            return Place("cell", (column.name,), crs or column.datum or _usual("lon"))
    return Place("none")


def _usual(name: str) -> str:
    return "EPSG:4326" if name == "lon" else ""


def _assumed(place: Place, sample: Batch | None) -> str:
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
        xy = np.column_stack([_floats(sample.columns[column]) for column in place.columns])
    xy = xy[np.isfinite(xy).all(axis=1)]
    if not len(xy) or float(np.mean((np.abs(xy) <= 180).all(axis=1))) > 0.5:
        return "EPSG:4326"
    of = " and ".join(place.columns) or "the geometry"
    message = f"{of} are no degrees, and nothing says of which CRS they are metres"
    fault = Fault("/crs", "crs-needed", message)
    raise Invalid(
        f"A CRS is needed: {message}. Say crs=EPSG:...", code="crs-needed", faults=[fault]
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


@dataclass(eq=False)
class Located:
    """Places of the rows of a batch: points as numbers, anything else as shapes."""

    good: Bools
    xy: Floats = field(default_factory=lambda: np.empty((0, 2)))
    """lon, lat of points, shape (n, 2); NaN where there is none."""
    shapes: NDArray[np.object_] | None = None
    faults: list[PlaceFault] = field(default_factory=list)
    swapped: int = 0

    def shape(self, index: int) -> BaseGeometry:
        """Return the geometry of one good row."""
        if self.shapes is not None:
            shape: BaseGeometry = self.shapes[index]
            return shape
        return shapely.Point(self.xy[index])

    def refuse(self, index: int, code: str, *words: str | None, value: str | None = None) -> None:
        """Note what is wrong with a row."""
        english, chinese, hint = (*words, None, None)[:3]
        self.good[index] = False
        self.faults.append(PlaceFault(index, code, english or "", chinese or "", hint, value))


def located(place: Place, kind: Kind, batch: Batch) -> Located:
    """Return where the rows of a batch lie."""
    count = len(batch.row)
    if place.mode == "file":
        shapes = batch.geometry if batch.geometry is not None else np.full(count, None)
        return _of_shapes(place, kind, shapes)
    if place.mode == "pair":
        return _of_pair(place, *(batch.columns[column] for column in place.columns))
    if place.mode == "cell":
        return _of_cells(place, kind, batch.columns[place.columns[0]])
    return Located(np.ones(count, dtype=bool))


def _of_pair(place: Place, x: Any, y: Any) -> Located:
    numbers = [_floats(array) for array in (x, y)]
    found = Located(np.ones(len(x), dtype=bool), np.column_stack(numbers))
    for index in np.nonzero(np.isnan(found.xy).any(axis=1))[0]:
        cells = (x[int(index)].as_py(), y[int(index)].as_py())
        _refuse_unread(found, int(index), cells)
    _to_lonlat(place, found)
    _check_points(found)
    return found


def _refuse_unread(found: Located, index: int, cells: tuple[str | None, str | None]) -> None:
    if None in cells:
        found.refuse(index, "missing-coordinates", "a coordinate is missing", "缺少坐标")
        return
    told = ", ".join(str(cell) for cell in cells)
    found.refuse(
        index, "not-a-coordinate", "the coordinates cannot be read", "坐标无法识别",
        "degrees such as 113.2418, or degrees, minutes and seconds", value=told,
    )  # fmt: skip


def _floats(array: Any) -> Floats:
    simple = pc.match_substring_regex(array, r"^-?[0-9]+(\.[0-9]+)?$")
    values: Floats = np.array(
        pc.cast(pc.if_else(simple, array, None), pa.float64()).to_numpy(zero_copy_only=False)
    )
    for index in np.nonzero(~pc.fill_null(simple, True).to_numpy(zero_copy_only=False))[0]:
        try:
            values[index] = cells.number(array[int(index)].as_py(), "lon_deg")
        except Unreadable:
            values[index] = np.nan
    return values


def _to_lonlat(place: Place, found: Located) -> None:
    """Bring points of any CRS or datum to lon/lat of WGS 84."""
    datum = place.crs.lower().replace("-", "")
    if datum in ("gcj02", "bd09"):
        inside = found.good & (np.abs(found.xy) <= (180.0, 90.0)).all(axis=1)
        found.xy[inside] = datums.to_wgs84(found.xy[inside], datum)
    elif datum not in _LONLAT:
        transform = pyproj.Transformer.from_crs(place.crs, "EPSG:4326", always_xy=True)
        lon, lat = transform.transform(found.xy[:, 0], found.xy[:, 1])
        found.xy = np.column_stack([lon, lat])
    found.xy = np.round(found.xy, DECIMALS)


def _check_points(found: Located) -> None:
    lon, lat = found.xy[:, 0], found.xy[:, 1]
    wrong = found.good & ~((np.abs(lon) <= 180) & (np.abs(lat) <= 90))
    swapped = wrong & (np.abs(lat) <= 180) & (np.abs(lon) <= 90)
    zero = found.good & (lon == 0) & (lat == 0)
    for index in np.nonzero(wrong)[0]:
        _refuse_range(found, int(index), bool(swapped[index]))
    for index in np.nonzero(zero)[0]:
        found.refuse(
            int(index), "zero-coordinates", "the place is 0, 0: no place was entered",
            "坐标为 0, 0：未填写位置", value="0, 0",
        )  # fmt: skip
    found.swapped += int(swapped.sum())


def _refuse_range(found: Located, index: int, swapped: bool) -> None:
    lon, lat = found.xy[index]
    told = f"{lon:g}, {lat:g}"
    if swapped:
        found.refuse(
            index, "swapped-coordinates", f"{told} is no longitude and latitude; swapped it is one",
            f"{told} 不是经度、纬度；对调后才成立", "map the two columns the other way round", value=told,
        )  # fmt: skip
    else:
        found.refuse(
            index, "geometry-out-of-range", f"{told} is no longitude and latitude in degrees",
            f"{told} 不是以度为单位的经纬度", "say in which CRS the coordinates are", value=told,
        )  # fmt: skip


def _of_cells(place: Place, kind: Kind, array: Any) -> Located:
    shapes = np.full(len(array), None)
    unread = []
    for index, text in enumerate(array.to_pylist()):
        if text is None:
            continue
        try:
            shapes[index] = (
                shapely.from_geojson(text) if text.lstrip()[:1] == "{" else shapely.from_wkt(text)
            )
        except shapely.GEOSException:
            unread.append((index, text))
    found = _of_shapes(place, kind, shapes)
    told = dict(unread)
    found.faults = [fault for fault in found.faults if fault.index not in told]
    for index, text in unread:
        found.refuse(
            index, "not-a-geometry", "the geometry cannot be read: WKT or GeoJSON is needed",
            "几何无法识别，应为 WKT 或 GeoJSON", value=text[:80],
        )  # fmt: skip
    return found


def _of_shapes(place: Place, kind: Kind, shapes: NDArray[np.object_]) -> Located:
    found = Located(np.ones(len(shapes), dtype=bool))
    kept = np.array([_plain_shape(shape, kind) for shape in shapes], dtype=np.object_)
    for place_in_batch, shape in enumerate(kept):
        if shape is None or shape.is_empty:
            found.refuse(place_in_batch, "geometry-missing", "there is no geometry", "缺少几何图形")
        elif shape.geom_type not in kind.shapes:
            needed = " or ".join(kind.shapes)
            found.refuse(
                place_in_batch, "geometry-type", f"the geometry must be a {needed}, not a {shape.geom_type}",
                f"几何类型应为 {needed}，而不是 {shape.geom_type}",
            )  # fmt: skip
    if kind.shapes == ("Point",):
        found.xy = np.full((len(kept), 2), np.nan)
        found.xy[found.good] = shapely.get_coordinates(kept[found.good])
        _to_lonlat(place, found)
        _check_points(found)
        return found
    found.shapes = kept
    for index in np.nonzero(found.good)[0]:
        _check_shape(place, found, int(index))
    return found


def _plain_shape(shape: BaseGeometry | None, kind: Kind) -> BaseGeometry | None:
    """Return a shape in two dimensions; a collection of one member becomes the member."""
    if shape is None:
        return None
    flat = shapely.force_2d(shape)
    if flat.geom_type not in kind.shapes and hasattr(flat, "geoms") and len(flat.geoms) == 1:
        flat = flat.geoms[0]
    return flat


def _check_shape(place: Place, found: Located, index: int) -> None:
    assert found.shapes is not None  # noqa: S101  # set by the caller
    shape = found.shapes[index]
    xy = shapely.get_coordinates(shape)
    points = Located(np.ones(len(xy), dtype=bool), xy)
    if not np.isfinite(xy).all():
        found.refuse(
            index, "geometry-not-finite", "coordinates must be finite numbers", "坐标应为有限的数字"
        )
        return
    _to_lonlat(place, points)
    _check_points(points)
    if points.faults:
        first = points.faults[0]
        found.refuse(
            index, first.code, first.message, first.message_zh, first.hint, value=first.value
        )
        found.swapped += bool(points.swapped)
        return
    lonlat = points.xy
    moved = shapely.transform(shape, lambda _: lonlat)
    if not moved.is_valid:
        reason = shapely.is_valid_reason(moved)
        found.refuse(index, "invalid-geometry", reason, f"几何图形无效：{reason}")
    found.shapes[index] = moved


def hexed(found: Located, kind: Kind, rows: NDArray[np.int64]) -> Any:
    """Return the geometry of good rows as EWKB hex, SRID 4326."""
    if found.shapes is None:
        return ewkb.points(found.xy[rows])
    shapes = found.shapes[rows]
    if kind.name == "ring":
        shapes = np.array([_multi(shape) for shape in shapes], dtype=np.object_)
    return ewkb.shapes(shapes)


def _multi(shape: BaseGeometry) -> BaseGeometry:
    return shapely.MultiPolygon([shape]) if isinstance(shape, shapely.Polygon) else shape

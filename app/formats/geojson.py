"""GeoJSON collections and sequences of features (RFC 7946, RFC 8142), read feature by feature.

Promises numbers with the digits that stand in the file, and every property of every feature: the
file is gone through once for the names and once for the values. Structures inside properties are
delivered as JSON text.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

import numpy as np

from app.errors import Invalid
from app.formats import crs as crses
from app.formats import encoding as encodings
from app.formats.encoding import Encoding
from app.formats.header import labels
from app.formats.jsonstream import JsonStream
from app.formats.model import Batch, Detected, Named, Oddity, Opened, Wanted
from app.formats.shapes import bad_geometry, from_objects
from app.formats.typed import values_text

GEOMETRIES: Final = frozenset(
    ("Point", "LineString", "Polygon", "MultiPoint", "MultiLineString", "MultiPolygon",
     "GeometryCollection")
)  # fmt: skip
_FEATURES: Final = ("features",)
_NO_FEATURE: Final = "A member of the list is no feature."
# So much text is kept parsed after the first pass.
_KEPT_BYTES: Final = 8 << 20


def open_geojson(file: Named, kind: str, wanted: Wanted) -> Opened:
    """Open a collection, a feature, a geometry, or a sequence of features.

    Raises
    ------
    Invalid
        ``damaged-file``, ``too-deep``, ``wrong-encoding``, ``unsupported-format`` (JSON that is
        not GeoJSON).
    """
    coding = encodings.detect(file.path, wanted.encoding, narrow=True)
    small = file.path.stat().st_size <= _KEPT_BYTES
    stream = JsonStream(encodings.text_blocks(file.path, coding))
    names: dict[str, None] = {}
    kept: list[dict[str, Any]] = []
    count, ids, shapes = 0, False, False
    for feature in _features(stream):
        count += 1
        names.update(dict.fromkeys(feature["properties"] or ()))
        ids = ids or "id" in feature
        shapes = shapes or feature["geometry"] is not None
        if small:
            kept.append(feature)
    found = stream.head
    raw = tuple(names)
    identifier = ("@id" if "id" in names else "id") if ids else None
    columns = labels((*((identifier,) if identifier else ()), *raw))
    crs, notes = _crs(found, shapes)
    detected = Detected(
        format="geojson" if kind == "geojson" else "geojsonseq",
        encoding=coding.name,
        layer=found["name"] if isinstance(found.get("name"), str) else None,
        crs=crs,
        geometry=shapes,
        rows=count,
        notes=(*coding.notes, *notes),
    )

    def read(rows: int) -> Iterator[Batch]:
        again = iter(kept) if small else _again(file, coding)
        return _batches(again, columns, raw, shapes, rows)

    return Opened(detected, columns, read)


def _again(file: Named, coding: Encoding) -> Iterator[dict[str, Any]]:
    return _features(JsonStream(encodings.text_blocks(file.path, coding)))


def _features(stream: JsonStream) -> Iterator[dict[str, Any]]:
    for name, value in stream.items(_FEATURES):
        kind = value.get("type") if isinstance(value, dict) else None
        if kind == "Feature":
            properties = value.get("properties")
            feature = {
                "properties": properties if isinstance(properties, dict) else {},
                "geometry": value.get("geometry"),
            }
            if value.get("id") is not None:
                feature["id"] = value["id"]
            yield feature
        elif kind in GEOMETRIES:
            yield {"properties": {}, "geometry": value}
        elif kind == "FeatureCollection":
            pass  # an empty one
        elif name and not isinstance(value, dict):
            yield {"properties": {}, "geometry": None, "bad": True}
        else:
            raise Invalid(
                f"The file is JSON and not GeoJSON: {_shown(value)} is no feature.",
                code="unsupported-format",
            )


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "an object with " + (
            ", ".join(repr(str(key)) for key in islice(value, 5)) or "nothing"
        )
    return f"{str(value)[:40]!r}"


def _crs(head: dict[str, Any], shapes: bool) -> tuple[str | None, tuple[str, ...]]:
    if not shapes:
        return None, ()
    stated = head.get("crs")
    if not isinstance(stated, dict):
        return crses.LONLAT, ()
    properties = stated.get("properties")
    name = properties.get("name") if isinstance(properties, dict) else None
    if name is None and isinstance(properties, dict) and stated.get("type") == "EPSG":
        name = f"EPSG:{properties.get('code')}"  # of before 2008
    code = crses.named(name) if isinstance(name, str) else None
    if code is None:
        return None, (f"The file names a CRS that is not known: {str(name)[:80]!r}.",)
    return code, ()


def _batches(
    features: Iterator[dict[str, Any]],
    columns: tuple[str, ...],
    raw: tuple[str, ...],
    shapes: bool,
    rows: int,
) -> Iterator[Batch]:
    first = 1
    while part := list(islice(features, rows)):
        properties = [feature["properties"] for feature in part]
        named = columns[len(columns) - len(raw) :]
        cells = {}
        if len(named) < len(columns):
            cells[columns[0]] = values_text([feature.get("id") for feature in part])
        for name, key in zip(named, raw, strict=True):
            cells[name] = values_text([held.get(key) for held in properties])
        odd: tuple[Oddity, ...] = ()
        geometry = None
        if shapes:
            geometry, bad = from_objects([feature["geometry"] for feature in part])
            odd = tuple(bad_geometry(first + at) for at in bad)
        odd += tuple(
            Oddity(first + at, "bad-item", _NO_FEATURE, severity="error")
            for at, feature in enumerate(part)
            if "bad" in feature
        )
        row = np.arange(first, first + len(part), dtype=np.int64)
        yield Batch(row, cells, geometry, odd)
        first += len(part)

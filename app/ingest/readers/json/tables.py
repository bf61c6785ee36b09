"""JSON that is a table: a list of objects, bare, line by line, or in what an interface wraps around.

``[{...}]``, ``{"items": [{...}]}``, ``{"code": 0, "data": {"records": [{...}]}}``, the ``elements`` of
OpenStreetMap's Overpass. Members of an inner object are columns of their own, a GeoJSON geometry is
the shape of its row, any other structure is JSON text in its cell.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

from app.ingest.readers import encoding as encodings
from app.ingest.readers.encoding import Encoding
from app.ingest.readers.gis.gdal import choose_layer
from app.ingest.readers.header_row import build_headers
from app.ingest.readers.json.geojson import GEOMETRIES
from app.ingest.readers.json.stream import JsonStream
from app.ingest.readers.model import DetectedFormat, ReadOptions, SourceFile, TableReader
from app.ingest.readers.named_items import NamedItem, collect_items
from app.ingest.values import crs
from app.ingest.values.shapes import parse_geojson_objects

_TOKEN: Final = re.compile(r'"((?:[^"\\]|\\.)*)"|[{}\[\]:,]|[^\s"{}\[\]:,]+', re.DOTALL)
_DEEPEST: Final = 2
"""Objects that may stand around a list: what lies deeper describes something."""
_OF_SHAPES: Final = frozenset(("coordinates", "geometries"))
_NO_OBJECT: Final = ("bad-item", "A member of the list is no object.")
_NO_SHAPE: Final = ("bad-geometry", "The geometry of a row cannot be read.")
_BETWEEN: Final = "\x1f"
"""Stands between the names of an inner member and of what holds it while names are gathered."""
_SAMPLE: Final = 1 << 16
_Path = tuple[str, ...]


def find_tables(text: str) -> tuple[_Path, ...]:
    r"""Return where the beginning of a JSON text has lists of objects, by the members around them.

    Examples
    --------
    >>> find_tables('[{"code": 1}]'), find_tables('{"ok": 1, "data": {"list": [{}], "tags": ["a"]}}')
    (((),), (('data', 'list'),))
    >>> find_tables('{"code": 1}'), find_tables('{"a": 1}\n{"a": 2}')
    ((), ((),))
    """
    found: dict[_Path, None] = {}
    path: list[str] = []
    open_: list[str] = []
    key = before = ""
    for token in _TOKEN.finditer(text):
        sign = token[0]
        if sign in ("{", "["):
            inside = all(one == "{" for one in open_[:-1])
            if sign == "{" and before == "[" and inside and len(path) <= _DEEPEST:
                found[tuple(path)] = None
            if sign == "{" and before == "}" and not open_:
                return ((),)  # one object after the other: what is inside of one is its own
            if open_[-1:] == ["{"]:
                path.append(key)
            open_.append(sign)
        elif sign in ("}", "]") and open_:
            open_.pop()
            if open_[-1:] == ["{"]:
                path.pop()
        elif token[1] is not None:
            key = _unescape_key(sign)
        if sign != ",":
            before = sign
    return tuple(found)


def _unescape_key(string: str) -> str:
    try:
        return str(json.loads(string, strict=False))
    except ValueError:
        return string


def open_json_table(file: SourceFile, wanted: ReadOptions) -> TableReader:
    """Open the named list of objects, or the first there is.

    Raises
    ------
    Invalid
        ``damaged-file``, ``too-deep``, ``unknown-layer``, ``wrong-encoding``.
    """
    coding = encodings.detect_encoding(file.path, wanted.encoding, narrow=True)
    head, _ = encodings.read_head_text(file.path, coding, _SAMPLE)
    paths = {".".join(path): path for path in find_tables(head)}
    layer, notes = choose_layer(tuple(paths), (), wanted.layer or wanted.sheet)
    found = collect_items(iter_records(file, coding, paths[layer]))
    found.headers = shorten_headers([str(key) for key in found.spool.keys])
    detected = DetectedFormat(
        format="json",
        encoding=coding.name,
        layer=layer or None,
        layers=tuple(filter(None, paths)),
        crs=crs.LONLAT if found.has_shapes else None,
        geometry=found.has_shapes,
        rows=found.count,
        notes=(*coding.notes, *notes),
    )
    return found.create_reader(detected)


def iter_records(file: SourceFile, coding: Encoding, path: _Path) -> Iterator[NamedItem]:
    stream = JsonStream(encodings.iter_utf8_blocks(file.path, coding))
    table = path[-1] if path else ""
    for name, values in stream.runs(frozenset(path)):
        if name != table:
            continue
        for value in values:
            yield build_record(value) if isinstance(value, dict) else NamedItem({}, issue=_NO_OBJECT)


def build_record(value: Mapping[str, Any]) -> NamedItem:
    shapes: list[Any] = []
    record = NamedItem(dict(iter_cells(value, shapes)))
    if shapes:
        found, bad = parse_geojson_objects(shapes[:1])
        record.shape = found[0]
        record.issue = _NO_SHAPE if bad else None
    return record


def iter_cells(value: Mapping[str, Any], shapes: list[Any], around: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the members of an object and of those inside it; put shapes aside."""
    for name, member in value.items():
        if not isinstance(member, dict):
            yield around + name, member
        elif member.get("type") in GEOMETRIES and _OF_SHAPES & member.keys():
            shapes.append(member)
        elif around:
            yield around + name, member
        else:
            yield from iter_cells(member, shapes, name + _BETWEEN)


def shorten_headers(keys: list[str]) -> tuple[str, ...]:
    """Return headers: inner members go by their own names where nothing else has them."""
    last = [key.rpartition(_BETWEEN)[2] for key in keys]
    counts = Counter(last)
    return build_headers(
        [short if counts[short] == 1 else key.replace(_BETWEEN, ".") for short, key in zip(last, keys, strict=True)]
    )

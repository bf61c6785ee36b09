"""JSON that is a table: a list of objects, bare, line by line, or inside the response of an interface.

``[{...}]``, ``{"items": [{...}]}``, ``{"code": 0, "data": {"records": [{...}]}}``, the ``elements`` of OpenStreetMap's
Overpass. Members of an inner object are columns, a GeoJSON geometry is the shape of its row, any other structure is
JSON text in its cell.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

from app.ingest.readers import encoding as encodings
from app.ingest.readers.content import FileContent
from app.ingest.readers.encoding import Encoding
from app.ingest.readers.header_row import build_headers
from app.ingest.readers.json.geojson import has_geojson_type
from app.ingest.readers.json.stream import JsonStream
from app.ingest.readers.model import BAD_GEOMETRY, DetectedFormat, ReadOptions, SourceFile, TableReader, choose_layer
from app.ingest.readers.named_items import NamedItem, collect_items
from app.ingest.values.crs import LONLAT
from app.ingest.values.shapes import GEOJSON_TYPES, parse_geojson_objects
from app.messages import Message

_TOKEN: Final = re.compile(r'"((?:[^"\\]|\\.)*)"|[{}\[\]:,]|[^\s"{}\[\]:,]+', re.DOTALL)
_KEY: Final = re.compile(r'"((?:[^"\\]|\\.)*)"\s*:')
_FEATURE: Final = re.compile(r'"type"\s*:\s*"Feature(?:Collection)?"')
_SHAPE_MEMBERS: Final = frozenset(("type", "coordinates", "geometries", "bbox", "crs", "name", "properties"))
"""Members of bare shapes; a list of objects has others."""
_MAX_DEPTH: Final = 2
"""Objects around a list. A deeper list belongs to one object."""
_COORDINATES: Final = frozenset(("coordinates", "geometries"))
_NOT_AN_OBJECT: Final = ("bad-item", Message("A member of the list is not an object."))
_SEPARATOR: Final = "\x1f"
"""Between the names of an inner and an outer member, until the headers are known."""
_SAMPLE_BYTES: Final = 1 << 16
_Path = tuple[str, ...]


def is_json_table(content: FileContent) -> bool:
    """Return whether a file is JSON with a list of objects that are not GeoJSON features or bare shapes."""
    if not content.is_json or _FEATURE.search(content.text):
        return False
    is_shapes = has_geojson_type(content) and set(_KEY.findall(content.text)) <= _SHAPE_MEMBERS
    return not is_shapes and bool(find_tables(content.text))


def find_tables(text: str) -> tuple[_Path, ...]:
    r"""Return the lists of objects in the beginning of a JSON text, as the names of the members around them.

    Examples
    --------
    >>> find_tables('[{"code": 1}]'), find_tables('{"ok": 1, "data": {"list": [{}], "tags": ["a"]}}')
    (((),), (('data', 'list'),))
    >>> find_tables('{"code": 1}'), find_tables('{"a": 1}\n{"a": 2}')
    ((), ((),))
    """
    paths: dict[_Path, None] = {}
    path: list[str] = []
    brackets: list[str] = []
    key = previous = ""
    for token in _TOKEN.finditer(text):
        sign = token[0]
        if sign in ("{", "["):
            is_in_objects = all(bracket == "{" for bracket in brackets[:-1])
            if sign == "{" and previous == "[" and is_in_objects and len(path) <= _MAX_DEPTH:
                paths[tuple(path)] = None
            if sign == "{" and previous == "}" and not brackets:
                return ((),)  # one object after the other: a list inside belongs to one of them
            if brackets[-1:] == ["{"]:
                path.append(key)
            brackets.append(sign)
        elif sign in ("}", "]") and brackets:
            brackets.pop()
            if brackets[-1:] == ["{"]:
                path.pop()
        elif token[1] is not None:
            key = _unescape_key(sign)
        if sign != ",":
            previous = sign
    return tuple(paths)


def _unescape_key(string: str) -> str:
    try:
        return str(json.loads(string, strict=False))
    except ValueError:
        return string


def open_json_table(file: SourceFile, options: ReadOptions) -> TableReader:
    """Open the named list of objects, or the first one.

    Raises
    ------
    Invalid
        ``damaged-file``, ``too-deep``, ``unknown-layer``, ``wrong-encoding``.
    """
    encoding = encodings.detect_encoding(file.path, options.encoding, narrow=True)
    head, _ = encodings.read_head_text(file.path, encoding, _SAMPLE_BYTES)
    paths = {".".join(path): path for path in find_tables(head)}
    layer, notes = choose_layer(tuple(paths), (), options.layer_name)
    table = collect_items(iter_records(file, encoding, paths[layer]))
    table.headers = shorten_headers([str(key) for key in table.store.keys])
    detected = DetectedFormat(
        format="json",
        encoding=encoding.name,
        layer=layer or None,
        layers=tuple(filter(None, paths)),
        crs=LONLAT if table.has_shapes else None,
        geometry=table.has_shapes,
        rows=table.count,
        notes=(*encoding.notes, *notes),
    )
    return table.create_reader(detected)


def iter_records(file: SourceFile, encoding: Encoding, path: _Path) -> Iterator[NamedItem]:
    """Yield the objects of one list."""
    stream = JsonStream(encodings.iter_utf8_blocks(file.path, encoding))
    list_name = path[-1] if path else ""
    for name, values in stream.iter_runs(frozenset(path)):
        if name == list_name:
            for value in values:
                yield build_record(value) if isinstance(value, dict) else NamedItem({}, issue=_NOT_AN_OBJECT)


def build_record(value: Mapping[str, Any]) -> NamedItem:
    """Return an object as an item with its shape."""
    geometries: list[Any] = []
    item = NamedItem(dict(iter_cells(value, geometries)))
    if geometries:
        shapes, bad_shapes = parse_geojson_objects(geometries[:1])
        item.shape = shapes[0]
        item.issue = ("bad-geometry", BAD_GEOMETRY) if bad_shapes else None
    return item


def iter_cells(value: Mapping[str, Any], geometries: list[Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the members of an object and of its inner objects; add geometries to `geometries`."""
    for name, member in value.items():
        if not isinstance(member, dict):
            yield prefix + name, member
        elif member.get("type") in GEOJSON_TYPES and _COORDINATES & member.keys():
            geometries.append(member)
        elif prefix:
            yield prefix + name, member
        else:
            yield from iter_cells(member, geometries, name + _SEPARATOR)


def shorten_headers(keys: list[str]) -> tuple[str, ...]:
    """Return headers: the name of an inner member alone if no other column has it."""
    names = [key.rpartition(_SEPARATOR)[2] for key in keys]
    counts = Counter(names)
    return build_headers(
        [name if counts[name] == 1 else key.replace(_SEPARATOR, ".") for name, key in zip(names, keys, strict=True)]
    )

"""What a file is, by its content; the name is only a hint.

Promises to name what was found when it is nothing that can be read: a picture, a program, a login
page. An archive of a single file, zip or gzip, counts as that file.
"""

import mmap
import re
import sqlite3
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import Final

from app.errors import Invalid
from app.ingest.readers import archive
from app.ingest.readers import encoding as encodings
from app.ingest.readers.archive import Member
from app.ingest.readers.excel.workbook import is_workbook
from app.ingest.readers.gis import gdal
from app.ingest.readers.json import tables
from app.ingest.readers.model import FORMATS, SourceFile

READABLE: Final = (
    "CSV, TSV, XLSX, XLS, ODS, tables of web pages, Excel 2003 XML, GeoJSON, GeoJSONSeq, "
    "GeoPackage, FlatGeobuf, Shapefile, MapInfo table and file geodatabase (zip), GeoParquet, KML, "
    "KMZ, Esri JSON, TopoJSON, lists of objects in JSON, GB/T 28181 catalogue (XML) and GA/T 1400 "
    "lists (JSON)"
)
_HEAD: Final = 1 << 16
_FOREIGN: Final = (
    (b"%PDF", "a PDF document"),
    (b"MZ", "a Windows program"),
    (b"\x7fELF", "a program"),
    (b"\x89PNG", "a picture (PNG)"),
    (b"\xff\xd8\xff", "a picture (JPEG)"),
    (b"GIF8", "a picture (GIF)"),
    (b"II*\x00", "a picture (TIFF)"),
    (b"MM\x00*", "a picture (TIFF)"),
    (b"BM", "a picture (BMP)"),
    (b"RIFF", "a sound or video file"),
    (b"Rar!", "a RAR archive; pack it as zip"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive; pack it as zip"),
    (b"BZh", "a bzip2 archive; pack it as zip"),
    (b"\xfd7zXZ", "an xz archive; pack it as zip"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive; pack it as zip"),
    (b"{\\rtf", "a text document (RTF)"),
    (b"\x00\x00\x27\x0a", "one file of a Shapefile; pack .shp, .shx, .dbf and .prj into one zip"),
    (b"\x00\x00\x00\x00MDFE", "a database of Microsoft SQL Server"),
    (b"\x00\x01\x00\x00Standard Jet DB", "an Access database; export the table as XLSX or CSV"),
    (b"\x00\x01\x00\x00Standard ACE DB", "an Access database; export the table as XLSX or CSV"),
)
_DRAWING: Final = "a CAD drawing; save its points as a table with coordinates, or as a Shapefile"
_MAPINFO: Final = "one file of a MapInfo table; pack .tab, .dat, .map and .id, or .mif and .mid, into one zip"
_OTHER_BYTES: Final = (
    (re.compile(rb"AC10[0-9]{2}\x00"), _DRAWING),
    (re.compile(rb"\x00\x00..\x0a.OSMHeader", re.DOTALL), "an OpenStreetMap file"),
)
_OTHER_TEXT: Final = (
    (re.compile(r"(?:999\s*\n.*\n\s*)?0\s*\n\s*SECTION\s*\n"), _DRAWING),
    (re.compile(r"!table\s*\n|version\s+\d+\s*\n\s*charset\s", re.IGNORECASE), _MAPINFO),
    (
        re.compile(
            r"(?:--.*\n|/\*.*?\*/;?|\s+)*(?:insert\s+into|create\s+table|drop\s+table|set\s+names)\s",
            re.IGNORECASE | re.DOTALL,
        ),
        "an SQL dump; export the table as CSV",
    ),
    (
        re.compile(r"HTTP/\d|(?:GET|POST|PUT)\s\S{1,2000}\sHTTP/\d"),
        "a recorded HTTP message; save its body alone",
    ),
)
"""How other files begin that are text as well."""
_CONTAINER: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ENCRYPTED: Final = "EncryptedPackage".encode("utf-16-le")
"""Name of the stream in which Office keeps a document that has a password."""
_DBF: Final = re.compile(rb"[\x03\x30\x83\x8b\xf5].[\x01-\x0c][\x01-\x1f]", re.DOTALL)
_GAT: Final = re.compile(
    r'"(?:APE|Tollgate|Lane)_?(?:List_?Object|List|Object)"\s*:|"(?:Ape|Tollgate|Lane)_?ID"\s*:',
    re.IGNORECASE,
)
_GEOJSON: Final = re.compile(
    r'"type"\s*:\s*"(?:Feature|FeatureCollection|Point|LineString|Polygon|Multi\w+|GeometryCollection)"'
)
_FEATURE: Final = re.compile(r'"type"\s*:\s*"Feature(?:Collection)?"')
_TOPOLOGY: Final = re.compile(r'"type"\s*:\s*"Topology"')
_ESRI: Final = re.compile(r'"(?:geometryType"\s*:\s*"esri|spatialReference"|objectIdFieldName")')
_KEY: Final = re.compile(r'"((?:[^"\\]|\\.)*)"\s*:')
_OF_SHAPES: Final = frozenset(("type", "coordinates", "geometries", "bbox", "crs", "name", "properties"))
"""Members of shapes that stand alone; a list of objects has others."""
_COLLECTION: Final = re.compile(r'"features"\s*:|"type"\s*:\s*"FeatureCollection"')
_ITEM: Final = re.compile(r"<(?:Item|DeviceList)\b|<CmdType>\s*Catalog", re.IGNORECASE)
PAGE: Final = "a web page without a table of several columns and rows (perhaps a login page)"
_PROLOGUE: Final = re.compile(
    r"\s*(?:<\?.*?\?>|<!--.*?-->|<!\[[^>]*>|<!doctype(?:[^>\[]|\[[^\]]*\])*>)",
    re.DOTALL | re.IGNORECASE,
)
_ROOT: Final = re.compile(r"\s*<([A-Za-z][\w:.-]*)")
_OF_PAGES: Final = re.compile(
    r"html|head|body|table|thead|tbody|tr|td|meta|link|title|style|script|div|span|p|br|center|font"
    r"|form|b|h[1-4]|base|noscript|header|main|section",
    re.IGNORECASE,
)
"""Elements that a web page, or a piece of one, can begin with."""
_TABLE: Final = (re.compile(r"<table\b", re.IGNORECASE), re.compile(r"<t[dh]\b", re.IGNORECASE))
_WORKBOOK: Final = re.compile(r"<(?:\w+:)?Workbook\b")
_MARKUP: Final = (
    (re.compile(r"<(?:\w+:)?FeatureCollection\b|xmlns:gml"), "a GML file"),
    (re.compile(r"<gpx\b"), "a GPX file"),
    (re.compile(r"<osm\b"), "an OpenStreetMap file"),
    (re.compile(r"<svg\b"), "a picture (SVG)"),
    (re.compile(r"<OGRVRTDataSource\b|<VRTDataset\b"), "a GDAL virtual file"),
)  # fmt: skip


def unpack_single_file(file: SourceFile, stack: ExitStack) -> SourceFile:
    """Return the file itself, or the only one that an archive holds, unpacked for a while.

    Raises
    ------
    Invalid
        As `app.ingest.readers.archive.list_members`.
    """
    head = read_head(file.path)
    if head.startswith(b"\x1f\x8b"):
        inner = file.name[: -len(".gz")] if file.suffix == "gz" else file.name
        target = create_folder(stack) / "unpacked"
        return SourceFile(archive.unpack_gzip(file.path, target), inner)
    if not head.startswith(b"PK\x03\x04"):
        return file
    held = archive.list_members(file.path)
    if len(held) != 1 or held[0].suffix in ("shp", "kml", "dbf"):
        return file
    target = create_folder(stack) / "unpacked"
    name = PurePosixPath(held[0].name).name
    return SourceFile(archive.unpack_member(file.path, held[0], target), name)


def detect_format(file: SourceFile) -> str:
    """Return the format of a file, one of `FORMATS`.

    Raises
    ------
    Invalid
        ``empty-file``; ``unsupported-format``, with what was found.
    """
    head = read_head(file.path)
    if not head.strip(b"\x00 \t\r\n\xef\xbb\xbf"):
        raise Invalid("The file is empty.", code="empty-file")
    for sign, found in _binary():
        if head.startswith(sign):
            return found(file)
    for sign, what in _FOREIGN:
        if head.startswith(sign):
            raise build_rejection(what)
    for form, what in _OTHER_BYTES:
        if form.match(head):
            raise build_rejection(what)
    if _DBF.match(head) and b"\x00" in head[:32]:
        raise build_rejection("one file of a Shapefile (DBF); pack .shp, .shx, .dbf and .prj into one zip")
    return _text_kind(file, head)


def parse_format_name(name: str) -> str:
    """Return a format that the sender names.

    Raises
    ------
    Invalid
        ``unsupported-format``.
    """
    known = {"geojsonl": "geojsonseq", "geoparquet": "parquet", "shp": "shapefile", "kmz": "kml",
             "txt": "csv", "flatgeobuf": "fgb", "geopackage": "gpkg", "htm": "html",
             "xhtml": "html", "spreadsheetml": "xml-spreadsheet", "gdb": "filegdb",
             "tab": "mapinfo", "mif": "mapinfo"}  # fmt: skip
    plain = name.strip().lower()
    plain = known.get(plain, plain)
    if plain not in FORMATS:
        raise Invalid(
            f"There is no format {name!r}; known are {', '.join(FORMATS)}.",
            code="unsupported-format",
        )
    return plain


def read_head(path: Path) -> bytes:
    """Return the first bytes of a file."""
    with path.open("rb") as opened:
        return opened.read(_HEAD)


def create_folder(stack: ExitStack) -> Path:
    """Return a folder that goes away with the stack."""
    return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="registry-file-")))


def build_rejection(what: str) -> Invalid:
    """Return the refusal of a file that is something else."""
    return Invalid(f"The file is {what}. What can be read: {READABLE}.", code="unsupported-format")


def _binary() -> Sequence[tuple[bytes, Callable[[SourceFile], str]]]:
    return (
        (b"PK\x03\x04", _zip_kind),
        (b"PK\x05\x06", _zip_kind),
        (_CONTAINER, _container_kind),
        (b"SQLite format 3\x00", _sqlite_kind),
        (b"fgb\x03fgb", lambda _: "fgb"),
        (b"PAR1", lambda _: "parquet"),
    )


def _zip_kind(file: SourceFile) -> str:
    held = archive.list_members(file.path)
    names = {member.name for member in held}
    if "xl/workbook.bin" in names:
        raise build_rejection("a binary Excel workbook (XLSB); save it as XLSX")
    if "xl/workbook.xml" in names:
        return "xlsx"
    if "mimetype" in names and "content.xml" in names:
        return _document_kind(file, next(m for m in held if m.name == "mimetype"))
    suffixes = {member.suffix for member in held}
    if "shp" in suffixes:
        return "shapefile"
    if "kml" in suffixes:
        return "kml"
    if "gdbtable" in suffixes:
        return "filegdb"
    if suffixes & {"tab", "mif"}:
        return "mapinfo"
    for path, what in (("word/document.xml", "a Word document"), ("ppt/presentation.xml", "slides"),
                       ("AndroidManifest.xml", "a program for Android")):  # fmt: skip
        if path in names:
            raise build_rejection(what)
    if not held:
        raise Invalid("The archive is empty.", code="empty-file")
    shown = ", ".join(sorted(names)[:5])
    raise build_rejection(f"an archive with {len(held)} files and no Shapefile or KML ({shown})")


def _document_kind(file: SourceFile, member: Member) -> str:
    kind = archive.read_member_head(file.path, member, 200).decode("ascii", "replace")
    if "spreadsheet" in kind:
        return "ods"
    raise build_rejection("an OpenDocument file that is no spreadsheet")


def _container_kind(file: SourceFile) -> str:
    if is_workbook(file.path):
        return "xls"
    with (
        file.path.open("rb") as opened,
        mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as held,
    ):
        if held.find(_ENCRYPTED) >= 0:
            raise Invalid(
                "The workbook is protected with a password; save it without one.",
                code="encrypted-file",
            )
    raise build_rejection("an old Office document that is no workbook")


def _sqlite_kind(file: SourceFile) -> str:
    gdal.check_sqlite_complete(file.path)
    try:
        with sqlite3.connect(f"file:{file.path}?mode=ro&immutable=1", uri=True) as database:
            found = database.execute("SELECT count(*) FROM gpkg_contents").fetchone()
    except (sqlite3.Error, UnicodeDecodeError):
        raise build_rejection("an SQLite database that is no GeoPackage") from None
    if not found[0]:
        raise Invalid("The GeoPackage has no layers.", code="empty-file")
    return "gpkg"


def _text_kind(file: SourceFile, head: bytes) -> str:
    head = head.rstrip(b"\x00")  # of room that was never written to
    if _looks_binary(head):
        raise build_rejection("of no known kind; it is not text")
    coding = encodings.detect_roughly(head)
    text = head[coding.mark :].decode(coding.codec, "replace")
    start = text.lstrip("\ufeff \t\r\n\x1e")
    if _ITEM.search(text) and "<" in text:
        return "gb28181"
    if start.startswith("<"):
        return _markup_kind(start)
    page = file.suffix in ("xls", "xlsx", "html", "htm")
    if page and all(sign.search(text) for sign in _TABLE):
        return "html"
    if start[:13].lower() == "mime-version:":
        raise build_rejection("a web archive (MHT); save it as XLSX")
    if start.startswith(("{", "[")):
        return _json_kind(text, start)
    for form, what in _OTHER_TEXT:
        if form.match(start.replace("\r\n", "\n")):
            raise build_rejection(what)
    return "csv"


def _markup_kind(start: str) -> str:
    if re.search(r"<(?:\w+:)?kml\b", start):
        return "kml"
    at = 0
    while (before := _PROLOGUE.match(start, at)) and before.end() > at:
        at = before.end()
    root = _ROOT.match(start, at)
    name = root[1] if root else "?"
    if _OF_PAGES.fullmatch(name) or start[:14].lower() == "<!doctype html":
        return "html"
    if _WORKBOOK.match(start, root.start(1) - 1 if root else at):
        return "xml-spreadsheet"
    for pattern, what in _MARKUP:
        if pattern.search(start):
            raise build_rejection(what)
    raise build_rejection(f"an XML file of another kind (<{name}>)")


def _json_kind(text: str, start: str) -> str:
    geojson = _GEOJSON.search(text)
    if _GAT.search(text) and not geojson:
        return "gat1400"
    if _TOPOLOGY.search(text):
        return "topojson"
    if _ESRI.search(text):
        return "esrijson"
    shapes = geojson and set(_KEY.findall(text)) <= _OF_SHAPES
    if not (_FEATURE.search(text) or shapes) and tables.find_tables(text):
        return "json"
    if not geojson:
        raise build_rejection("a JSON file of another kind")
    first = _COLLECTION.search(text)
    several = "\x1e" in text or re.search(r"\}\s*[\r\n]+\s*\{\s*\"type\"\s*:\s*\"Feature\"", text)
    if several and (first is None or start.startswith('{"type":"Feature"')):
        return "geojsonseq"
    return "geojson"


def _looks_binary(head: bytes) -> bool:
    coding = encodings.detect_roughly(head)
    if coding.codec.startswith(("utf-16", "utf-32")):
        return False
    controls = sum(head.count(bytes((sign,))) for sign in (*range(9), *range(14, 27), 28, 29, 31))
    return controls > len(head) * 0.01

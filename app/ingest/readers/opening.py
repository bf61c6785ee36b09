"""Open a file of any readable format as batches of text columns and shapes.

Everything that the sender does not state is detected and reported. A file that cannot be read is rejected with a
stable code and with what it was recognised as: a picture, a program, a login page.
"""

import mmap
import re
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Final

from app.errors import Invalid
from app.ingest.formats import FORMATS, FileFormat, parse_format_name
from app.ingest.readers import archive
from app.ingest.readers.content import DRAWING, OFFICE, SQLITE, FileContent, read_head
from app.ingest.readers.json.geojson import TOPOJSON
from app.ingest.readers.model import (
    Batch,
    DetectedFormat,
    FormatIssue,
    ReadOptions,
    SourceFile,
    TableReader,
    unsupported_content,
)
from app.messages import Message

__all__ = ["Batch", "DetectedFormat", "FormatIssue", "TableReader", "open_source"]

_PROGRAM: Final = Message("a program")
_ONE_OF_SHAPEFILE: Final = Message("one file of a Shapefile; pack .shp, .shx, .dbf and .prj into one zip")
_ACCESS: Final = Message("an Access database; export the table as XLSX or CSV")
_OSM: Final = Message("an OpenStreetMap file; save it as GeoJSON")
_SIGNATURES: Final = (
    (b"%PDF", Message("a PDF document")),
    (b"MZ", Message("a Windows program")),
    (b"\x7fELF", _PROGRAM),
    (b"\x89PNG", Message("a picture ({kind})", kind="PNG")),
    (b"\xff\xd8\xff", Message("a picture ({kind})", kind="JPEG")),
    (b"GIF8", Message("a picture ({kind})", kind="GIF")),
    (b"II*\x00", Message("a picture ({kind})", kind="TIFF")),
    (b"MM\x00*", Message("a picture ({kind})", kind="TIFF")),
    (b"BM", Message("a picture ({kind})", kind="BMP")),
    (b"RIFF", Message("a sound or video file")),
    (b"Rar!", Message("a RAR archive; pack it as zip")),
    (b"7z\xbc\xaf\x27\x1c", Message("a 7-Zip archive; pack it as zip")),
    (b"BZh", Message("a bzip2 archive; pack it as zip")),
    (b"\xfd7zXZ", Message("an xz archive; pack it as zip")),
    (b"\x28\xb5\x2f\xfd", Message("a Zstandard archive; pack it as zip")),
    (b"{\\rtf", Message("a text document (RTF)")),
    (b"\x00\x00\x27\x0a", _ONE_OF_SHAPEFILE),
    (b"\x00\x00\x00\x00MDFE", Message("a database of Microsoft SQL Server")),
    (b"\x00\x01\x00\x00Standard Jet DB", _ACCESS),
    (b"\x00\x01\x00\x00Standard ACE DB", _ACCESS),
)
_BINARY_PATTERNS: Final = (
    (re.compile(rb"AC10[0-9]{2}\x00"), DRAWING),
    (re.compile(rb"\x00\x00..\x0a.OSMHeader", re.DOTALL), _OSM),
    (re.compile(rb"[\x03\x30\x83\x8b\xf5].[\x01-\x0c][\x01-\x1f](?=.{0,28}\x00)", re.DOTALL), _ONE_OF_SHAPEFILE),
)
_MARKUP_PATTERNS: Final = (
    (re.compile(r"<(?:\w+:)?FeatureCollection\b|xmlns:gml"), Message("a GML file; save it as GeoJSON or GeoPackage")),
    (re.compile(r"<gpx\b"), Message("a GPX file; save it as KML or GeoJSON")),
    (re.compile(r"<osm\b"), _OSM),
    (re.compile(r"<svg\b"), Message("a picture ({kind})", kind="SVG")),
    (re.compile(r"<OGRVRTDataSource\b|<VRTDataset\b"), Message("a GDAL virtual file; send the data themselves")),
)
_ARCHIVES: Final = (
    ("xl/workbook.bin", Message("a binary Excel workbook (XLSB); save it as XLSX")),
    ("word/document.xml", Message("a Word document; save its table as XLSX or CSV")),
    ("ppt/presentation.xml", Message("a presentation")),
    ("AndroidManifest.xml", _PROGRAM),
)
_ENCRYPTED: Final = "EncryptedPackage".encode("utf-16-le")
"""Name of the stream that holds an Office document with a password."""


def open_source(
    path: Path,
    *,
    name: str | None = None,
    format: str | None = None,  # the name of the query parameter
    encoding: str | None = None,
    delimiter: str | None = None,
    header_row: int | None = None,
    sheet: str | None = None,
    layer: str | None = None,
) -> TableReader:
    """Open a file; everything that is not stated is detected.

    Parameters
    ----------
    path : Path
        The file.
    name : str, optional
        The name that it was sent under; a hint only.
    format, encoding, delimiter, sheet, layer : str, optional
        What the sender states.
    header_row : int, optional
        Row of the header, from 1; 0: the table has no header.

    Returns
    -------
    TableReader
        Close it, or use it in a ``with`` statement.

    Raises
    ------
    Invalid
        With a code of docs/errors.md: ``empty-file``, ``unsupported-format``, ``damaged-file``, ``encrypted-file``,
        ``unsafe-file``, ``unpacks-too-large``, ``too-deep``, ``wrong-encoding``, ``unknown-encoding``,
        ``unknown-delimiter``, ``unclosed-quote``, ``no-such-row``, ``unknown-layer``. Reading may raise the same.
    """
    with ExitStack() as stack:
        file = unpack_single_file(SourceFile(path, name or path.name, stack))
        detected = detect_format(file)
        if format is not None:
            detected = check_stated_format(FORMATS[parse_format_name(format)], detected)
        options = ReadOptions(detected.name, encoding, delimiter, header_row, sheet, layer)
        reader = detected.open_table(file, options)
        reader.resources.push(stack.pop_all())
        return reader


def unpack_single_file(file: SourceFile) -> SourceFile:
    """Return the file itself, or the only file of an archive, unpacked into a temporary folder.

    Raises
    ------
    Invalid
        As `app.ingest.readers.archive.list_members`.
    """
    head = read_head(file.path)
    if head.startswith(b"\x1f\x8b"):
        name = file.name[: -len(".gz")] if file.suffix == "gz" else file.name
        path = archive.unpack_gzip(file.path, file.create_folder() / "unpacked")
    elif head.startswith(b"PK\x03\x04"):
        members = archive.list_members(file.path)
        if len(members) != 1 or members[0].suffix in ("shp", "kml", "dbf"):
            return file
        name = PurePosixPath(members[0].name).name
        path = archive.unpack_member(file.path, members[0], file.create_folder() / "unpacked")
    else:
        return file
    return replace(file, path=path, name=name)


def detect_format(file: SourceFile) -> FileFormat:
    """Return the format of a file, by its content.

    Raises
    ------
    Invalid
        ``empty-file``; ``encrypted-file``; ``unsupported-format``, with what the file is instead.
    """
    content = FileContent(file)
    if not content.head.strip(b"\x00 \t\r\n\xef\xbb\xbf"):
        raise Invalid(Message("The file is empty. Send a file with at least one row."), code="empty-file")
    reject_other_binary(content)
    for candidate in FORMATS.values():
        if candidate.matches(content):
            return candidate
    raise describe_unreadable(content)


def check_stated_format(stated: FileFormat, detected: FileFormat) -> FileFormat:
    """Return the format that the sender states, if the content can be of that format.

    Raises
    ------
    Invalid
        ``unsupported-format``.
    """
    if stated is detected or (stated.family == detected.family != "binary"):
        return stated
    message = Message(
        "Declared format {declared}, detected {detected}. Leave out format, or send the right file.",
        declared=stated.name,
        detected=detected.name,
    )
    raise Invalid(message, code="unsupported-format")


def reject_other_binary(content: FileContent) -> None:
    """Raise Invalid if the first bytes are those of a format that cannot be read."""
    for signature, description in _SIGNATURES:
        if content.head.startswith(signature):
            raise unsupported_content(description)
    for pattern, description in _BINARY_PATTERNS:
        if pattern.match(content.head):
            raise unsupported_content(description)


def describe_unreadable(content: FileContent) -> Invalid:
    """Return the error of a file that no content test recognises."""
    if content.is_zip:
        return _describe_archive(content)
    if content.head.startswith(OFFICE):
        return _describe_office_document(content)
    if content.head.startswith(SQLITE):
        return unsupported_content(Message("an SQLite database that is not a GeoPackage"))
    if not content.text:
        return unsupported_content(Message("not text, and of an unknown type"))
    if content.is_markup:
        for pattern, description in _MARKUP_PATTERNS:
            if pattern.search(content.start):
                return unsupported_content(description)
        return unsupported_content(Message("an XML file of another kind (<{root}>)", root=content.root_name))
    if content.is_json:
        if TOPOJSON.search(content.text):
            return unsupported_content(Message("a TopoJSON file; save it as GeoJSON"))
        return unsupported_content(Message("a JSON file without a list of objects"))
    return unsupported_content(content.other_text or Message("text of another kind"))


def _describe_archive(content: FileContent) -> Invalid:
    for path, description in _ARCHIVES:
        if path in content.member_names:
            return unsupported_content(description)
    if "mimetype" in content.member_names and "content.xml" in content.member_names:
        return unsupported_content(Message("an OpenDocument file that is not a spreadsheet"))
    if not content.members:
        return Invalid(Message("The archive is empty. Pack the file into it."), code="empty-file")
    names = ", ".join(sorted(content.member_names)[:5])
    return unsupported_content(
        Message(
            "an archive with {count} files and no Shapefile or KML ({names})", count=len(content.members), names=names
        )
    )


def _describe_office_document(content: FileContent) -> Invalid:
    with (
        content.file.path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
    ):
        if data.find(_ENCRYPTED) >= 0:
            message = Message("The workbook is protected with a password. Save it without a password.")
            return Invalid(message, code="encrypted-file")
    return unsupported_content(Message("an old Office document that is not a workbook"))

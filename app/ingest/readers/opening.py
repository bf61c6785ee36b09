"""Open a file of any known format as batches of text columns and shapes.

The seam that import builds on. Promises that what is not stated is found out and told, and that a
file that cannot be read is refused with a stable code and what was found instead.
"""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from app.errors import Invalid
from app.ingest.readers import detection
from app.ingest.readers.delimited import open_delimited
from app.ingest.readers.excel.excel_xml import open_excel_xml
from app.ingest.readers.excel.html_tables import open_web_page
from app.ingest.readers.excel.workbook import open_spreadsheet
from app.ingest.readers.gis.gdal import open_vector
from app.ingest.readers.gis.kml import open_kml
from app.ingest.readers.gis.parquet import open_parquet
from app.ingest.readers.gis.shapefile import open_shapefile
from app.ingest.readers.json.geojson import open_geojson
from app.ingest.readers.json.tables import open_json_table
from app.ingest.readers.model import (
    FORMATS,
    Batch,
    DetectedFormat,
    FormatIssue,
    ReadOptions,
    SourceFile,
    TableReader,
    TableSource,
)
from app.ingest.readers.platforms import open_catalogue, open_view_library

# Formats that a look at the content may mistake for each other.
_ALIKE: Final = (
    frozenset(
        ("csv", "tsv", "geojson", "geojsonseq", "gat1400", "gb28181", "kml", "html",
         "xml-spreadsheet", "json", "esrijson", "topojson")
    ),
    frozenset(("xlsx", "xls", "ods")),
)  # fmt: skip

__all__ = ["FORMATS", "Batch", "DetectedFormat", "FormatIssue", "TableSource", "open_source"]


def open_source(
    path: Path,
    *,
    name: str | None = None,
    format: str | None = None,  # the word of the request
    encoding: str | None = None,
    delimiter: str | None = None,
    header_row: int | None = None,
    sheet: str | None = None,
    layer: str | None = None,
) -> TableSource:
    """Open a file; what is not given is detected.

    Parameters
    ----------
    path : Path
        Where the file is.
    name : str, optional
        The name it was sent under; a hint only.
    format, encoding, delimiter, sheet, layer : str, optional
        What the sender knows better.
    header_row : int, optional
        Row of the header, counted from 1; 0: the table has none.

    Returns
    -------
    Source
        To be closed, or used in a ``with`` statement.

    Raises
    ------
    Invalid
        With a code of docs/errors.md: ``empty-file``, ``unsupported-format``, ``damaged-file``,
        ``encrypted-file``, ``unsafe-file``, ``unpacks-too-large``, ``too-deep``,
        ``wrong-encoding``, ``unknown-encoding``, ``unknown-delimiter``, ``unclosed-quote``,
        ``no-such-row``, ``unknown-layer``. Reading may raise the same.
    """
    wanted = ReadOptions(format, encoding, delimiter, header_row, sheet, layer)
    with ExitStack() as stack:
        file = detection.unpack_single_file(SourceFile(path, name or path.name), stack)
        found = detection.detect_format(file)
        if format is not None:
            found = check_stated_format(detection.parse_format_name(format), found)
        opened = _open(file, found, wanted, lambda: detection.create_folder(stack))
        opened.resources.push(stack.pop_all())
        return opened


def check_stated_format(stated: str, found: str) -> str:
    """Return the format the sender states, where the content can be that at all."""
    if stated == found or any(stated in group and found in group for group in _ALIKE):
        return stated
    raise Invalid(f"The file was named as {stated}, and it is {found}.", code="unsupported-format")


def _open(file: SourceFile, kind: str, wanted: ReadOptions, folder: Callable[[], Path]) -> TableReader:
    match kind:
        case "csv" | "tsv":
            return open_delimited(file, wanted)
        case "xlsx" | "xls" | "ods":
            return open_spreadsheet(file, kind, wanted, folder)
        case "geojson" | "geojsonseq":
            return open_geojson(file, kind, wanted)
        case "json":
            return open_json_table(file, wanted)
        case "gpkg" | "fgb" | "esrijson" | "topojson" | "mapinfo" | "filegdb":
            return open_vector(file, kind, wanted, folder)
        case "shapefile":
            return open_shapefile(file, wanted, folder)
        case "parquet":
            return open_parquet(file, wanted)
        case "kml":
            return open_kml(file, wanted, folder)
        case "gb28181":
            return open_catalogue(file, wanted)
        case "gat1400":
            return open_view_library(file, wanted)
        case "html":
            return open_web_page(file, wanted, detection.build_rejection(detection.PAGE))
        case "xml-spreadsheet":
            return open_excel_xml(file, wanted)
        case _:
            raise detection.build_rejection(f"a file of format {kind}")

"""The table of file formats: how each one is recognised, read and written.

A new format needs a reader with its content test, one entry here, and a test.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from app.errors import Invalid
from app.ingest.readers import delimited, platforms
from app.ingest.readers.content import FileContent
from app.ingest.readers.excel import excel_xml, html_tables, workbook
from app.ingest.readers.gis import gdal, kml, parquet, shapefile
from app.ingest.readers.json import geojson, tables
from app.ingest.readers.model import ReadOptions, SourceFile, TableReader
from app.ingest.writers import gis as gis_writers
from app.ingest.writers import platforms as platform_writers
from app.ingest.writers import text as text_writers
from app.ingest.writers import xlsx as xlsx_writer
from app.ingest.writers.model import FileWriter
from app.messages import Message

Option = Literal["sheet", "layer", "delimiter", "header_row", "encoding"]

_TEXT_OPTIONS: Final = frozenset[Option](("encoding", "delimiter", "header_row"))
_SHEET_OPTIONS: Final = frozenset[Option](("sheet", "layer", "header_row"))
_LAYER_OPTIONS: Final = frozenset[Option](("sheet", "layer"))


@dataclass(frozen=True)
class FileFormat:
    """One format that can be read."""

    name: str
    open_table: Callable[[SourceFile, ReadOptions], TableReader]
    matches: Callable[[FileContent], bool]
    """The content test. The first format of the table whose test passes is the format of the file."""
    aliases: tuple[str, ...] = ()
    """Other names that a sender may use."""
    family: Literal["text", "workbook", "binary"] = "binary"
    """A sender may overrule the content test within a family: text may be mistaken for other text."""
    options: frozenset[Option] = frozenset()
    """Options that have an effect."""
    ending: str = ""
    """Ending of the name of an exported file, "" if the format is not exported."""
    writer: FileWriter | None = None


_FORMATS: Final = (
    FileFormat(
        name="xlsx",
        open_table=workbook.open_spreadsheet,
        matches=workbook.is_xlsx,
        family="workbook",
        options=_SHEET_OPTIONS,
        ending="xlsx",
        writer=xlsx_writer.XLSX,
    ),
    FileFormat(
        name="ods",
        open_table=workbook.open_spreadsheet,
        matches=workbook.is_ods,
        family="workbook",
        options=_SHEET_OPTIONS,
    ),
    FileFormat(
        name="xls",
        open_table=workbook.open_spreadsheet,
        matches=workbook.is_xls,
        family="workbook",
        options=_SHEET_OPTIONS,
    ),
    FileFormat(
        name="shapefile",
        open_table=shapefile.open_shapefile,
        matches=shapefile.is_shapefile,
        aliases=("shp",),
        options=_LAYER_OPTIONS | {"encoding"},
        ending="shp.zip",
        writer=gis_writers.SHAPEFILE,
    ),
    # A catalogue may have SIP headers before the XML, so it is tested before all other text.
    FileFormat(
        name="gb28181",
        open_table=platforms.open_catalogue,
        matches=platforms.is_catalogue,
        family="text",
        options=frozenset(("encoding",)),
        ending="gb28181.xml",
        writer=platform_writers.CATALOGUE,
    ),
    FileFormat(
        name="kml",
        open_table=kml.open_kml,
        matches=kml.is_kml,
        aliases=("kmz",),
        family="text",
        options=frozenset(("layer", "encoding")),
        ending="kml",
        writer=text_writers.KML,
    ),
    FileFormat(
        name="html",
        open_table=html_tables.open_web_page,
        matches=html_tables.is_web_page,
        aliases=("htm", "xhtml"),
        family="text",
        options=_SHEET_OPTIONS | {"encoding"},
    ),
    FileFormat(
        name="xml-spreadsheet",
        open_table=excel_xml.open_excel_xml,
        matches=excel_xml.is_excel_xml,
        aliases=("spreadsheetml",),
        family="text",
        options=_SHEET_OPTIONS | {"encoding"},
    ),
    FileFormat(
        name="gat1400",
        open_table=platforms.open_view_library,
        matches=platforms.is_view_library,
        family="text",
        options=_LAYER_OPTIONS | {"encoding"},
        ending="gat1400.json",
        writer=platform_writers.VIEW_LIBRARY,
    ),
    FileFormat(
        name="esrijson",
        open_table=gdal.open_gdal_layer,
        matches=gdal.is_esri_json,
        family="text",
    ),
    FileFormat(
        name="json",
        open_table=tables.open_json_table,
        matches=tables.is_json_table,
        family="text",
        options=_LAYER_OPTIONS | {"encoding"},
    ),
    FileFormat(
        name="geojsonseq",
        open_table=geojson.open_geojson,
        matches=geojson.is_geojson_sequence,
        aliases=("geojsonl",),
        family="text",
        options=frozenset(("encoding",)),
        ending="geojsonl",
        writer=text_writers.GEOJSON_LINES,
    ),
    FileFormat(
        name="geojson",
        open_table=geojson.open_geojson,
        matches=geojson.is_geojson,
        family="text",
        options=frozenset(("encoding",)),
        ending="geojson",
        writer=text_writers.GEOJSON,
    ),
    FileFormat(
        name="filegdb",
        open_table=gdal.open_gdal_layer,
        matches=lambda content: "gdbtable" in content.member_suffixes,
        aliases=("gdb",),
        options=_LAYER_OPTIONS,
    ),
    FileFormat(
        name="mapinfo",
        open_table=gdal.open_gdal_layer,
        matches=lambda content: bool(content.member_suffixes & {"tab", "mif"}),
        aliases=("tab", "mif"),
        options=_LAYER_OPTIONS,
    ),
    FileFormat(
        name="gpkg",
        open_table=gdal.open_gdal_layer,
        matches=gdal.is_geopackage,
        aliases=("geopackage",),
        options=_LAYER_OPTIONS,
        ending="gpkg",
        writer=gis_writers.GEOPACKAGE,
    ),
    FileFormat(
        name="fgb",
        open_table=gdal.open_gdal_layer,
        matches=lambda content: content.head.startswith(b"fgb\x03fgb"),
        aliases=("flatgeobuf",),
        options=_LAYER_OPTIONS,
        ending="fgb",
        writer=gis_writers.FLATGEOBUF,
    ),
    FileFormat(
        name="parquet",
        open_table=parquet.open_parquet,
        matches=lambda content: content.head.startswith(b"PAR1"),
        aliases=("geoparquet",),
        options=frozenset(("layer",)),
        ending="parquet",
        writer=gis_writers.GEOPARQUET,
    ),
    FileFormat(
        name="csv",
        open_table=delimited.open_delimited,
        matches=delimited.is_delimited,
        aliases=("txt",),
        family="text",
        options=_TEXT_OPTIONS,
        ending="csv",
        writer=text_writers.CSV,
    ),
    FileFormat(
        name="tsv",
        open_table=delimited.open_delimited,
        matches=lambda content: False,
        family="text",
        options=_TEXT_OPTIONS,
    ),
)

FORMATS: Final[Mapping[str, FileFormat]] = MappingProxyType({known.name: known for known in _FORMATS})
"""Formats that can be read, by name, in the order of their content tests."""

WRITERS: Final[Mapping[str, FileWriter]] = MappingProxyType(
    {known.ending: known.writer for known in _FORMATS if known.writer is not None}
)
"""Formats that can be written, by the ending of the file name."""

_NAMES: Final = {alias: known.name for known in _FORMATS for alias in (known.name, *known.aliases)}


def parse_format_name(name: str) -> str:
    """Return the name of the format that a sender states.

    Raises
    ------
    Invalid
        ``unsupported-format``.
    """
    known = _NAMES.get(name.strip().lower())
    if known is None:
        message = Message("Unknown format {name!r}. Formats: {formats}.", name=name, formats=", ".join(FORMATS))
        raise Invalid(message, code="unsupported-format")
    return known

"""Every format that can be written, by the end of its file name."""

from typing import Final

from app.ingest.writers import gis, platforms, text, xlsx
from app.ingest.writers.model import Batches, Column, FileWriter, Layout

__all__ = ["FORMATS", "Batches", "Column", "FileWriter", "Layout"]

FORMATS: Final[dict[str, FileWriter]] = {
    "csv": FileWriter("text/csv; charset=utf-8", text.write_csv, text.list_csv_notes),
    "xlsx": FileWriter(
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        xlsx.write_xlsx,
        xlsx.list_xlsx_notes,
    ),
    "geojson": FileWriter("application/geo+json", text.write_geojson, text.list_geojson_notes),
    "geojsonl": FileWriter("application/geo+json-seq", text.write_geojsonl, text.list_geojsonl_notes),
    "gpkg": FileWriter("application/geopackage+sqlite3", gis.write_gpkg, gis.list_gpkg_notes),
    "fgb": FileWriter("application/flatgeobuf", gis.write_fgb, gis.list_fgb_notes),
    "parquet": FileWriter("application/vnd.apache.parquet", gis.write_parquet, gis.list_parquet_notes),
    "shp.zip": FileWriter("application/zip", gis.write_shapefile, gis.list_shapefile_notes),
    "kml": FileWriter(
        "application/vnd.google-earth.kml+xml", text.write_kml, text.list_kml_notes, lonlat=True
    ),
    "gb28181.xml": FileWriter(
        "application/xml", platforms.write_catalogue, platforms.list_catalogue_notes, lonlat=True,
        kinds=("cameras",),
    ),
    "gat1400.json": FileWriter(
        "application/json", platforms.write_view_library, platforms.list_view_library_notes, lonlat=True,
        kinds=("cameras", "checkpoints"),
    ),
}  # fmt: skip
"""End of the file name -> format."""

"""Every format that can be written, by the end of its file name."""

from typing import Final

from app.ingest.writers import gis, platforms, text, xlsx
from app.ingest.writers.model import Batches, Column, Format, Layout

__all__ = ["FORMATS", "Batches", "Column", "Format", "Layout"]

FORMATS: Final[dict[str, Format]] = {
    "csv": Format("text/csv; charset=utf-8", text.write_csv, text.csv_notes),
    "xlsx": Format(
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        xlsx.write_xlsx,
        xlsx.xlsx_notes,
    ),
    "geojson": Format("application/geo+json", text.write_geojson, text.geojson_notes),
    "geojsonl": Format("application/geo+json-seq", text.write_geojsonl, text.lines_notes),
    "gpkg": Format("application/geopackage+sqlite3", gis.write_gpkg, gis.gpkg_notes),
    "fgb": Format("application/flatgeobuf", gis.write_fgb, gis.fgb_notes),
    "parquet": Format("application/vnd.apache.parquet", gis.write_parquet, gis.parquet_notes),
    "shp.zip": Format("application/zip", gis.write_shapefile, gis.shapefile_notes),
    "kml": Format(
        "application/vnd.google-earth.kml+xml", text.write_kml, text.kml_notes, lonlat=True
    ),
    "gb28181.xml": Format(
        "application/xml", platforms.write_catalogue, platforms.catalogue_notes, lonlat=True,
        kinds=("cameras",),
    ),
    "gat1400.json": Format(
        "application/json", platforms.write_objects, platforms.objects_notes, lonlat=True,
        kinds=("cameras", "checkpoints"),
    ),
}  # fmt: skip
"""End of the file name -> format."""

"""Documents for tile clients: tile matrix sets, tile sets of a collection, TileJSON.

Pure: from the collections' description to documents (OGC API Tiles 1.0, TileJSON 3.0.0).
"""

from collections.abc import Sequence
from typing import Any, Final

from app.geo.projection.tile_matrix import MATRIX_SETS, MAX_MATRIX, TileMatrixSet
from app.ogc.collection_model import Collection
from app.ogc.documents import JSON, build_link

MVT: Final = "application/vnd.mapbox-vector-tile"
_TILING: Final = "http://www.opengis.net/def/rel/ogc/1.0/tiling-scheme"
_WORLD: Final = (-180.0, -85.051129, 180.0, 85.051129)
Extent = Sequence[float] | None


def build_matrix_set_list(base: str) -> dict[str, Any]:
    """Return the list of tile matrix sets."""
    return {
        "tileMatrixSets": [
            {
                "id": result.name,
                "title": result.name,
                "uri": result.uri,
                "crs": result.crs,
                "links": [build_link(f"{base}/tileMatrixSets/{result.name}", "self", JSON, "The matrix set")],
            }
            for result in MATRIX_SETS.values()
        ]
    }


def build_tileset_list(base: str, of: Collection, extent: Extent) -> dict[str, Any]:
    """Return the tile sets of a collection."""
    home = f"{base}/collections/{of.id}"
    return {
        "links": [
            build_link(f"{home}/tiles", "self", JSON, "This document"),
            build_link(home, "collection", JSON, "The collection"),
        ],
        "tilesets": [build_tileset(base, of, result, extent) for result in MATRIX_SETS.values()],
    }


def build_tileset(base: str, of: Collection, matrices: TileMatrixSet, extent: Extent) -> dict[str, Any]:
    """Return the description of one tile set; its URL template has the standard's order, row first."""
    home = f"{base}/collections/{of.id}/tiles/{matrices.name}"
    scheme = f"{base}/tileMatrixSets/{matrices.name}"
    members: dict[str, Any] = {
        "title": f"{of.title} ({matrices.name})",
        "dataType": "vector",
        "crs": matrices.crs,
        "tileMatrixSetURI": matrices.uri,
        "links": [
            build_link(home, "self", JSON, "This document"),
            build_link(scheme, _TILING, JSON, "The tile matrix set"),
            build_link(f"{home}/tilejson.json", "describedby", JSON, "TileJSON"),
            build_link(build_tile_template(base, of, matrices, "tileMatrix", "tileRow", "tileCol"), "item", MVT, "Tiles")
            | {"templated": True},
        ],
        "layers": [describe_layer(of)],
    }  # fmt: skip
    if extent is not None:
        west, south, east, north = extent
        members["boundingBox"] = {
            "lowerLeft": [west, south],
            "upperRight": [east, north],
            "crs": "http://www.opengis.net/def/crs/OGC/1.3/CRS84",
        }
        members["tileMatrixSetLimits"] = [
            describe_limits(matrices, matrix, (west, south, east, north)) for matrix in range(MAX_MATRIX + 1)
        ]
    return members


def build_tile_template(base: str, of: Collection, matrices: TileMatrixSet, z: str, y: str, x: str) -> str:
    """Return the URL template of a tile with the given placeholder names."""
    home = f"{base}/collections/{of.id}/tiles/{matrices.name}"
    return f"{home}/{{{z}}}/{{{y}}}/{{{x}}}.mvt"


def build_tilejson(base: str, of: Collection, matrices: TileMatrixSet, extent: Extent) -> dict[str, Any]:
    """Return the TileJSON of a tile set."""
    return {
        "tilejson": "3.0.0",
        "name": of.id,
        "description": of.title,
        "scheme": "xyz",
        "tiles": [build_tile_template(base, of, matrices, "z", "y", "x")],
        "minzoom": 0,
        "maxzoom": MAX_MATRIX,
        "bounds": [*(extent or _WORLD)],
        "vector_layers": [{"id": of.id, "description": of.title, "fields": {"code": "id"}, "minzoom": 0}],
    }


def describe_layer(of: Collection) -> dict[str, Any]:
    """Return the description of a vector layer."""
    dimension = 0 if "Point" in of.shapes else 1 if "LineString" in of.shapes else 2
    return {
        "id": of.id,
        "title": of.title,
        "description": of.description,
        "dataType": "vector",
        "geometryDimension": dimension,
    }


def describe_limits(matrices: TileMatrixSet, matrix: int, box: tuple[float, float, float, float]) -> dict[str, Any]:
    """Return the tile limits of one matrix for a bounding box."""
    first_row, last_row, first_column, last_column = matrices.tile_limits(box, matrix)
    return {
        "tileMatrix": str(matrix),
        "minTileRow": first_row,
        "maxTileRow": last_row,
        "minTileCol": first_column,
        "maxTileCol": last_column,
    }

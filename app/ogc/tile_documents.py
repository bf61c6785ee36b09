"""What tile clients read: tile matrix sets, tile sets of a collection, TileJSON.

Pure: from the collections' description to documents (OGC API Tiles 1.0, TileJSON 3.0.0).
"""

from collections.abc import Sequence
from typing import Any, Final

from app.geo.projection.tile_matrix import DEEPEST, MATRIX_SETS, MatrixSet
from app.ogc.collection_model import Collection
from app.ogc.documents import JSON, link

MVT: Final = "application/vnd.mapbox-vector-tile"
_TILING: Final = "http://www.opengis.net/def/rel/ogc/1.0/tiling-scheme"
_WORLD: Final = (-180.0, -85.051129, 180.0, 85.051129)
Extent = Sequence[float] | None


def matrix_sets(base: str) -> dict[str, Any]:
    """Return the list of tile matrix sets."""
    return {
        "tileMatrixSets": [
            {
                "id": found.name,
                "title": found.name,
                "uri": found.uri,
                "crs": found.crs,
                "links": [link(f"{base}/tileMatrixSets/{found.name}", "self", JSON, "The matrix set")],
            }
            for found in MATRIX_SETS.values()
        ]
    }


def tilesets(base: str, of: Collection, extent: Extent) -> dict[str, Any]:
    """Return the tile sets of a collection."""
    home = f"{base}/collections/{of.id}"
    return {
        "links": [
            link(f"{home}/tiles", "self", JSON, "This document"),
            link(home, "collection", JSON, "The collection"),
        ],
        "tilesets": [tileset(base, of, found, extent) for found in MATRIX_SETS.values()],
    }


def tileset(base: str, of: Collection, matrices: MatrixSet, extent: Extent) -> dict[str, Any]:
    """Return the description of one tile set; the template has the standard's order, row first."""
    home = f"{base}/collections/{of.id}/tiles/{matrices.name}"
    scheme = f"{base}/tileMatrixSets/{matrices.name}"
    told: dict[str, Any] = {
        "title": f"{of.title} ({matrices.name})",
        "dataType": "vector",
        "crs": matrices.crs,
        "tileMatrixSetURI": matrices.uri,
        "links": [
            link(home, "self", JSON, "This document"),
            link(scheme, _TILING, JSON, "The tile matrix set"),
            link(f"{home}/tilejson.json", "describedby", JSON, "TileJSON"),
            link(template(base, of, matrices, "tileMatrix", "tileRow", "tileCol"), "item", MVT, "Tiles")
            | {"templated": True},
        ],
        "layers": [_layer(of)],
    }  # fmt: skip
    if extent is not None:
        west, south, east, north = extent
        told["boundingBox"] = {
            "lowerLeft": [west, south],
            "upperRight": [east, north],
            "crs": "http://www.opengis.net/def/crs/OGC/1.3/CRS84",
        }
        told["tileMatrixSetLimits"] = [
            _limits(matrices, matrix, (west, south, east, north)) for matrix in range(DEEPEST + 1)
        ]
    return told


def template(base: str, of: Collection, matrices: MatrixSet, z: str, y: str, x: str) -> str:
    """Return the URL of a tile with the given names in braces."""
    home = f"{base}/collections/{of.id}/tiles/{matrices.name}"
    return f"{home}/{{{z}}}/{{{y}}}/{{{x}}}.mvt"


def tilejson(base: str, of: Collection, matrices: MatrixSet, extent: Extent) -> dict[str, Any]:
    """Return the TileJSON of a tile set."""
    return {
        "tilejson": "3.0.0",
        "name": of.id,
        "description": of.title,
        "scheme": "xyz",
        "tiles": [template(base, of, matrices, "z", "y", "x")],
        "minzoom": 0,
        "maxzoom": DEEPEST,
        "bounds": [*(extent or _WORLD)],
        "vector_layers": [{"id": of.id, "description": of.title, "fields": {"code": "id"}, "minzoom": 0}],
    }


def _layer(of: Collection) -> dict[str, Any]:
    dimension = 0 if "Point" in of.shapes else 1 if "LineString" in of.shapes else 2
    return {
        "id": of.id,
        "title": of.title,
        "description": of.description,
        "dataType": "vector",
        "geometryDimension": dimension,
    }


def _limits(matrices: MatrixSet, matrix: int, box: tuple[float, float, float, float]) -> dict[str, Any]:
    first_row, last_row, first_column, last_column = matrices.limits(box, matrix)
    return {
        "tileMatrix": str(matrix),
        "minTileRow": first_row,
        "maxTileRow": last_row,
        "minTileCol": first_column,
        "maxTileCol": last_column,
    }

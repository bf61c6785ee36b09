"""Documents of the OGC API: landing page, conformance, collections, schemas, tile sets, TileJSON.

All functions are pure. URLs are absolute and start with the base URL.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from app.geo.projection.reference_systems import CRS84, SYSTEMS
from app.geo.projection.tile_matrix import MATRIX_SETS, MAX_MATRIX, TileMatrixSet
from app.ogc.collection_model import Collection, Property

_OGC: Final = "http://www.opengis.net/spec"
_RELATION: Final = "http://www.opengis.net/def/rel/ogc/1.0"
JSON: Final = "application/json"
GEOJSON: Final = "application/geo+json"
HTML: Final = "text/html"
SCHEMA: Final = "application/schema+json"
OPENAPI: Final = "application/vnd.oai.openapi+json;version=3.0"

CONFORMANCE: Final = (
    *(f"{_OGC}/ogcapi-common-1/1.0/conf/{name}" for name in ("core", "landing-page", "json", "html", "oas30")),
    *(f"{_OGC}/ogcapi-common-2/1.0/conf/{name}" for name in ("collections",)),
    *(f"{_OGC}/ogcapi-features-1/1.0/conf/{name}" for name in ("core", "geojson", "html", "oas30")),
    f"{_OGC}/ogcapi-features-2/1.0/conf/crs",
    *(
        f"{_OGC}/ogcapi-features-3/1.0/conf/{name}"
        for name in ("queryables", "queryables-query-parameters", "filter", "features-filter")
    ),
    *(
        f"{_OGC}/cql2/1.0/conf/{name}"
        for name in (
            "cql2-text",
            "cql2-json",
            "basic-cql2",
            "advanced-comparison-operators",
            "case-insensitive-comparison",
            "accent-insensitive-comparison",
            "basic-spatial-functions",
            "basic-spatial-functions-plus",
            "spatial-functions",
            "temporal-functions",
            "array-functions",
            "property-property",
            "functions",
            "arithmetic",
            "basic-spatial-operators",  # the older name QGIS asks for
        )
    ),
    *(
        f"{_OGC}/ogcapi-tiles-1/1.0/conf/{name}"
        for name in ("core", "tileset", "tilesets-list", "geodata-tilesets", "mvt")
    ),
    *(f"{_OGC}/ogcapi-common-3/1.0/conf/{name}" for name in ("schemas", "queryables", "sortables")),
    f"{_OGC}/ogcapi-features-5/1.0/conf/schemas",  # the older name QGIS asks for
    *(
        f"{_OGC}/ogcapi-features-4/1.0/conf/{name}"  # a draft's names
        for name in ("create-replace-delete", "update", "features", "optimistic-locking-etags")
    ),
    *(f"{_OGC}/ogcapi-features-6/1.0/conf/{name}" for name in ("properties", "properties-features")),
    *(f"{_OGC}/ogcapi-features-8/1.0/conf/{name}" for name in ("sortables", "sorting", "features-sorting")),
)
"""What the service conforms to; a test holds each class to a behaviour."""

FUNCTIONS: Final[tuple[dict[str, Any], ...]] = (
    {
        "name": "withinDistance",
        "description": "Whether two places lie within a distance in metres on the ellipsoid.",
        "arguments": [
            {"title": "first", "type": ["geometry"]},
            {"title": "second", "type": ["geometry"]},
            {"title": "metres", "type": ["number"]},
        ],
        "returns": ["boolean"],
    },
    {
        "name": "distance",
        "description": "Shortest distance of two places in metres on the ellipsoid.",
        "arguments": [
            {"title": "first", "type": ["geometry"]},
            {"title": "second", "type": ["geometry"]},
        ],
        "returns": ["number"],
    },
)
"""Functions beyond those of CQL2 itself."""

_TYPES: Final[Mapping[str, dict[str, Any]]] = {
    "text": {"type": "string"},
    "integer": {"type": "integer"},
    "number": {"type": "number"},
    "boolean": {"type": "boolean"},
    "day": {"type": "string", "format": "date"},
    "instant": {"type": "string", "format": "date-time"},
    "words": {"type": "array", "items": {"type": "string"}},
    "json": {},
}


def build_link(href: str, relation: str, media_type: str, title: str) -> dict[str, str]:
    """Return a link."""
    return {"href": href, "rel": relation, "type": media_type, "title": title}


def build_landing_page(base: str, title: str, description: str) -> dict[str, Any]:
    """Return the landing page."""
    return {
        "title": title,
        "description": description,
        "links": [
            build_link(base, "self", JSON, "This document"),
            build_link(f"{base}?f=html", "alternate", HTML, "This document as HTML"),
            build_link(f"{base}/api", "service-desc", OPENAPI, "Description of the API"),
            build_link(f"{base}/api?f=html", "service-doc", HTML, "The API, to be read"),
            build_link(f"{base}/conformance", "conformance", JSON, "What it conforms to"),
            build_link(f"{base}/collections", "data", JSON, "The collections"),
            build_link(f"{base}/functions", f"{_RELATION}/functions", JSON, "Functions in filters"),
            build_link(f"{base}/tileMatrixSets", f"{_RELATION}/tiling-schemes", JSON, "Tile matrix sets"),
            build_link(f"{base}/qgis.qgs", "related", "application/x-qgis-project", "A QGIS project"),
        ],
    }


def build_conformance() -> dict[str, Any]:
    """Return the conformance declaration."""
    return {"conformsTo": list(CONFORMANCE)}


def build_functions() -> dict[str, Any]:
    """Return the functions a filter may use in addition to those of CQL2."""
    return {"functions": list(FUNCTIONS)}


def build_collection_list(base: str, known: Iterable[Collection], extent: Sequence[float] | None) -> dict[str, Any]:
    """Return the list of collections."""
    return {
        "links": [
            build_link(f"{base}/collections", "self", JSON, "This document"),
            build_link(f"{base}/collections?f=html", "alternate", HTML, "This document as HTML"),
        ],
        "crs": [system.uri for system in SYSTEMS],
        "collections": [build_collection(base, entry, extent) for entry in known],
    }


def build_collection(base: str, of: Collection, extent: Sequence[float] | None) -> dict[str, Any]:
    """Return the description of one collection."""
    home = f"{base}/collections/{of.id}"
    return {
        "id": of.id,
        "title": of.title,
        "description": of.description,
        "itemType": "feature",
        "extent": {
            "spatial": {"bbox": [list(extent or (-180, -90, 180, 90))], "crs": CRS84.uri},
            "temporal": {"interval": [[None, None]]},
        },
        "crs": [system.uri for system in SYSTEMS],
        "storageCrs": CRS84.uri,
        "links": [
            build_link(home, "self", JSON, "This document"),
            build_link(f"{home}?f=html", "alternate", HTML, "This document as HTML"),
            build_link(f"{home}/items", "items", GEOJSON, "The features"),
            build_link(f"{home}/items?f=html", "items", HTML, "The features as HTML"),
            build_link(f"{home}/schema", f"{_RELATION}/schema", SCHEMA, "Schema of the features"),
            build_link(f"{home}/schema/feature", "describedby", SCHEMA, "Schema of a GeoJSON Feature"),
            build_link(f"{home}/queryables", f"{_RELATION}/queryables", SCHEMA, "What filters may name"),
            build_link(f"{home}/sortables", f"{_RELATION}/sortables", SCHEMA, "What sorts"),
            build_link(f"{home}/tiles", f"{_RELATION}/tilesets-vector", JSON, "Vector tiles"),
        ],
    }


def build_schema(base: str, of: Collection, *, reveal: bool) -> dict[str, Any]:
    """Return the JSON Schema of a collection's features."""
    visible = of.visible_properties(reveal=reveal)
    properties = {field.name: describe_property(base, field) for field in visible}
    for number, described in enumerate(properties.values(), start=1):
        described["x-ogc-propertySeq"] = number
    document = build_schema_document(f"{base}/collections/{of.id}/schema", of, properties | describe_geometry(of))
    document["required"] = [field.name for field in visible if field.required] if of.writes else []
    document["additionalProperties"] = False
    return document


def build_feature_schema(base: str, of: Collection, *, reveal: bool) -> dict[str, Any]:
    """Return the JSON Schema of a feature as GeoJSON; GDAL takes its field types from it."""
    visible = {field.name: describe_property(base, field) for field in of.visible_properties(reveal=reveal)}
    members = {
        "type": {"type": "string", "enum": ["Feature"]},
        "id": {"type": "string"},
        "geometry": {"type": "object", "title": " or ".join(of.shapes)},
        "properties": {"type": "object", "properties": visible},
    }
    document = build_schema_document(f"{base}/collections/{of.id}/schema/feature", of, members)
    document["required"] = ["type", "geometry", "properties"]
    return document


def build_queryables(base: str, of: Collection, *, reveal: bool) -> dict[str, Any]:
    """Return the JSON Schema of the properties that filters may use."""
    visible = [field for field in of.visible_properties(reveal=reveal) if field.queryable]
    properties = {field.name: describe_property(base, field, query=True) for field in visible}
    position = describe_geometry(of)
    # QGIS sends spatial filters to those only that say so with this address.
    position["geometry"]["$ref"] = f"https://geojson.org/schema/{_GEOJSON.get(of.shapes, 'Geometry')}.json"
    return build_schema_document(
        f"{base}/collections/{of.id}/queryables",
        of,
        properties | position,
        additionalProperties=False,
    )


def build_sortables(base: str, of: Collection, *, reveal: bool) -> dict[str, Any]:
    """Return the JSON Schema of the properties that features can be sorted by."""
    visible = [field for field in of.visible_properties(reveal=reveal) if field.sortable and not field.restricted]
    properties = {field.name: describe_property(base, field, query=True) for field in visible}
    return build_schema_document(f"{base}/collections/{of.id}/sortables", of, properties, additionalProperties=False)


def build_schema_document(
    identity: str, of: Collection, properties: dict[str, Any], **extra_members: Any
) -> dict[str, Any]:
    """Return a JSON Schema with the members that all schema documents share."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": identity,
        "type": "object",
        "title": of.title,
        "description": of.description,
        "properties": properties,
        **extra_members,
    }


def describe_property(base: str, field: Property, *, query: bool = False) -> dict[str, Any]:
    """Return the JSON Schema of a property."""
    described: dict[str, Any] = {"title": field.title, **_TYPES[field.type]}
    if field.description:
        described["description"] = field.description
    if field.words:
        if field.type == "words":
            described["items"] = {"type": "string", "enum": list(field.words)}
        else:
            described["enum"] = list(field.words)
    if field.unit:
        described["x-ogc-unit"] = field.unit
    if field.role:
        described["x-ogc-role"] = field.role
    if field.refers_to:
        described["x-ogc-role"] = field.role or "reference"
        described["x-ogc-collectionId"] = field.refers_to
    if field.kept and not query:
        described["readOnly"] = True
    return described


_FORMATS: Final[Mapping[tuple[str, ...], str]] = {
    ("Point",): "geometry-point",
    ("LineString",): "geometry-linestring",
    ("MultiPolygon",): "geometry-multipolygon",
}
_GEOJSON: Final[Mapping[tuple[str, ...], str]] = {
    ("Point",): "Point",
    ("LineString",): "LineString",
    ("MultiPolygon",): "MultiPolygon",
}


def describe_geometry(of: Collection) -> dict[str, Any]:
    """Return the JSON Schema of the geometry."""
    geometry_schema = _FORMATS.get(of.shapes, "geometry-any")
    return {
        "geometry": {
            "title": "几何 Geometry",
            "x-ogc-role": "primary-geometry",
            "format": geometry_schema,
        }
    }


# Documents for tile clients (OGC API Tiles 1.0, TileJSON 3.0.0).

MVT: Final = "application/vnd.mapbox-vector-tile"
_TILING_SCHEME: Final = "http://www.opengis.net/def/rel/ogc/1.0/tiling-scheme"
_TILE_EXTENT: Final = (-180.0, -85.051129, 180.0, 85.051129)
Extent = Sequence[float] | None


def build_matrix_set_list(base: str) -> dict[str, Any]:
    """Return the list of tile matrix sets."""
    return {
        "tileMatrixSets": [
            {
                "id": matrix_set.name,
                "title": matrix_set.name,
                "uri": matrix_set.uri,
                "crs": matrix_set.crs,
                "links": [build_link(f"{base}/tileMatrixSets/{matrix_set.name}", "self", JSON, "The matrix set")],
            }
            for matrix_set in MATRIX_SETS.values()
        ]
    }


def build_tileset_list(base: str, collection: Collection, extent: Extent) -> dict[str, Any]:
    """Return the tile sets of a collection."""
    home = f"{base}/collections/{collection.id}"
    return {
        "links": [
            build_link(f"{home}/tiles", "self", JSON, "This document"),
            build_link(home, "collection", JSON, "The collection"),
        ],
        "tilesets": [build_tileset(base, collection, matrix_set, extent) for matrix_set in MATRIX_SETS.values()],
    }


def build_tileset(base: str, collection: Collection, matrices: TileMatrixSet, extent: Extent) -> dict[str, Any]:
    """Return the description of one tile set; its URL template has the order of the standard, row first."""
    home = f"{base}/collections/{collection.id}/tiles/{matrices.name}"
    scheme = f"{base}/tileMatrixSets/{matrices.name}"
    members: dict[str, Any] = {
        "title": f"{collection.title} ({matrices.name})",
        "dataType": "vector",
        "crs": matrices.crs,
        "tileMatrixSetURI": matrices.uri,
        "links": [
            build_link(home, "self", JSON, "This document"),
            build_link(scheme, _TILING_SCHEME, JSON, "The tile matrix set"),
            build_link(f"{home}/tilejson.json", "describedby", JSON, "TileJSON"),
            build_link(
                build_tile_template(base, collection, matrices, "tileMatrix", "tileRow", "tileCol"),
                "item",
                MVT,
                "Tiles",
            )
            | {"templated": True},
        ],
        "layers": [describe_layer(collection)],
    }
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


def build_tile_template(base: str, collection: Collection, matrices: TileMatrixSet, z: str, y: str, x: str) -> str:
    """Return the URL template of a tile with these placeholder names."""
    home = f"{base}/collections/{collection.id}/tiles/{matrices.name}"
    return f"{home}/{{{z}}}/{{{y}}}/{{{x}}}.mvt"


def build_tilejson(base: str, collection: Collection, matrices: TileMatrixSet, extent: Extent) -> dict[str, Any]:
    """Return the TileJSON of a tile set."""
    return {
        "tilejson": "3.0.0",
        "name": collection.id,
        "description": collection.title,
        "scheme": "xyz",
        "tiles": [build_tile_template(base, collection, matrices, "z", "y", "x")],
        "minzoom": 0,
        "maxzoom": MAX_MATRIX,
        "bounds": [*(extent or _TILE_EXTENT)],
        "vector_layers": [
            {"id": collection.id, "description": collection.title, "fields": {"code": "id"}, "minzoom": 0}
        ],
    }


def describe_layer(collection: Collection) -> dict[str, Any]:
    """Return the description of a vector layer."""
    dimension = 0 if "Point" in collection.shapes else 1 if "LineString" in collection.shapes else 2
    return {
        "id": collection.id,
        "title": collection.title,
        "description": collection.description,
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

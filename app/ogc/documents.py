"""Documents of the OGC API: landing page, conformance, collections, schemas.

Pure: from the collections' description to documents. Addresses are absolute, below a given base.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from app.geo.projection.reference_systems import CRS84, SYSTEMS
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
    properties = {property_.name: describe_property(base, property_) for property_ in visible}
    for number, described in enumerate(properties.values(), start=1):
        described["x-ogc-propertySeq"] = number
    document = build_schema_document(f"{base}/collections/{of.id}/schema", of, properties | describe_geometry(of))
    document["required"] = [property_.name for property_ in visible if property_.required] if of.writes else []
    document["additionalProperties"] = False
    return document


def build_feature_schema(base: str, of: Collection, *, reveal: bool) -> dict[str, Any]:
    """Return the JSON Schema of a feature as GeoJSON; GDAL takes its field types from it."""
    visible = {property_.name: describe_property(base, property_) for property_ in of.visible_properties(reveal=reveal)}
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
    visible = [property_ for property_ in of.visible_properties(reveal=reveal) if property_.queryable]
    properties = {property_.name: describe_property(base, property_, query=True) for property_ in visible}
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
    visible = [
        property_
        for property_ in of.visible_properties(reveal=reveal)
        if property_.sortable and not property_.restricted
    ]
    properties = {property_.name: describe_property(base, property_, query=True) for property_ in visible}
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


def describe_property(base: str, property_: Property, *, query: bool = False) -> dict[str, Any]:
    """Return the JSON Schema of a property."""
    described: dict[str, Any] = {"title": property_.title, **_TYPES[property_.type]}
    if property_.description:
        described["description"] = property_.description
    if property_.words:
        if property_.type == "words":
            described["items"] = {"type": "string", "enum": list(property_.words)}
        else:
            described["enum"] = list(property_.words)
    if property_.unit:
        described["x-ogc-unit"] = property_.unit
    if property_.role:
        described["x-ogc-role"] = property_.role
    if property_.refers_to:
        described["x-ogc-role"] = property_.role or "reference"
        described["x-ogc-collectionId"] = property_.refers_to
    if property_.kept and not query:
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

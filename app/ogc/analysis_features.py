"""Results of the analysis as OGC features.

A source is a function that returns a GeoJSON FeatureCollection as bytes, the same object while nothing changes. To
add a computed collection, describe it in ``app.ogc.collections`` and add its source to `SOURCES`. PostgreSQL receives
the rows that a page may need, so one compiler filters, sorts and converts records and results.
"""

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Literal

import anyio
import numpy as np
import orjson
import shapely

from app.access.roles import Principal
from app.analysis.cordon.report import CordonQuery, build_leak_route
from app.analysis.coverage.area import AreaQuery, build_area_gaps
from app.analysis.coverage.fields_of_view import FieldOfViewQuery
from app.analysis.coverage.fields_of_view import build_page as build_field_of_view_page
from app.analysis.coverage.report import CoverageQuery, GapQuery, build_gaps, build_points
from app.analysis.crossings.report import CrossingQuery, build_crossings
from app.analysis.crossings.road_network import TRAVEL_DIRECTIONS
from app.analysis.metadata import build_result
from app.analysis.results import Analysis
from app.analysis.service import AnalysisService
from app.errors import BadQuery, Conflict
from app.messages import Message
from app.models.vocabulary import LEVELS, Level
from app.ogc.collection_model import Collection
from app.ogc.collections import BY_ID
from app.ogc.queries.features import FeatureQuery

Source = Callable[[AnalysisService, str, Principal], Awaitable[bytes]]
"""Returns the features of one jurisdiction."""

MAX_LEAKS: Final = 20
"""Leaks of each ring and direction."""


async def read_coverage(service: AnalysisService, jurisdiction: str, principal: Principal) -> bytes:
    """Return the coverage of all control points as GeoJSON."""
    return await service.load_result(jurisdiction, principal, build_points, CoverageQuery(geojson=True))


async def read_gaps(service: AnalysisService, jurisdiction: str, principal: Principal) -> bytes:
    """Return the gaps as GeoJSON."""
    return await service.load_result(jurisdiction, principal, build_gaps, GapQuery())


async def read_crossings(service: AnalysisService, jurisdiction: str, principal: Principal) -> bytes:
    """Return the crossings as GeoJSON."""
    return await service.load_result(jurisdiction, principal, build_crossings, CrossingQuery(geojson=True))


async def read_fields_of_view(service: AnalysisService, jurisdiction: str, principal: Principal) -> bytes:
    """Return the fields of view of all cameras as GeoJSON."""
    return await service.load_result(jurisdiction, principal, list_fields_of_view)


def list_fields_of_view(analysis: Analysis) -> dict[str, Any]:
    """Return the fields of view as a FeatureCollection."""
    return {"features": build_field_of_view_page(analysis, FieldOfViewQuery(), limit=2**31, after=None)[0]}


async def read_area(service: AnalysisService, jurisdiction: str, principal: Principal) -> bytes:
    """Return the area gaps as GeoJSON."""
    return await service.load_result(jurisdiction, principal, list_area_gaps)


def list_area_gaps(analysis: Analysis) -> dict[str, Any]:
    """Return the area gaps as a FeatureCollection."""
    features = build_area_gaps(analysis, AreaQuery())
    return name_by_jurisdiction(analysis, features["features"]) | {"not_assessed": features["not_assessed"]}


_CORDONS: Final[tuple[Level | Literal["through"], ...]] = (*reversed(LEVELS), "through")


async def read_leaks(service: AnalysisService, jurisdiction: str, principal: Principal) -> bytes:
    """Return the leaks of all rings as GeoJSON."""
    return await service.load_result(jurisdiction, principal, list_leaks)


def list_leaks(analysis: Analysis) -> dict[str, Any]:
    """Return the leaks of every ring that can be assessed, in both directions."""
    features: list[dict[str, Any]] = []
    for level in _CORDONS:
        for direction in TRAVEL_DIRECTIONS:
            query = CordonQuery(level, direction, limit=MAX_LEAKS)
            with suppress(Conflict):
                features += build_leak_route(analysis, query).get("features", [])
    not_assessed = build_result(analysis)["not_assessed"]
    return name_by_jurisdiction(analysis, features) | {"not_assessed": not_assessed}


def name_by_jurisdiction(analysis: Analysis, features: list[dict[str, Any]]) -> dict[str, Any]:
    """Return features whose ids include the jurisdiction; without it they are unique only within one jurisdiction."""
    owner = analysis.snapshot.jurisdiction
    return {"features": [{**feature, "id": f"{owner}-{feature['id']}"} for feature in features]}


SOURCES: Final[Mapping[str, Source]] = {
    "coverage": read_coverage,
    "crossings": read_crossings,
    "gaps": read_gaps,
    "fields-of-view": read_fields_of_view,
    "area-gaps": read_area,
    "leaks": read_leaks,
}
"""Source of the features of each computed collection."""

_NOT_ASSESSED_TOPICS: Final[Mapping[str, frozenset[str]]] = {
    "coverage": frozenset({"zone"}),
    "crossings": frozenset({"crossings"}),
    "gaps": frozenset({"zone", "crossings"}),
    "area-gaps": frozenset({"area"}),
    "leaks": frozenset({"cordon"}),
}
"""Topics of the analysis that a collection needs: without rings or roads they are not assessed."""

MAX_JURISDICTIONS: Final = 32
"""Jurisdictions that one request can compute; a client with more selects one."""
_MAX_TABLES: Final = 64


@dataclass(frozen=True, eq=False)
class _FeatureTable:
    """The features of one result, sorted by code."""

    result: bytes
    codes: list[str]
    rows: list[str]
    tree: shapely.STRtree
    not_assessed: list[dict[str, Any]]

    def select_rows(self, query: FeatureQuery, code: str | None) -> Sequence[int]:
        """Return a superset of the requested row indices."""
        if code is not None:
            return self.find_code_range(code, code)
        if query.area is not None:
            indices = np.sort(self.tree.query(query.area, predicate="intersects"))
            return [int(index) for index in indices]
        return range(len(self.codes))

    def find_code_range(self, first_code: str, last: str) -> range:
        """Return the row indices of the codes from the first to the last, both included."""
        end = bisect_right(self.codes, last)
        start = end
        while start and self.codes[start - 1] >= first_code:
            start -= 1
        return range(start, end)

    def select_page_rows(self, indices: Sequence[int], query: FeatureQuery) -> Sequence[int]:
        """Return the row indices of the next page and one more; only for pages sorted by code."""
        start = 0
        if query.after is not None:
            past = bisect_right(self.codes, query.after[-1])
            start = next((i for i, index in enumerate(indices) if index >= past), len(indices))
        return indices[start : start + query.limit + 1]


@dataclass(frozen=True)
class FeatureRows:
    """Rows for PostgreSQL, the total number of features if known, and what was not assessed."""

    text: str
    total: int | None
    not_assessed: list[dict[str, Any]]


class AnalysisFeatures:
    """Analysis features as rows for PostgreSQL, cached while the result is unchanged."""

    def __init__(self, service: AnalysisService) -> None:
        self._service = service
        self._tables: OrderedDict[tuple[str, str], _FeatureTable] = OrderedDict()

    async def select_features(
        self,
        collection: str,
        jurisdictions: Sequence[str],
        principal: Principal,
        query: FeatureQuery,
        code: str | None,
    ) -> FeatureRows:
        """Return the features that a page, or a single code, may need from several jurisdictions.

        Raises
        ------
        BadQuery
            if there are too many jurisdictions.
        """
        if len(jurisdictions) > MAX_JURISDICTIONS:
            raise BadQuery(
                Message(
                    "This collection is computed for at most {limit} jurisdictions at once. "
                    "Select one with ?jurisdiction=.",
                    limit=MAX_JURISDICTIONS,
                ),
                parameter="jurisdiction",
                code="bad-query",
            )
        layers = [await self.load_table(collection, owner, principal) for owner in jurisdictions]
        chosen = [(layer, layer.select_rows(query, code)) for layer in layers]
        is_plain = not query.order and query.tree is None and query.between is None
        is_plain = is_plain and query.equal.keys() <= {"jurisdiction"}
        total = sum(len(indices) for _, indices in chosen) if is_plain else None
        if is_plain and code is None:
            chosen = [(layer, layer.select_page_rows(indices, query)) for layer, indices in chosen]
        rows = [layer.rows[index] for layer, indices in chosen for index in indices]
        missing = [topic for layer in layers for topic in layer.not_assessed]
        return FeatureRows(f"[{','.join(rows)}]", total, missing)

    async def load_table(self, collection: str, jurisdiction: str, principal: Principal) -> _FeatureTable:
        """Return the feature table of one jurisdiction, from the cache while its result is unchanged."""
        result = await SOURCES[collection](self._service, jurisdiction, principal)
        cached = self._tables.get((collection, jurisdiction))
        if cached is not None and cached.result is result:
            self._tables.move_to_end((collection, jurisdiction))
            return cached
        layer = await anyio.to_thread.run_sync(build_table, BY_ID[collection], result, jurisdiction)
        self._tables[collection, jurisdiction] = layer
        while len(self._tables) > _MAX_TABLES:
            self._tables.popitem(last=False)
        return layer


def build_table(collection: Collection, result: bytes, jurisdiction: str) -> _FeatureTable:
    """Return features as rows: the properties of the collection, the same as text, and the geometry."""
    parsed = orjson.loads(result)
    features = sorted(parsed["features"], key=lambda feature: str(feature["id"]))
    shapes = shapely.from_geojson([encode_geometry(feature["geometry"]) for feature in features])
    rows = []
    for feature, wkb in zip(features, shapely.to_wkb(shapes, hex=True).tolist(), strict=True):
        values = flatten_properties(feature["properties"])
        values |= {"code": str(feature["id"]), "jurisdiction": jurisdiction}
        properties = {field.name: values.get(field.name) for field in collection.properties}
        document = orjson.dumps(properties).decode()
        rows.append(orjson.dumps(properties | {"document": document, "wkb": wkb}).decode())
    codes = [str(feature["id"]) for feature in features]
    topics = _NOT_ASSESSED_TOPICS.get(collection.id, frozenset())
    missing = [
        {"jurisdiction": jurisdiction, **topic} for topic in parsed.get("not_assessed", ()) if topic["what"] in topics
    ]
    return _FeatureTable(result, codes, rows, shapely.STRtree(shapes), missing)


def encode_geometry(geometry: dict[str, Any] | None) -> str | None:
    """Return a geometry as GeoJSON text, None without one."""
    return None if geometry is None else orjson.dumps(geometry).decode()


def flatten_properties(properties: dict[str, Any]) -> dict[str, Any]:
    """Return properties without nesting: the members of a road become properties of the feature."""
    road = properties.get("road")
    if not isinstance(road, dict):
        return dict(properties)
    flattened = {name: road.get(name) for name in ("name_zh", "name_en", "road_number", "road_class")}
    return {**properties, **flattened, "road_group": road.get("group")}

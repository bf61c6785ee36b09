"""AnalysisService of the analysis as features: computed once per state of a jurisdiction, asked like records.

An answer is a function that returns a GeoJSON FeatureCollection as bytes, the same bytes as long as
nothing changes. To show another answer, describe its collection in ``app.ogc.collections``
and name its function in ``SOURCES``. PostgreSQL is handed the rows a page may need, so that the same
compiler filters, sorts and converts for records and answers alike.
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
from app.models.vocabulary import LEVELS, Level
from app.ogc.collection_model import Collection
from app.ogc.collections import BY_ID
from app.ogc.queries.features import Asked

Source = Callable[[AnalysisService, str, Principal], Awaitable[bytes]]
"""Returns the features of one jurisdiction."""

MOST_LEAKS: Final = 20
"""Leaks shown of each ring and direction."""


async def _coverage(answers: AnalysisService, jurisdiction: str, who: Principal) -> bytes:
    return await answers.load_result(jurisdiction, who, build_points, CoverageQuery(geojson=True))


async def _gaps(answers: AnalysisService, jurisdiction: str, who: Principal) -> bytes:
    return await answers.load_result(jurisdiction, who, build_gaps, GapQuery())


async def _crossings(answers: AnalysisService, jurisdiction: str, who: Principal) -> bytes:
    return await answers.load_result(jurisdiction, who, build_crossings, CrossingQuery(geojson=True))


async def _views(answers: AnalysisService, jurisdiction: str, who: Principal) -> bytes:
    return await answers.load_result(jurisdiction, who, _all_views)


def _all_views(found: Analysis) -> dict[str, Any]:
    return {"features": build_field_of_view_page(found, FieldOfViewQuery(), limit=2**31, after=None)[0]}


async def _area(answers: AnalysisService, jurisdiction: str, who: Principal) -> bytes:
    return await answers.load_result(jurisdiction, who, _area_gaps)


def _area_gaps(found: Analysis) -> dict[str, Any]:
    told = build_area_gaps(found, AreaQuery())
    return _of_jurisdiction(found, told["features"]) | {"not_assessed": told["not_assessed"]}


_CORDONS: Final[tuple[Level | Literal["through"], ...]] = (*reversed(LEVELS), "through")


async def _leaks(answers: AnalysisService, jurisdiction: str, who: Principal) -> bytes:
    return await answers.load_result(jurisdiction, who, _all_leaks)


def _all_leaks(found: Analysis) -> dict[str, Any]:
    """Return the leaks of every ring that can be assessed, in both directions."""
    features: list[dict[str, Any]] = []
    for level in _CORDONS:
        for direction in TRAVEL_DIRECTIONS:
            query = CordonQuery(level, direction, limit=MOST_LEAKS)
            with suppress(Conflict):
                features += build_leak_route(found, query).get("features", [])
    told = build_result(found)["not_assessed"]
    return _of_jurisdiction(found, features) | {"not_assessed": told}


def _of_jurisdiction(found: Analysis, features: list[dict[str, Any]]) -> dict[str, Any]:
    """Return features whose names say whose they are: they are unique in a jurisdiction only."""
    owner = found.snapshot.jurisdiction
    return {"features": [{**feature, "id": f"{owner}-{feature['id']}"} for feature in features]}


SOURCES: Final[Mapping[str, Source]] = {
    "coverage": _coverage, "crossings": _crossings, "gaps": _gaps, "fields-of-view": _views,
    "area-gaps": _area, "leaks": _leaks,
}  # fmt: skip
"""Where the features of each collection of answers come from."""

_SPEAKS_OF: Final[Mapping[str, frozenset[str]]] = {
    "coverage": frozenset({"zone"}), "crossings": frozenset({"crossings"}),
    "gaps": frozenset({"zone", "crossings"}), "area-gaps": frozenset({"area"}),
    "leaks": frozenset({"cordon"}),
}  # fmt: skip
"""Which parts of the analysis a collection is empty without, for want of rings or roads."""

MOST_JURISDICTIONS: Final = 32
"""AnalysisService of so many jurisdictions are shown side by side; a province names the one it means."""
_KEPT: Final = 64


@dataclass(frozen=True, eq=False)
class _Layer:
    """The features of one answer, in the order of their codes."""

    answer: bytes
    codes: list[str]
    rows: list[str]
    tree: shapely.STRtree
    not_assessed: list[dict[str, Any]]

    def chosen(self, asked: Asked, code: str | None) -> Sequence[int]:
        """Return the places of rows that may be asked for, no fewer than those that are."""
        if code is not None:
            return self._between(code, code)
        if asked.area is not None:
            places = np.sort(self.tree.query(asked.area, predicate="intersects"))
            return [int(place) for place in places]
        return range(len(self.codes))

    def _between(self, first: str, last: str) -> range:
        end = bisect_right(self.codes, last)
        start = end
        while start and self.codes[start - 1] >= first:
            start -= 1
        return range(start, end)

    def of_page(self, places: Sequence[int], asked: Asked) -> Sequence[int]:
        """Return the places of the next page and one more, when it is in the order of codes."""
        start = 0
        if asked.after is not None:
            past = bisect_right(self.codes, asked.after[-1])
            start = next((i for i, place in enumerate(places) if place >= past), len(places))
        return places[start : start + asked.limit + 1]


@dataclass(frozen=True)
class Rows:
    """Rows for PostgreSQL, how many features there are where that is known, and what is missing."""

    text: str
    total: int | None
    not_assessed: list[dict[str, Any]]


class AnswerRows:
    """The features of answers as rows for PostgreSQL, kept as long as the answer stays the same."""

    def __init__(self, answers: AnalysisService) -> None:
        self._answers = answers
        self._kept: OrderedDict[tuple[str, str], _Layer] = OrderedDict()

    async def of(
        self,
        collection: str,
        jurisdictions: Sequence[str],
        who: Principal,
        asked: Asked,
        code: str | None,
    ) -> Rows:
        """Return the features of jurisdictions that a page, or one code, may need.

        Raises
        ------
        BadQuery
            when there are too many jurisdictions to compute at once.
        """
        if len(jurisdictions) > MOST_JURISDICTIONS:
            raise BadQuery(
                f"This is computed for at most {MOST_JURISDICTIONS} jurisdictions at once: name one "
                "with ?jurisdiction=.",
                parameter="jurisdiction",
                code="bad-query",
            )
        layers = [await self._layer(collection, owner, who) for owner in jurisdictions]
        chosen = [(layer, layer.chosen(asked, code)) for layer in layers]
        plain = not asked.order and asked.tree is None and asked.between is None
        plain = plain and asked.equal.keys() <= {"jurisdiction"}
        total = sum(len(places) for _, places in chosen) if plain else None
        if plain and code is None:
            chosen = [(layer, layer.of_page(places, asked)) for layer, places in chosen]
        rows = [layer.rows[place] for layer, places in chosen for place in places]
        missing = [told for layer in layers for told in layer.not_assessed]
        return Rows(f"[{','.join(rows)}]", total, missing)

    async def _layer(self, collection: str, jurisdiction: str, who: Principal) -> _Layer:
        answer = await SOURCES[collection](self._answers, jurisdiction, who)
        kept = self._kept.get((collection, jurisdiction))
        if kept is not None and kept.answer is answer:
            self._kept.move_to_end((collection, jurisdiction))
            return kept
        layer = await anyio.to_thread.run_sync(_layer, BY_ID[collection], answer, jurisdiction)
        self._kept[collection, jurisdiction] = layer
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return layer


def _layer(collection: Collection, answer: bytes, jurisdiction: str) -> _Layer:
    """Return features as rows: the properties the collection has, the same as text, the geometry."""
    answered = orjson.loads(answer)
    features = sorted(answered["features"], key=lambda feature: str(feature["id"]))
    shapes = shapely.from_geojson([_geojson(feature["geometry"]) for feature in features])
    rows = []
    for feature, wkb in zip(features, shapely.to_wkb(shapes, hex=True).tolist(), strict=True):
        told = _flat(feature["properties"])
        told |= {"code": str(feature["id"]), "jurisdiction": jurisdiction}
        properties = {known.name: told.get(known.name) for known in collection.properties}
        document = orjson.dumps(properties).decode()
        rows.append(orjson.dumps(properties | {"document": document, "wkb": wkb}).decode())
    codes = [str(feature["id"]) for feature in features]
    concerned = _SPEAKS_OF.get(collection.id, frozenset())
    missing = [
        {"jurisdiction": jurisdiction, **told} for told in answered.get("not_assessed", ()) if told["what"] in concerned
    ]
    return _Layer(answer, codes, rows, shapely.STRtree(shapes), missing)


def _geojson(geometry: dict[str, Any] | None) -> str | None:
    return None if geometry is None else orjson.dumps(geometry).decode()


def _flat(properties: dict[str, Any]) -> dict[str, Any]:
    """Return properties a GIS can ask about: those of a road beside the others, not inside."""
    road = properties.get("road")
    if not isinstance(road, dict):
        return dict(properties)
    beside = {name: road.get(name) for name in ("name_zh", "name_en", "road_number", "road_class")}
    return {**properties, **beside, "road_group": road.get("group")}

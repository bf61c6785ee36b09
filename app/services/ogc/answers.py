"""Answers of the analysis as features: computed once per state of a jurisdiction, asked like records.

An answer is a function that returns a GeoJSON FeatureCollection as bytes, the same bytes as long as
nothing changes. To show another answer, describe its collection in ``app.schemas.collections`` and name
its function in ``SOURCES``.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import anyio
import orjson
import shapely

from app.errors import BadQuery
from app.schemas.collections import BY_ID, Collection
from app.services import crossings
from app.services.access import Principal
from app.services.coverage import Answers
from app.services.report import Wanted

Source = Callable[[Answers, str, Principal], Awaitable[bytes]]
"""Returns the features of one jurisdiction."""


async def _coverage(answers: Answers, jurisdiction: str, who: Principal) -> bytes:
    return await answers.points(jurisdiction, who, Wanted(), geojson=True)


async def _gaps(answers: Answers, jurisdiction: str, who: Principal) -> bytes:
    return await answers.gaps(jurisdiction, who, Wanted())


async def _crossings(answers: Answers, jurisdiction: str, who: Principal) -> bytes:
    return await answers.crossings(jurisdiction, who, crossings.Wanted(), geojson=True)


SOURCES: Final[Mapping[str, Source]] = {
    "coverage": _coverage, "crossings": _crossings, "gaps": _gaps,
}  # fmt: skip
"""Where the features of each collection of answers come from."""

MOST_JURISDICTIONS: Final = 32
"""Answers of so many jurisdictions are shown side by side; a province names the one it means."""
_KEPT: Final = 64


@dataclass(frozen=True)
class _Made:
    answer: bytes
    rows: str


class AnswerRows:
    """The features of answers as rows for PostgreSQL, kept as long as the answer stays the same."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._kept: OrderedDict[tuple[str, str], _Made] = OrderedDict()

    async def of(self, collection: str, jurisdictions: Sequence[str], who: Principal) -> str:
        """Return the features of jurisdictions as a JSON array of rows.

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
        parts = [await self._one(collection, code, who) for code in jurisdictions]
        return f"[{','.join(part for part in parts if part)}]"

    async def _one(self, collection: str, jurisdiction: str, who: Principal) -> str:
        answer = await SOURCES[collection](self._answers, jurisdiction, who)
        kept = self._kept.get((collection, jurisdiction))
        if kept is not None and kept.answer is answer:
            self._kept.move_to_end((collection, jurisdiction))
            return kept.rows
        rows = await anyio.to_thread.run_sync(_rows, BY_ID[collection], answer, jurisdiction)
        self._kept[collection, jurisdiction] = _Made(answer, rows)
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return rows


def _rows(collection: Collection, answer: bytes, jurisdiction: str) -> str:
    """Return features as rows: the properties the collection has, the same as text, the geometry."""
    features = orjson.loads(answer)["features"]
    shapes = shapely.from_geojson([orjson.dumps(f["geometry"]).decode() for f in features])
    rows = []
    for feature, wkb in zip(features, shapely.to_wkb(shapes, hex=True).tolist(), strict=True):
        told = _flat(feature["properties"])
        told |= {"code": str(feature["id"]), "jurisdiction": jurisdiction}
        properties = {known.name: told.get(known.name) for known in collection.properties}
        document = orjson.dumps(properties).decode()
        rows.append(orjson.dumps(properties | {"document": document, "wkb": wkb}).decode())
    return ",".join(rows)


def _flat(properties: dict[str, Any]) -> dict[str, Any]:
    """Return properties a GIS can ask about: those of a road beside the others, not inside."""
    road = properties.get("road")
    if not isinstance(road, dict):
        return dict(properties)
    beside = {name: road.get(name) for name in ("name_zh", "name_en", "road_number", "road_class")}
    return {**properties, **beside, "road_group": road.get("group")}

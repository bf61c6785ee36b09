"""Features of any collection, page by page or one by one: rights first, then one statement.

Pages come in code order or in the order asked for, by key and not by offset: the last page costs what
the first one does. ``numberMatched`` is exact or absent.
"""

from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

import asyncpg
import orjson

from app.access.roles import Principal
from app.analysis.service import AnalysisService
from app.db.engine import Database, Fetch
from app.errors import BadQuery, NotFound
from app.geo.projection.reference_systems import CRS84
from app.ogc import parameters
from app.ogc.analysis_features import AnswerRows
from app.ogc.collection_model import Collection
from app.ogc.collections import BY_ID, COLLECTIONS
from app.ogc.queries import features as feature_queries
from app.ogc.queries.features import Asked as Asked
from app.ogc.queries.features import Page as Page

PIECE: Final = 1000
"""Features fetched at once; a longer page is sent piece by piece."""
QUERY_TIMEOUT_S: Final = 15.0
"""How long a filter may take."""
_COUNTS_KEPT: Final = 1000
_MOST_ASKED: Final = 10_000
"""A count that cannot be kept is made up to this many."""
_MOST_COUNTED: Final = 200_000
"""Any count is; a client that asks for more than that pages anyway."""


@dataclass(frozen=True)
class Found:
    """One feature: its JSON, and its version where it has one."""

    body: bytes
    version: int | None


class Features:
    """The features of one process, with the counts it remembers."""

    def __init__(self, database: Database, answers: AnalysisService) -> None:
        self._database = database
        self._rows = AnswerRows(answers)
        self._counts: OrderedDict[Any, tuple[str, int | None]] = OrderedDict()

    async def page(self, collection: Collection, asked: Asked, who: Principal) -> Page:
        """Return one page of at most ``PIECE`` features.

        Raises
        ------
        BadQuery
            when the filter cannot be evaluated, or takes too long.
        """
        scoped = await self.scoped(collection, asked, who)
        return await self.piece(collection, scoped)

    async def piece(self, collection: Collection, scoped: Asked) -> Page:
        """Return one page of what was scoped before."""
        with _evaluated():
            return await feature_queries.page(self._fetching(scoped), collection, scoped)

    async def pieces(self, collection: Collection, asked: Asked, who: Principal, first: Page) -> AsyncIterator[Page]:
        """Yield the pieces of a long page, the first of which is there; memory stays flat."""
        left, piece = asked.limit - first.count, first
        yield piece
        while piece.after is not None and left > 0:
            again = parameters.replaced(asked, piece.after, min(left, PIECE))
            piece = await self.page(collection, again, who)
            left -= piece.count
            yield piece

    async def matched(self, collection: Collection, scoped: Asked, page: Page) -> int | None:
        """Return how many features there are in all, or None when that would be dear."""
        if scoped.after is None and page.after is None:
            return page.count
        if scoped.total is not None:
            return scoped.total
        if scoped.filtered and _changes_by_itself(collection, scoped):
            return None if scoped.after else await self._counted(collection, scoped, _MOST_ASKED)
        key = _key(collection, scoped)
        kept = self._counts.get(key)
        if kept is not None and kept[0] == page.revision:
            self._counts.move_to_end(key)
            return kept[1]
        if scoped.after is not None:
            return None
        most = _MOST_COUNTED if scoped.tree is None else _MOST_ASKED
        counted = await self._counted(collection, scoped, most)
        self._counts[key] = (page.revision, counted)
        while len(self._counts) > _COUNTS_KEPT:
            self._counts.popitem(last=False)
        return counted

    async def _counted(self, collection: Collection, scoped: Asked, most: int) -> int | None:
        """Return how many there are, None when there are more than ``most``."""
        wanted = _all_of(scoped)
        with _evaluated():
            found = await feature_queries.count(self._fetching(scoped), collection, wanted, most=most + 1)
        return found if found <= most else None

    async def item(self, collection: Collection, code: str, asked: Asked, who: Principal) -> Found:
        """Return one feature.

        Raises
        ------
        NotFound
            when there is none in the caller's scope.
        """
        scoped = await self.scoped(collection, asked, who, code)
        with _evaluated():
            found = await feature_queries.item(self._fetch, collection, code, scoped)
        if found is None:
            raise NotFound(collection.title_en.lower().removesuffix("s"), code)
        return Found(found[1], found[0])

    async def scoped(self, collection: Collection, asked: Asked, who: Principal, code: str | None = None) -> Asked:
        """Return what is asked for, within the caller's rights."""
        scope = who.scope(collection.role)
        if not collection.answer:
            return asked if scope is None else replace(asked, scope=scope)
        feature_queries.check_filter(collection, asked)
        named = asked.equal.get("jurisdiction")
        owners = await feature_queries.jurisdictions(self._database.fetch, scope)
        wanted = owners if named is None else [owner for owner in owners if owner in named]
        rows = await self._rows.of(collection.id, wanted, who, asked, code)
        missing = rows.not_assessed
        return replace(asked, features=rows.text, total=rows.total, not_assessed=missing)

    async def extent(self, who: Principal) -> tuple[float, float, float, float] | None:
        """Return the box that holds everything the caller may see."""
        return await feature_queries.extent(self._database.fetch, who.scope("reader"))

    async def _fetch(self, statement: str, *values: Any) -> Any:
        return await self._database.fetch_within(QUERY_TIMEOUT_S, statement, *values)

    async def _fetch_anew(self, statement: str, *values: Any) -> Any:
        return await self._database.fetch_within(QUERY_TIMEOUT_S, statement, *values, anew=True)

    def _fetching(self, asked: Asked) -> Fetch:
        """Return how to ask: whether few or many match is in the values, and decides the plan."""
        return self._fetch_anew if asked.filtered else self._fetch


READS: Final = ("GET", "HEAD", "OPTIONS")


def may(who: Principal, collection: Collection, *, on_item: bool) -> tuple[str, ...]:
    """Return the methods a caller may use on a collection, or on one of its features."""
    if not who.holds("editor"):
        return READS
    return READS + tuple(m for m in collection.writes if (m != "POST") == on_item)


def known_to(who: Principal) -> list[Collection]:
    """Return the collections a caller may read."""
    who.need("reader")
    return [collection for collection in COLLECTIONS if who.holds(collection.role)]


def named(collection_id: str, who: Principal) -> Collection:
    """Return a collection by its id.

    Raises
    ------
    NotFound
        when there is none of that name.
    Forbidden
        when the caller's role is too low for it.
    """
    who.need("reader")
    found = BY_ID.get(collection_id)
    if found is None:
        raise NotFound("collection", collection_id[:80])
    who.need(found.role)
    return found


def _changes_by_itself(collection: Collection, asked: Asked) -> bool:
    """Tell whether the number of features may change by time passing, without a write."""
    named = asked.equal.keys() | set(_properties_in(asked.tree))
    return any(name in named for name, known in collection.by_name.items() if known.timely)


def _properties_in(tree: Any) -> Iterator[str]:
    """Yield the names of properties a filter speaks of."""
    if isinstance(tree, dict):
        if isinstance(name := tree.get("property"), str):
            yield name
        for part in tree.values():
            yield from _properties_in(part)
    elif isinstance(tree, list):
        for part in tree:
            yield from _properties_in(part)


def _all_of(asked: Asked) -> Asked:
    """Return the question for everything that matches, however it is to look."""
    return replace(asked, after=None, limit=0, order=(), crs=CRS84, names=None)


def _key(collection: Collection, asked: Asked) -> Any:
    """Return what a count depends on, but for the revision."""
    if not asked.filtered and not collection.answer:
        return collection.id, None if asked.scope is None else tuple(asked.scope)
    area = None if asked.area is None else asked.area.wkb
    options = orjson.OPT_SORT_KEYS
    question = orjson.dumps([asked.equal, asked.tree, asked.filter_crs.uri], option=options)
    scope = None if asked.scope is None else tuple(asked.scope)
    return collection.id, area, question, asked.between, scope, asked.reveal, hash(asked.features)


@contextmanager
def _evaluated() -> Iterator[None]:
    """Refuse a query that PostgreSQL or PROJ cannot evaluate on some row: nothing is wrong with us."""
    try:
        yield
    except (asyncpg.DataError, asyncpg.InternalServerError) as error:
        said = str(error).splitlines()[0][:200]
        raise BadQuery(f"The query cannot be evaluated: {said}.", parameter="filter", code="bad-filter") from error

"""Reads of OGC features: check the rights, then run one SQL statement per page or item.

Pages are sorted by code or by `sortby`, with keyset pagination: the last page is as fast as the first.
``numberMatched`` is exact or absent.
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
from app.messages import Message
from app.ogc import parameters
from app.ogc.analysis_features import AnalysisFeatures
from app.ogc.collection_model import Collection
from app.ogc.collections import BY_ID, COLLECTIONS
from app.ogc.queries import features as feature_queries
from app.ogc.queries.features import FeaturePage as FeaturePage
from app.ogc.queries.features import FeatureQuery as FeatureQuery

PIECE: Final = 1000
"""Features fetched by one statement; a longer page is sent in pieces."""
QUERY_TIMEOUT_S: Final = 15.0
"""Time limit of a filter."""
_MAX_CACHED_COUNTS: Final = 1000
_MAX_UNCACHED_COUNT: Final = 10_000
"""Counts that cannot be cached stop at this number."""
_MAX_COUNT: Final = 200_000
"""All other counts stop at this number."""


@dataclass(frozen=True)
class FeatureItem:
    """One feature as JSON, with its version if it has one."""

    body: bytes
    version: int | None


class FeatureService:
    """Reads features, and caches their counts in this process."""

    def __init__(self, database: Database, service: AnalysisService) -> None:
        self._database = database
        self._rows = AnalysisFeatures(service)
        self._counts: OrderedDict[Any, tuple[str, int | None]] = OrderedDict()

    async def fetch_page(self, collection: Collection, query: FeatureQuery, principal: Principal) -> FeaturePage:
        """Return one page of at most ``PIECE`` features.

        Raises
        ------
        BadQuery
            when the filter cannot be evaluated, or takes too long.
        """
        scoped = await self.apply_scope(collection, query, principal)
        return await self.fetch_piece(collection, scoped)

    async def fetch_piece(self, collection: Collection, scoped: FeatureQuery) -> FeaturePage:
        """Return one page of a query whose scope is applied already."""
        with translate_query_errors():
            return await feature_queries.fetch_feature_page(self.choose_fetch(scoped), collection, scoped)

    async def iter_pieces(
        self, collection: Collection, query: FeatureQuery, principal: Principal, first_page: FeaturePage
    ) -> AsyncIterator[FeaturePage]:
        """Yield a long page in pieces, starting with the one already fetched; memory stays constant."""
        remaining, piece = query.limit - first_page.count, first_page
        yield piece
        while piece.after is not None and remaining > 0:
            again = parameters.continue_from(query, piece.after, min(remaining, PIECE))
            piece = await self.fetch_page(collection, again, principal)
            remaining -= piece.count
            yield piece

    async def count_matches(self, collection: Collection, scoped: FeatureQuery, page: FeaturePage) -> int | None:
        """Return the number of matching features, None if counting would be too slow."""
        if scoped.after is None and page.after is None:
            return page.count
        if scoped.total is not None:
            return scoped.total
        if scoped.is_filtered and depends_on_time(collection, scoped):
            return None if scoped.after else await self.count_up_to(collection, scoped, _MAX_UNCACHED_COUNT)
        key = _key(collection, scoped)
        cached = self._counts.get(key)
        if cached is not None and cached[0] == page.revision:
            self._counts.move_to_end(key)
            return cached[1]
        if scoped.after is not None:
            return None
        limit = _MAX_COUNT if scoped.tree is None else _MAX_UNCACHED_COUNT
        counted = await self.count_up_to(collection, scoped, limit)
        self._counts[key] = (page.revision, counted)
        while len(self._counts) > _MAX_CACHED_COUNTS:
            self._counts.popitem(last=False)
        return counted

    async def count_up_to(self, collection: Collection, scoped: FeatureQuery, limit: int) -> int | None:
        """Return the number of matching features, None if there are more than ``limit``."""
        scoped_query = without_paging(scoped)
        with translate_query_errors():
            result = await feature_queries.count_features(
                self.choose_fetch(scoped), collection, scoped_query, most=limit + 1
            )
        return result if result <= limit else None

    async def fetch_item(
        self, collection: Collection, code: str, query: FeatureQuery, principal: Principal
    ) -> FeatureItem:
        """Return one feature.

        Raises
        ------
        NotFound
            when there is none in the caller's scope.
        """
        scoped = await self.apply_scope(collection, query, principal, code)
        with translate_query_errors():
            result = await feature_queries.fetch_feature(self._fetch, collection, code, scoped)
        if result is None:
            raise NotFound(collection.title_en.lower().removesuffix("s"), code)
        return FeatureItem(result[1], result[0])

    async def apply_scope(
        self, collection: Collection, query: FeatureQuery, principal: Principal, code: str | None = None
    ) -> FeatureQuery:
        """Return the query restricted to the scope of the principal."""
        scope = principal.require_scope(collection.role)
        if not collection.computed:
            return query if scope is None else replace(query, scope=scope)
        feature_queries.check_filter(collection, query)
        named = query.equal.get("jurisdiction")
        jurisdictions = await feature_queries.fetch_jurisdictions(self._database.fetch, scope)
        selected = jurisdictions if named is None else [owner for owner in jurisdictions if owner in named]
        rows = await self._rows.select_features(collection.id, selected, principal, query, code)
        missing = rows.not_assessed
        return replace(query, features=rows.text, total=rows.total, not_assessed=missing)

    async def fetch_extent(self, principal: Principal) -> tuple[float, float, float, float] | None:
        """Return the bounding box of all records in the scope of the principal."""
        return await feature_queries.fetch_extent(self._database.fetch, principal.require_scope("reader"))

    async def _fetch(self, statement: str, *values: Any) -> Any:
        return await self._database.fetch_with_timeout(QUERY_TIMEOUT_S, statement, *values)

    async def _fetch_replanned(self, statement: str, *values: Any) -> Any:
        return await self._database.fetch_with_timeout(QUERY_TIMEOUT_S, statement, *values, replan=True)

    def choose_fetch(self, query: FeatureQuery) -> Fetch:
        """Return how to run a statement: filtered queries are planned for their values."""
        return self._fetch_replanned if query.is_filtered else self._fetch


READS: Final = ("GET", "HEAD", "OPTIONS")


def list_allowed_methods(principal: Principal, collection: Collection, *, on_item: bool) -> tuple[str, ...]:
    """Return the methods that a principal may use on a collection, or on one of its features."""
    if not principal.has_role("editor"):
        return READS
    return READS + tuple(method for method in collection.writes if (method != "POST") == on_item)


def list_readable_collections(principal: Principal) -> list[Collection]:
    """Return the collections that a principal may read."""
    principal.require_role("reader")
    return [collection for collection in COLLECTIONS if principal.has_role(collection.role)]


def find_collection(collection_id: str, principal: Principal) -> Collection:
    """Return a collection by its id.

    Raises
    ------
    NotFound
        if no collection has this id.
    Forbidden
        if the collection requires a higher role.
    """
    principal.require_role("reader")
    result = BY_ID.get(collection_id)
    if result is None:
        raise NotFound("collection", collection_id[:80])
    principal.require_role(result.role)
    return result


def depends_on_time(collection: Collection, query: FeatureQuery) -> bool:
    """Return whether the number of features can change without a write."""
    named = query.equal.keys() | set(iter_property_names(query.tree))
    return any(name in named for name, field in collection.by_name.items() if field.timely)


def iter_property_names(tree: Any) -> Iterator[str]:
    """Yield the property names that a filter uses."""
    if isinstance(tree, dict):
        if isinstance(name := tree.get("property"), str):
            yield name
        for segment in tree.values():
            yield from iter_property_names(segment)
    elif isinstance(tree, list):
        for segment in tree:
            yield from iter_property_names(segment)


def without_paging(query: FeatureQuery) -> FeatureQuery:
    """Return the query for all matches, without paging and representation."""
    return replace(query, after=None, limit=0, order=(), crs=CRS84, names=None)


def _key(collection: Collection, query: FeatureQuery) -> Any:
    """Return what a count depends on, except the revision."""
    if not query.is_filtered and not collection.computed:
        return collection.id, None if query.scope is None else tuple(query.scope)
    area = None if query.area is None else query.area.wkb
    options = orjson.OPT_SORT_KEYS
    conditions = orjson.dumps([query.equal, query.tree, query.filter_crs.uri], option=options)
    scope = None if query.scope is None else tuple(query.scope)
    return collection.id, area, conditions, query.between, scope, query.reveal, hash(query.features)


@contextmanager
def translate_query_errors() -> Iterator[None]:
    """Raise BadQuery for a query that PostgreSQL or PROJ cannot evaluate on some row."""
    try:
        yield
    except (asyncpg.DataError, asyncpg.InternalServerError) as error:
        message = Message("The query cannot be evaluated: {error}.", error=str(error).splitlines()[0][:200])
        raise BadQuery(message, parameter="filter", code="bad-filter") from error

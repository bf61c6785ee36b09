"""Pages of lists: the page that a request asks for, and the response with the link to the next one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlencode

import orjson
from fastapi import Depends, Query, Request, Response
from pydantic import BaseModel

from app.cursors import INVALID_CURSOR, decode_cursor, encode_cursor
from app.errors import InvalidQuery
from app.http.negotiation import GEOJSON, JSON
from app.http.responses import PRIVATE_HEADERS
from app.records.drafts import HistoryEntry

MAX_LIMIT = 1000
DEFAULT_LIMIT = 100


class HistoryPage(BaseModel):
    """Changes of one record, newest first."""

    items: list[HistoryEntry]
    next: str | None


@dataclass(frozen=True)
class PageQuery:
    """The page of a list that a request asks for."""

    limit: int
    cursor: str | None

    @property
    def after(self) -> str | None:
        """The key that the page starts after, None for the first page."""
        return None if self.cursor is None else decode_cursor(self.cursor)

    @property
    def before_sequence(self) -> int | None:
        """The sequence number that a page of history starts before, None for the newest."""
        text = self.after
        if text is None:
            return None
        if not (text.isascii() and text.isdigit() and len(text) < 19):
            raise InvalidQuery(INVALID_CURSOR, parameter="cursor")
        return int(text)


async def parse_page_query(
    limit: Annotated[int, Query(ge=1, description=f"Records per page; at most {MAX_LIMIT} are given.")] = DEFAULT_LIMIT,
    cursor: Annotated[str | None, Query(max_length=200, description="Where the page starts, from `next`.")] = None,
) -> PageQuery:
    """Return the page of a request; a limit above the maximum gives the maximum."""
    return PageQuery(min(limit, MAX_LIMIT), cursor)


PageDep = Annotated[PageQuery, Depends(parse_page_query)]


def build_page(
    request: Request,
    documents: str | bytes,
    count: int,
    after: str | None,
    *,
    geojson: bool = False,
    members: str = "",
) -> Response:
    """Return a page with its ``next`` link in the body and in the ``Link`` header.

    Parameters
    ----------
    documents : str or bytes
        The documents as JSON, separated by commas.
    after : str, optional
        The key of the last document; None on the last page.
    members : str
        More members of the page, as JSON.
    """
    next_url = None
    if after is not None:
        query = dict(request.query_params) | {"cursor": encode_cursor(after)}
        next_url = f"{request.url.path}?{urlencode(query)}"
    start = b'{"type":"FeatureCollection","features":[' if geojson else b'{"items":['
    end = f'"next":{orjson.dumps(next_url).decode()}'
    if geojson:
        end = f'"numberReturned":{count},{end}'
    if members:
        end = f"{end},{members}"
    body = b"".join(
        (start, documents if isinstance(documents, bytes) else documents.encode(), b"],", end.encode(), b"}")
    )
    headers = dict(PRIVATE_HEADERS)
    if next_url is not None:
        headers["Link"] = f'<{next_url}>; rel="next"'
    return Response(body, 200, headers, GEOJSON if geojson else JSON)


def build_history_page(request: Request, documents: Sequence[str], before: int | None) -> Response:
    """Return a page of a history; ``before`` is the sequence number that the next page starts before."""
    return build_page(request, ",".join(documents), len(documents), None if before is None else str(before))

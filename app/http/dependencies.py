"""What a route may ask for: connections, the caller, the body, the page, and known parameters only.

All are coroutines: FastAPI runs plain functions in a thread, which costs more than they do.
"""

import re
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from weakref import WeakKeyDictionary

import orjson
from fastapi import Depends, Header, Query, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.requests import ClientDisconnect

from app.access.keys import Gate
from app.access.roles import Principal
from app.analysis.single_flight import Gone
from app.db.engine import Database, WriteContext
from app.errors import InvalidQuery, MalformedBody, UnsupportedMediaType
from app.imports.jobs import Imports
from app.models.fields import Instant
from app.records.payloads import Precondition
from app.settings import Settings
from app.states.service import lines

GEOJSON = "application/geo+json"
JSON_TYPES = ("application/json", GEOJSON)
LINES_TYPES = ("application/x-ndjson", "application/jsonl")
PATCH_TYPES = ("application/merge-patch+json", *JSON_TYPES)
MAX_LIMIT = 1000
DEFAULT_LIMIT = 100
_QVALUE = re.compile(r"0(\.[0-9]{0,3})?|1(\.0{0,3})?")


async def settings(request: Request) -> Settings:
    """Return the settings of the running service."""
    found: Settings = request.app.state.settings
    return found


async def database(request: Request) -> Database:
    """Return the database of the running service."""
    found: Database = request.app.state.database
    return found


async def principal(
    request: Request, authorization: Annotated[str | None, Header(include_in_schema=False)] = None
) -> Principal:
    """Return who is calling; every route under /v1 asks."""
    gate: Gate = request.app.state.gate
    return await gate.admit(authorization)


_known: WeakKeyDictionary[Callable[..., Any], tuple[str, ...]] = WeakKeyDictionary()
"""Query parameters by route function: collected once, asked on every request."""


def _parameters(route: APIRoute) -> tuple[str, ...]:
    found = _known.get(route.endpoint)
    if found is None:
        found = _known[route.endpoint] = _collected(route)
    return found


def _collected(route: APIRoute) -> tuple[str, ...]:
    def names(dependant: Dependant) -> set[str]:
        own = {field.alias for field in dependant.query_params}
        return own.union(*(names(below) for below in dependant.dependencies), set())

    return tuple(sorted(names(route.dependant)))


async def known_parameters(request: Request) -> None:
    """Refuse a query parameter the route does not have, naming those it has; and repetitions."""
    known = _parameters(request.scope["route"])
    seen: set[str] = set()
    for name, value in request.query_params.multi_items():
        if name not in known:
            has = ", ".join(known) or "none"
            raise InvalidQuery(
                f"Unknown query parameter {name!r}; known here: {has}.",
                parameter=name,
                code="unknown-parameter",
            )
        if name in seen:
            raise InvalidQuery(f"Parameter {name!r} is given twice.", parameter=name)
        if "\x00" in value:
            raise InvalidQuery(f"Parameter {name!r} has a NUL character.", parameter=name)
        seen.add(name)


async def gone(request: Request) -> Gone:
    """Return what waits until the caller has closed the connection."""

    async def left() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    return left


GoneDep = Annotated[Gone, Depends(gone)]
SettingsDep = Annotated[Settings, Depends(settings)]
DatabaseDep = Annotated[Database, Depends(database)]
PrincipalDep = Annotated[Principal, Depends(principal)]


async def writer(who: PrincipalDep) -> Principal:
    """Return a caller who may write somewhere; asked before the body is read."""
    who.need("editor")
    return who


WriterDep = Annotated[Principal, Depends(writer)]


async def reading(base: DatabaseDep, _who: PrincipalDep) -> AsyncIterator[AsyncConnection]:
    """Open a connection for single statements."""
    async with base.reading() as connection:
        yield connection


async def context(
    request: Request,
    who: WriterDep,
    reason: Annotated[
        str | None,
        Header(alias="X-Change-Reason", max_length=500, description="Why; kept in the history."),
    ] = None,
) -> WriteContext:
    """Return who writes and why, for services that open their transaction themselves."""
    return write_context(request, who, reason)


ContextDep = Annotated[WriteContext, Depends(context)]


async def writing(base: DatabaseDep, told: ContextDep) -> AsyncIterator[AsyncConnection]:
    """Open the one transaction of a request; it commits before the answer leaves."""
    async with base.writing(told) as connection:
        yield connection


def write_context(request: Request, who: Principal, reason: str | None) -> WriteContext:
    """Return who writes, in which request, and why."""
    return WriteContext(who.name, request.scope.get("request_id", ""), _words(reason or ""))


def _words(header: str) -> str:
    """Return the text of a header that may carry UTF-8 (headers are read as Latin-1)."""
    try:
        return header.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return header


ReadDep = Annotated[AsyncConnection, Depends(reading, scope="function")]
WriteDep = Annotated[AsyncConnection, Depends(writing, scope="function")]


def _content_type(request: Request, accepted: Sequence[str]) -> str:
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type not in accepted:
        raise UnsupportedMediaType(content_type, accepted)
    return content_type


async def _body(request: Request) -> bytes:
    try:
        return await request.body()
    except ClientDisconnect as error:
        raise MalformedBody("The body ended before it was complete.") from error


async def json_body(request: Request) -> Any:
    """Return the JSON of the body, strictly: no NaN, no duplicate encodings, bounded depth."""
    _content_type(request, PATCH_TYPES if request.method == "PATCH" else JSON_TYPES)
    body = await _body(request)
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise MalformedBody(f"The body is not valid JSON: {error}.") from error


BodyDep = Annotated[Any, Depends(json_body)]


async def json_or_lines(request: Request) -> Any:
    """Return the JSON of the body, or the list of values of newline-delimited JSON."""
    content_type = _content_type(request, (*JSON_TYPES, *LINES_TYPES))
    if content_type in LINES_TYPES:
        return lines(await _body(request))
    return await json_body(request)


LinesDep = Annotated[Any, Depends(json_or_lines)]


async def precondition(
    if_match: Annotated[str | None, Header(description="Version the record must have.")] = None,
    if_none_match: Annotated[str | None, Header(description="`*`: create only.")] = None,
) -> Precondition:
    """Return what the caller says must hold."""
    return Precondition(if_match, if_none_match)


PreconditionDep = Annotated[Precondition, Depends(precondition)]


@dataclass(frozen=True)
class PageRequest:
    """Which page of a list is asked for."""

    limit: int
    cursor: str | None


async def page_request(
    limit: Annotated[int, Query(ge=1, description=f"Records per page; at most {MAX_LIMIT} are given.")] = DEFAULT_LIMIT,
    cursor: Annotated[str | None, Query(max_length=200, description="Where the page starts, from `next`.")] = None,
) -> PageRequest:
    """Return the page asked for, its size clamped."""
    return PageRequest(min(limit, MAX_LIMIT), cursor)


PageDep = Annotated[PageRequest, Depends(page_request)]

Format = Literal["json", "geojson"]


async def wants_geojson(
    request: Request,
    f: Annotated[Format | None, Query(description="`geojson` or `json`; wins over `Accept`.")] = None,
) -> bool:
    """Tell whether GeoJSON is wanted, by ``f`` or else by ``Accept``."""
    if f is not None:
        return f == "geojson"
    accept = request.headers.get("accept", "").lower()
    if GEOJSON not in accept:
        return False
    return _weight(accept, GEOJSON) >= max(_weight(accept, "application/json"), 0.001)


def _weight(accept: str, media_type: str) -> float:
    """Return how much a media type is wanted (RFC 9110, 12.5.1); one that is not named is not."""
    for part in accept.split(","):
        name, *parameters = (word.strip() for word in part.split(";"))
        if name == media_type:
            given = next((word[2:] for word in parameters if word.startswith("q=")), "1")
            return float(given) if _QVALUE.fullmatch(given) else 0.0
    return 0.0


GeoJsonDep = Annotated[bool, Depends(wants_geojson)]

AsOf = Annotated[Instant | None, Query(description="Answer as of this instant (RFC 3339).")]


async def bbox(
    bbox: Annotated[
        str | None,
        Query(description="west,south,east,north in degrees; west > east crosses 180.", max_length=200),
    ] = None,
) -> tuple[float, float, float, float] | None:
    """Return the box asked for.

    Raises
    ------
    InvalidQuery
        when it is not four finite numbers in range.
    """
    if bbox is None:
        return None
    try:
        numbers = [float(part) for part in bbox.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != 4 or not all(-180 <= number <= 180 for number in numbers):
        raise InvalidQuery("bbox is four numbers: west,south,east,north.", parameter="bbox")
    west, south, east, north = numbers
    if not (-90 <= south <= north <= 90):
        raise InvalidQuery("bbox needs -90 <= south <= north <= 90.", parameter="bbox")
    return west, south, east, north


BboxDep = Annotated[tuple[float, float, float, float] | None, Depends(bbox)]


async def language(
    accept_language: Annotated[str | None, Header(description="`zh` or `en`.")] = None,
) -> Literal["zh", "en"]:
    """Return the language of messages."""
    return preferred(accept_language)


def preferred(accept_language: str | None) -> Literal["zh", "en"]:
    """Return the language that a header asks for: Chinese when it comes before English."""
    weights = {"zh": 0.0, "en": 0.0}
    for part in (accept_language or "").lower().split(","):
        name, *parameters = (word.strip() for word in part.split(";"))
        known = name.partition("-")[0]
        if known in weights:
            given = next((word[2:] for word in parameters if word.startswith("q=")), "1")
            weight = float(given) if _QVALUE.fullmatch(given) else 0.0
            weights[known] = max(weights[known], weight)
    return "zh" if weights["zh"] > weights["en"] else "en"


LanguageDep = Annotated[Literal["zh", "en"], Depends(language)]


async def imports(request: Request) -> Imports:
    """Return the imports of this process."""
    found: Imports = request.app.state.imports
    return found


ImportsDep = Annotated[Imports, Depends(imports)]

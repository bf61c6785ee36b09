"""What routes depend on: services, the principal, the payload, preconditions, and the check of query parameters.

All are asynchronous: the call plan of a route calls them in turn, without threads.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any, Literal

import orjson
from fastapi import Depends, Header, Query, Request
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.requests import ClientDisconnect

from app.access.keys import Authenticator
from app.access.roles import Principal
from app.analysis.service import AnalysisService, DisconnectWaiter
from app.db.engine import Database, WriteContext
from app.errors import InvalidQuery, MalformedBody, UnsupportedMediaType
from app.http import negotiation
from app.http.negotiation import GEOJSON, JSON
from app.imports.jobs import ImportService
from app.messages import Message
from app.records.payloads import Precondition
from app.settings import Settings
from app.states.service import parse_json_lines

JSON_TYPES = (JSON, GEOJSON)
LINES_TYPES = ("application/x-ndjson", "application/jsonl")
PATCH_TYPES = ("application/merge-patch+json", *JSON_TYPES)


# Services of the process.


async def get_settings(request: Request) -> Settings:
    """Return the settings of the service."""
    settings: Settings = request.app.state.settings
    return settings


async def get_database(request: Request) -> Database:
    """Return the database of the service."""
    database: Database = request.app.state.database
    return database


async def get_analysis_service(request: Request) -> AnalysisService:
    """Return the analyses of the service."""
    service: AnalysisService = request.app.state.analysis
    return service


async def get_import_service(request: Request) -> ImportService:
    """Return the imports of the process."""
    service: ImportService = request.app.state.imports
    return service


SettingsDep = Annotated[Settings, Depends(get_settings)]
DatabaseDep = Annotated[Database, Depends(get_database)]
AnalysisDep = Annotated[AnalysisService, Depends(get_analysis_service)]
ImportsDep = Annotated[ImportService, Depends(get_import_service)]


async def get_disconnect_waiter(request: Request) -> DisconnectWaiter:
    """Return a function that waits until the client has closed the connection."""

    async def wait_for_disconnect() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    return wait_for_disconnect


DisconnectDep = Annotated[DisconnectWaiter, Depends(get_disconnect_waiter)]


# The principal, and the connections that are opened for it.


async def get_principal(
    request: Request, authorization: Annotated[str | None, Header(include_in_schema=False)] = None
) -> Principal:
    """Return the principal of a request; every route but the health checks depends on it."""
    authenticator: Authenticator = request.app.state.authenticator
    return await authenticator.authenticate_request(authorization)


PrincipalDep = Annotated[Principal, Depends(get_principal)]


async def require_editor(principal: PrincipalDep) -> Principal:
    """Return a principal that may write somewhere; checked before the body is read."""
    principal.require_role("editor")
    return principal


EditorDep = Annotated[Principal, Depends(require_editor)]


async def open_connection(database: DatabaseDep, _principal: PrincipalDep) -> AsyncIterator[AsyncConnection]:
    """Open a connection for single statements."""
    async with database.open_connection() as connection:
        yield connection


async def get_write_context(
    request: Request,
    principal: EditorDep,
    reason: Annotated[
        str | None,
        Header(alias="X-Change-Reason", max_length=500, description="Why; kept in the history."),
    ] = None,
) -> WriteContext:
    """Return the write context, for services that open their transaction themselves."""
    return build_write_context(request, principal, reason)


WriteContextDep = Annotated[WriteContext, Depends(get_write_context)]


async def open_transaction(database: DatabaseDep, context: WriteContextDep) -> AsyncIterator[AsyncConnection]:
    """Open the one transaction of a request; it is committed before the response is sent."""
    async with database.open_transaction(context) as connection:
        yield connection


ReadDep = Annotated[AsyncConnection, Depends(open_connection, scope="function")]
WriteDep = Annotated[AsyncConnection, Depends(open_transaction, scope="function")]


def build_write_context(request: Request, principal: Principal, reason: str | None) -> WriteContext:
    """Return the write context of a request."""
    return WriteContext(principal.name, request.scope.get("request_id", ""), _decode_utf8(reason or ""))


def _decode_utf8(header: str) -> str:
    """Return the text of a header that may be UTF-8; the server decodes headers as Latin-1."""
    try:
        return header.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return header


# The query.


async def check_query_names(request: Request) -> None:
    """Raise InvalidQuery if a query parameter is unknown to the route, is repeated, or has a NUL character."""
    known = request.scope["route"].query_names
    if not request.scope["query_string"]:
        return
    seen: set[str] = set()
    for name, value in request.query_params.multi_items():
        if name not in known:
            names = ", ".join(known) or "none"
            message = Message("Unknown query parameter {name!r}. Allowed here: {names}.", name=name, names=names)
            raise InvalidQuery(message, parameter=name, code="unknown-parameter")
        if name in seen:
            raise InvalidQuery(
                Message("Query parameter {name!r} is repeated. Send it once.", name=name), parameter=name
            )
        if "\x00" in value:
            message = Message("Query parameter {name!r} contains a NUL character. Remove it.", name=name)
            raise InvalidQuery(message, parameter=name)
        seen.add(name)


async def parse_format(
    request: Request,
    f: Annotated[
        Literal["json", "geojson"] | None, Query(description="`geojson` or `json`; wins over `Accept`.")
    ] = None,
) -> bool:
    """Return whether to answer with GeoJSON: by ``f``, or else by ``Accept``."""
    return negotiation.prefers_geojson(request.headers.get("accept")) if f is None else f == "geojson"


GeoJsonDep = Annotated[bool, Depends(parse_format)]


async def parse_bbox(
    bbox: Annotated[
        str | None,
        Query(description="west,south,east,north in degrees; west > east crosses 180.", max_length=200),
    ] = None,
) -> tuple[float, float, float, float] | None:
    """Return the bounding box of a query, in degrees.

    Raises
    ------
    InvalidQuery
        when it is not four finite numbers in range.
    """
    if bbox is None:
        return None
    try:
        numbers = [float(number) for number in bbox.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != 4 or not all(-180 <= number <= 180 for number in numbers):
        message = Message("bbox is not valid. Send four numbers in degrees: west,south,east,north.")
        raise InvalidQuery(message, parameter="bbox")
    west, south, east, north = numbers
    if not (-90 <= south <= north <= 90):
        message = Message("bbox is not valid: -90 <= south <= north <= 90 does not hold.")
        raise InvalidQuery(message, parameter="bbox")
    return west, south, east, north


BboxDep = Annotated[tuple[float, float, float, float] | None, Depends(parse_bbox)]


# Headers and body.


async def parse_language(
    accept_language: Annotated[str | None, Header(description="`zh` or `en`.")] = None,
) -> Literal["zh", "en"]:
    """Return the language of messages."""
    return negotiation.choose_language(accept_language)


LanguageDep = Annotated[Literal["zh", "en"], Depends(parse_language)]


async def parse_precondition(
    if_match: Annotated[str | None, Header(description="Version the record must have.")] = None,
    if_none_match: Annotated[str | None, Header(description="`*`: create only.")] = None,
) -> Precondition:
    """Return the precondition of a request."""
    return Precondition(if_match, if_none_match)


PreconditionDep = Annotated[Precondition, Depends(parse_precondition)]


def check_content_type(request: Request, accepted: Sequence[str]) -> str:
    """Return the content type of a request; raise UnsupportedMediaType if it is not accepted."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type not in accepted:
        raise UnsupportedMediaType(content_type, accepted)
    return content_type


async def read_body(request: Request) -> bytes:
    """Return the body of a request; raise MalformedBody if the client disconnects before its end."""
    try:
        return await request.body()
    except ClientDisconnect as error:
        raise MalformedBody(Message("The body is not complete: the client closed the connection.")) from error


async def read_json(request: Request) -> Any:
    """Return the JSON of the body: no NaN, UTF-8 only, bounded depth."""
    check_content_type(request, PATCH_TYPES if request.method == "PATCH" else JSON_TYPES)
    body = await read_body(request)
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise MalformedBody(Message("The body is not valid JSON: {reason}.", reason=str(error))) from error


BodyDep = Annotated[Any, Depends(read_json)]


async def read_json_or_lines(request: Request) -> Any:
    """Return the JSON of the body, or the list of values of newline-delimited JSON."""
    content_type = check_content_type(request, (*JSON_TYPES, *LINES_TYPES))
    if content_type in LINES_TYPES:
        return parse_json_lines(await read_body(request))
    return await read_json(request)


LinesDep = Annotated[Any, Depends(read_json_or_lines)]

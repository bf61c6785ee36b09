"""The request of a client of the GIS interface: principal, query, and the media type of the response."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Final
from urllib.parse import parse_qsl

from fastapi import Depends, Query, Request

from app.access.roles import Principal
from app.errors import BadQuery, NotAcceptable
from app.http import negotiation
from app.http.dependencies import PrincipalDep
from app.messages import Message
from app.ogc.documents import GEOJSON, HTML, JSON, OPENAPI, SCHEMA
from app.ogc.features import FeatureService
from app.ogc.parameters import check_parameters

_MAX_PARAMETERS: Final = 200
_MAX_NAME_LENGTH: Final = 60


@dataclass(frozen=True)
class OgcRequest:
    """One request to the GIS interface."""

    request: Request
    principal: Principal
    query: Mapping[str, str]

    @property
    def path(self) -> Mapping[str, str]:
        """The parameters of the path."""
        path: Mapping[str, str] = self.request.path_params
        return path

    @property
    def base_url(self) -> str:
        """The address of the GIS interface, as the client knows it."""
        scope = self.request.scope
        host = self.request.headers.get("host") or "localhost"
        return f"{scope['scheme']}://{host}{scope.get('root_path', '')}/ogc"

    @property
    def features(self) -> FeatureService:
        """The features of the service."""
        features: FeatureService = self.request.app.state.features
        return features


async def read_request(request: Request, principal: PrincipalDep) -> OgcRequest:
    """Return a request whose handler checks the query, because it depends on the collection."""
    return OgcRequest(request, principal, parse_query(request.scope["query_string"]))


UncheckedRequestDep = Annotated[OgcRequest, Depends(read_request)]


async def check_request(request: UncheckedRequestDep) -> OgcRequest:
    """Return a request; raise BadQuery for a query parameter that its route does not declare."""
    check_parameters(request.query, frozenset(request.request.scope["route"].query_names))
    return request


PlainRequestDep = Annotated[OgcRequest, Depends(check_request)]


async def check_format_request(
    request: PlainRequestDep,
    _f: Annotated[str | None, Query(alias="f", description="Format; wins over Accept.")] = None,
) -> OgcRequest:
    """Return a request of a route with the one query parameter ``f``."""
    return request


RequestDep = Annotated[OgcRequest, Depends(check_format_request)]


def parse_query(query: bytes) -> dict[str, str]:
    """Return the parameters of a query.

    Raises
    ------
    BadQuery
        when one is repeated or has a NUL character, or when there are too many.
    """
    if not query:
        return {}
    try:
        pairs = parse_qsl(_escape_plus(query.decode("latin-1")), keep_blank_values=True, max_num_fields=_MAX_PARAMETERS)
    except ValueError as error:
        message = Message("Too many query parameters. At most {limit} are allowed.", limit=_MAX_PARAMETERS)
        raise BadQuery(message, parameter="", code="bad-query") from error
    parameters: dict[str, str] = {}
    for name, value in pairs:
        short = name[:_MAX_NAME_LENGTH]
        if name in parameters:
            message = Message("Query parameter {name!r} is repeated. Send it once.", name=short)
            raise BadQuery(message, parameter=short, code="bad-query")
        if "\x00" in value:
            message = Message("Query parameter {name!r} contains a NUL character. Remove it.", name=short)
            raise BadQuery(message, parameter=short, code="bad-query")
        parameters[name] = value
    return parameters


def _escape_plus(query: str) -> str:
    """Return a query in which a plus is a space, as forms have it, or else escaped.

    QGIS writes a space as ``%20`` and leaves the plus of a filter or a time as it is: in a parameter with ``%20``, a
    plus is a plus.
    """
    if "+" not in query or "%20" not in query:
        return query
    pairs = (pair.replace("+", "%2B") if "%20" in pair else pair for pair in query.split("&"))
    return "&".join(pairs)


@dataclass(frozen=True)
class Format:
    """One format of a resource: its name as a value of ``f``, and its media types."""

    name: str
    media_types: tuple[str, ...]


_HTML_FORMAT: Final = Format("html", (HTML,))
DOCUMENT_FORMATS: Final = (Format("json", (JSON,)), _HTML_FORMAT)
FEATURE_FORMATS: Final = (Format("geojson", (GEOJSON, JSON)), _HTML_FORMAT)
SCHEMA_FORMATS: Final = (Format("json", (SCHEMA, JSON)), _HTML_FORMAT)
API_FORMATS: Final = (Format("json", (OPENAPI, "application/openapi+json;version=3.0", JSON)), _HTML_FORMAT)
_FORMAT_NAMES: Final = ("geojson", "html", "json")


def choose_media_type(request: OgcRequest, formats: tuple[Format, ...], *, lenient: bool = False) -> str:
    """Return the media type of the response: ``f`` wins over ``Accept``.

    Raises
    ------
    BadQuery
        when ``f`` is not a format.
    NotAcceptable
        when the client accepts none of the formats, unless ``lenient``: then it gets the first.
    """
    name = request.query.get("f")
    if name is not None:
        return _find_media_type(name.lower(), formats)
    offered = _list_media_types(formats)
    chosen = negotiation.choose_media_type(request.request.headers.get("accept"), offered)
    if chosen is not None:
        return chosen
    if lenient:
        return offered[0]
    raise NotAcceptable(offered)


@cache
def _list_media_types(formats: tuple[Format, ...]) -> tuple[str, ...]:
    return tuple(media_type for option in formats for media_type in option.media_types)


def _find_media_type(name: str, formats: tuple[Format, ...]) -> str:
    if name not in _FORMAT_NAMES:
        message = Message(
            "f: {name!r} is not a format. Formats: {formats}.",
            name=name[:_MAX_NAME_LENGTH],
            formats=", ".join(_FORMAT_NAMES),
        )
        raise BadQuery(message, parameter="f", code="bad-query")
    for option in formats:
        if name == option.name or (name == "json" and option.name == "geojson"):
            return option.media_types[0]
    raise NotAcceptable([option.name for option in formats])

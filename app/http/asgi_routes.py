"""Routes without FastAPI's machinery, for the reads that are asked most: admission, parameters, answer.

A lean route promises what every route promises: the caller is asked for, and unknown query parameters
are refused (``tests/test_architecture.py``). A handler gets both; it cannot be reached without.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import Receive, Scope, Send
from typing_extensions import override

from app.access.keys import Gate
from app.access.roles import Principal
from app.errors import BadQuery
from app.ogc.parameters import check_known

_MOST_PARAMETERS: Final = 200
_CHOSEN: Final = "registry.lean_route"


@dataclass(frozen=True)
class Call:
    """One request: who asks, and what its query says."""

    request: Request
    who: Principal
    given: Mapping[str, str]

    @property
    def path(self) -> Mapping[str, str]:
        """Return the parameters of the path."""
        found: Mapping[str, str] = self.request.path_params
        return found

    @property
    def base(self) -> str:
        """Return the address of the service, as the caller knows it."""
        scope = self.request.scope
        host = self.request.headers.get("host") or "localhost"
        return f"{scope['scheme']}://{host}{scope.get('root_path', '')}"


Handler = Callable[[Call], Awaitable[Response]]


class LeanRoute(Route):
    """A route whose handler is given an admitted caller and parameters that were checked.

    ``parameters`` None means that the handler checks them itself, because they depend on the path; such
    handlers go through ``app.ogc.parameters``.
    """

    def __init__(
        self,
        path: str,
        handler: Handler,
        *,
        methods: tuple[str, ...] = ("GET",),
        parameters: frozenset[str] | None,
    ) -> None:
        super().__init__(path, _Endpoint(handler, parameters), methods=list(methods))
        self.handler = handler
        self.parameters = parameters


class _Endpoint:
    """The ASGI application of a lean route."""

    def __init__(self, handler: Handler, parameters: frozenset[str] | None) -> None:
        self._handler = handler
        self._parameters = parameters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Admit the caller, read the parameters, answer."""
        request = Request(scope, receive, send)
        gate: Gate = scope["app"].state.gate
        who = await gate.admit(request.headers.get("authorization"))
        given = read_parameters(scope["query_string"])
        if self._parameters is not None:
            check_known(given, self._parameters)
        answer = await self._handler(Call(request, who, given))
        await answer(scope, receive, send)


class Below(BaseRoute):
    """Routes under one prefix, searched only for addresses that have it: a long list costs everybody."""

    def __init__(self, prefix: str, routes: Sequence[Route]) -> None:
        self.prefix = prefix
        self.routes = tuple(routes)

    @override
    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Return how well a request fits, and the route it fits."""
        partial: tuple[Match, Scope] = (Match.NONE, {})
        if scope["type"] != "http" or self.prefix not in scope["path"]:
            return partial
        for route in self.routes:
            match, child = route.matches(scope)
            if match == Match.FULL:
                return match, {**child, _CHOSEN: route}
            if match == Match.PARTIAL and partial[0] == Match.NONE:
                partial = (match, {**child, _CHOSEN: route})
        return partial

    @override
    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the route that fits answer."""
        await scope[_CHOSEN].handle(scope, receive, send)


def flat(routes: Iterable[BaseRoute]) -> Iterator[BaseRoute]:
    """Yield routes, those below a prefix one by one."""
    for route in routes:
        if isinstance(route, Below):
            yield from route.routes
        else:
            yield route


def read_parameters(query: bytes) -> dict[str, str]:
    """Return the parameters of a query.

    Raises
    ------
    BadQuery
        when one is given twice, has a NUL character, or there are too many.
    """
    if not query:
        return {}
    try:
        pairs = parse_qsl(
            _plus_told(query.decode("latin-1")),
            keep_blank_values=True,
            max_num_fields=_MOST_PARAMETERS,
        )
    except ValueError as error:
        raise BadQuery("There are too many query parameters.", parameter="", code="bad-query") from error
    given: dict[str, str] = {}
    for name, value in pairs:
        if name in given:
            raise BadQuery(f"Parameter {name[:60]!r} is given twice.", parameter=name[:60], code="bad-query")
        if "\x00" in value:
            raise BadQuery(
                f"Parameter {name[:60]!r} has a NUL character.",
                parameter=name[:60],
                code="bad-query",
            )
        given[name] = value
    return given


def _plus_told(query: str) -> str:
    """Return a query in which a plus is a space, as forms have it, or else escaped.

    QGIS writes a space as ``%20`` and leaves the plus of a filter or a time as it is: where spaces are
    written so, a plus is no space.
    """
    if "+" not in query or "%20" not in query:
        return query
    parts = (part.replace("+", "%2B") if "%20" in part else part for part in query.split("&"))
    return "&".join(parts)

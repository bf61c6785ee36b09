"""The route class of the service, the call plan that answers a request, and the table that finds a route.

FastAPI describes a route; it does not answer it. FastAPI would inspect each parameter of each dependency again for
every request. A call plan is compiled once per route, from the same signatures: which functions to call, in which
order, and which argument comes from where. See ADR 21.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Final, get_args, get_origin

from fastapi import params
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.routing import Route as StarletteRoute
from starlette.types import Receive, Scope, Send
from typing_extensions import override

_REQUIRED: Final = object()
"""Default of a parameter that must be sent."""
_NOT_COMPUTED: Final = object()
"""Result of a step that was not called, because a parameter of it, or of a step before it, is not valid."""


class Route(APIRoute):
    """A route that FastAPI describes and a call plan answers.

    The endpoint and its dependencies are coroutine functions. A dependency may also be an asynchronous generator,
    which is closed before the response is sent. The endpoint returns the response.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        dependencies = [depends.dependency for depends in self.dependencies if depends.dependency is not None]
        self.plan = CallPlan.compile(endpoint, dependencies, path_names=frozenset(self.param_convertors))
        self.query_names = self.plan.query_names()
        self.app = self.send_response

    @override
    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Return how well a request matches; FastAPI would look for a router that includes this route."""
        match, child_scope = StarletteRoute.matches(self, scope)
        child_scope["route"] = self
        return match, child_scope

    async def send_response(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the call plan and send its response."""
        response = await self.plan.run(Request(scope, receive, send))
        await response(scope, receive, send)


@dataclass(frozen=True, slots=True)
class _Parameter:
    """One argument that a request carries as text."""

    name: str
    alias: str
    default: Any
    validate: Callable[[Any], Any] | None
    """None: every text is valid."""


@dataclass(frozen=True, slots=True)
class _Source:
    """The part of a request that parameters are read from, and these parameters."""

    name: str
    read: Callable[[Request], Mapping[str, str]]
    parameters: tuple[_Parameter, ...]

    def add_arguments(self, request: Request, arguments: dict[str, Any], errors: list[Mapping[str, Any]]) -> None:
        """Add the value of each parameter to the arguments of a function, or its error to the errors."""
        texts = self.read(request)
        for parameter in self.parameters:
            text = texts.get(parameter.alias)
            if text is None:
                if parameter.default is _REQUIRED:
                    location = (self.name, parameter.alias)
                    errors.append({"type": "missing", "loc": location, "msg": "Field required", "input": None})
                arguments[parameter.name] = parameter.default
            elif parameter.validate is None:
                arguments[parameter.name] = text
            else:
                try:
                    arguments[parameter.name] = parameter.validate(text)
                except ValidationError as error:
                    entries = error.errors(include_url=False)
                    errors += [{**entry, "loc": (self.name, parameter.alias, *entry["loc"])} for entry in entries]


@dataclass(frozen=True, slots=True)
class _Step:
    """One function of a call plan and the origin of its arguments."""

    function: Callable[..., Any]
    """Returns a coroutine, or a context if ``is_context``."""
    is_context: bool
    request_name: str | None
    inputs: tuple[tuple[str, int], ...]
    """Arguments that are results of earlier steps, with the index of the step."""
    sources: tuple[_Source, ...]

    def read_arguments(
        self, request: Request, results: Sequence[Any], errors: list[Mapping[str, Any]]
    ) -> dict[str, Any] | None:
        """Return the arguments of the function, None when one of them is not valid."""
        count = len(errors)
        arguments = {name: results[index] for name, index in self.inputs}
        is_computed = not errors or all(value is not _NOT_COMPUTED for value in arguments.values())
        for source in self.sources:
            source.add_arguments(request, arguments, errors)
        if self.request_name is not None:
            arguments[self.request_name] = request
        return arguments if is_computed and len(errors) == count else None


@dataclass(frozen=True, slots=True)
class CallPlan:
    """The dependencies of a route in the order of their calls, each once, and its endpoint."""

    dependencies: tuple[_Step, ...]
    endpoint: _Step
    opens_contexts: bool

    @classmethod
    def compile(
        cls,
        endpoint: Callable[..., Any],
        dependencies: Iterable[Callable[..., Any]] = (),
        *,
        path_names: frozenset[str] = frozenset(),
    ) -> "CallPlan":
        """Return the plan of an endpoint; the results of the ``dependencies`` of its router are not used.

        Raises
        ------
        TypeError
            when a function is not asynchronous, or a parameter has no origin.
        """
        steps: list[_Step] = []
        indexes: dict[Callable[..., Any], int] = {}
        for function in (*dependencies, endpoint):
            _add_step(function, path_names, steps, indexes)
        return cls(tuple(steps[:-1]), steps[-1], any(step.is_context for step in steps))

    def query_names(self) -> tuple[str, ...]:
        """Return the names of all query parameters, sorted."""
        sources = [source for step in (*self.dependencies, self.endpoint) for source in step.sources]
        queries = [source.parameters for source in sources if source.name == "query"]
        return tuple(sorted({parameter.alias for parameters in queries for parameter in parameters}))

    async def run(self, request: Request) -> Response:
        """Call the dependencies and the endpoint, and return its response.

        Raises
        ------
        RequestValidationError
            naming every parameter that is missing or not valid.
        """
        if not self.opens_contexts:
            return await self._run(request, None)
        async with AsyncExitStack() as stack:
            return await self._run(request, stack)

    async def _run(self, request: Request, stack: AsyncExitStack | None) -> Response:
        results: list[Any] = []
        errors: list[Mapping[str, Any]] = []
        for step in self.dependencies:
            arguments = step.read_arguments(request, results, errors)
            if arguments is None:
                # The other steps still run: a caller without a key learns that first.
                result: Any = _NOT_COMPUTED
            elif step.is_context and stack is not None:
                result = await stack.enter_async_context(step.function(**arguments))
            else:
                result = await step.function(**arguments)
            results.append(result)
        arguments = self.endpoint.read_arguments(request, results, errors)
        if errors or arguments is None:
            raise RequestValidationError(errors)
        response: Response = await self.endpoint.function(**arguments)
        return response


def _add_step(
    function: Callable[..., Any],
    path_names: frozenset[str],
    steps: list[_Step],
    indexes: dict[Callable[..., Any], int],
) -> int:
    """Add a function to the steps, after the functions it depends on, and return its index."""
    if function in indexes:
        return indexes[function]
    is_context = inspect.isasyncgenfunction(function)
    if not is_context and not inspect.iscoroutinefunction(function):
        raise TypeError(f"{function!r} is not asynchronous. Declare it with `async def`.")
    request_name = None
    inputs: list[tuple[str, int]] = []
    parameters: dict[str, list[_Parameter]] = {name: [] for name in _READERS}
    for name, parameter in inspect.signature(function, eval_str=True).parameters.items():
        annotation, marker = _split_annotation(parameter.annotation)
        if isinstance(marker, params.Depends) and marker.dependency is not None:
            inputs.append((name, _add_step(marker.dependency, path_names, steps, indexes)))
        elif isinstance(annotation, type) and issubclass(annotation, Request):
            request_name = name
        else:
            source = _source_name(name, marker, path_names)
            parameters[source].append(_parse_parameter(parameter, annotation, marker, source))
    sources = [_Source(name, _READERS[name], tuple(found)) for name, found in parameters.items() if found]
    call = asynccontextmanager(function) if is_context else function
    steps.append(_Step(call, is_context, request_name, tuple(inputs), tuple(sources)))
    indexes[function] = len(steps) - 1
    return indexes[function]


def _split_annotation(annotation: Any) -> tuple[Any, Any]:
    """Return the type of an annotation and what FastAPI is told about it, None where it is told nothing."""
    if get_origin(annotation) is not Annotated:
        return annotation, None
    inner, *metadata = get_args(annotation)
    markers = [marker for marker in metadata if isinstance(marker, params.Depends | params.Param)]
    return inner, markers[-1] if markers else None


def _source_name(name: str, marker: Any, path_names: frozenset[str]) -> str:
    if isinstance(marker, params.Path) or (marker is None and name in path_names):
        return "path"
    for source, markers in (("header", params.Header), ("query", params.Query)):
        if isinstance(marker, markers):
            return source
    raise TypeError(f"Parameter {name} has no origin. Declare it with Depends, Path, Query or Header.")


def _parse_parameter(parameter: inspect.Parameter, annotation: Any, marker: Any, source: str) -> _Parameter:
    """Return a parameter of a request, as FastAPI reads its declaration."""
    metadata = getattr(marker, "metadata", [])
    alias = getattr(marker, "alias", None) or parameter.name
    if source == "header" and alias == parameter.name:
        alias = alias.replace("_", "-")
    default = _REQUIRED if parameter.default is inspect.Parameter.empty else parameter.default
    validate = None
    if metadata or annotation not in (str, str | None):
        adapter: TypeAdapter[Any] = TypeAdapter(Annotated[(annotation, *metadata)] if metadata else annotation)
        validate = adapter.validator.validate_python
    return _Parameter(parameter.name, alias, default, validate)


def _read_path(request: Request) -> Mapping[str, str]:
    path: Mapping[str, str] = request.path_params
    return path


def _read_query(request: Request) -> Mapping[str, str]:
    # A plain dictionary: most parameters are absent, and those of Starlette raise and catch for each.
    return dict(request.query_params.items()) if request.scope["query_string"] else {}


def _read_headers(request: Request) -> Mapping[str, str]:
    return request.headers


_READERS: Final = {"path": _read_path, "query": _read_query, "header": _read_headers}


class RouteTable(BaseRoute):
    """Routes by the length and the first two segments of their paths, which are literal.

    A list of all routes costs every request: each pattern is tried in turn.
    """

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = tuple(routes)
        self._by_key: dict[tuple[int, str], list[Route]] = {}
        for route in self.routes:
            key = _table_key(route.path)
            if "{" in key[1]:
                raise ValueError(f"{route.path}: the first two segments of a path must be literal.")
            self._by_key.setdefault(key, []).append(route)

    @override
    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Return how well a request matches, and the scope of the route that matches best."""
        best: tuple[Match, Scope] = (Match.NONE, {})
        if scope["type"] != "http":
            return best
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        for route in self._by_key.get(_table_key(path), ()):
            match, child_scope = route.matches(scope)
            if match == Match.FULL:
                return match, child_scope
            if match == Match.PARTIAL and best[0] == Match.NONE:
                best = (match, child_scope)
        return best

    @override
    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the route that matched respond; it refuses a method that it does not have."""
        route: Route = scope["route"]
        await StarletteRoute.handle(route, scope, receive, send)


def _table_key(path: str) -> tuple[int, str]:
    segments = path.split("/")
    return len(segments), "/".join(segments[:3])


def iter_routes(routes: Iterable[BaseRoute]) -> Iterator[BaseRoute]:
    """Yield routes, those of a table one by one."""
    for route in routes:
        if isinstance(route, RouteTable):
            yield from route.routes
        else:
            yield route

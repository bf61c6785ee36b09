"""Reads whose dependencies are solved by a plan made once, when the route is made.

FastAPI looks at every parameter of every dependency anew for each request, a fifth of the time of a
page of records. A plan keeps what it would find: which functions to ask in which order, and where each
of their arguments comes from. What a plan cannot settle is left to FastAPI, which begins anew: a value
that is not valid, so that its words tell what is wrong, and a dependency put in place of another. Routes
for which no plan can be made, those that read bodies or open transactions, are FastAPI's as ever. See
ADR 17.
"""

import inspect
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Self

from fastapi._compat import ModelField
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic_core import PydanticUndefined
from starlette.requests import Request
from starlette.responses import Response
from typing_extensions import override

Handler = Callable[[Request], Coroutine[Any, Any, Response]]
_CONSTANT: Final = (type(None), bool, int, float, str)
"""Defaults that can be handed out again and again."""


class PreparedRoute(APIRoute):
    """A route that answers by its plan where it has one."""

    @override
    def get_route_handler(self) -> Handler:
        """Return what answers a request: FastAPI's documented place for a handler of one's own."""
        ordinary = super().get_route_handler()
        plan = Plan.of(self.dependant) if _answers_itself(self.endpoint) else None
        if plan is None:
            return ordinary

        async def handler(request: Request) -> Response:
            if request.app.dependency_overrides:
                return await ordinary(request)
            try:
                arguments = await plan.solve(request)
            except _Unsettled:
                return await ordinary(request)
            answer: Response = await self.endpoint(**arguments)
            return answer

        return handler


def _answers_itself(endpoint: Callable[..., Any]) -> bool:
    """Tell whether a coroutine returns a response, so that nothing is left to make of its answer."""
    returned = inspect.get_annotations(endpoint).get("return")
    return inspect.iscoroutinefunction(endpoint) and isinstance(returned, type) and issubclass(returned, Response)


class _Unsettled(Exception):
    """FastAPI is to say what is wrong."""


class _NoPlan(Exception):
    """A dependency is of a kind that plans do not have."""


@dataclass(frozen=True, slots=True)
class _Field:
    """One argument that comes from the path, the query or the headers."""

    name: str
    alias: str
    missing: Any
    """What it is when it is not given; undefined when it must be."""
    validate: Callable[[Any], Any]

    @classmethod
    def of(cls, field: ModelField) -> Self:
        info = field.field_info
        constant = info.is_required() or isinstance(field.default, _CONSTANT)
        if field.validation_alias not in (None, field.alias) or info.validate_default or not constant:
            raise _NoPlan
        missing = PydanticUndefined if info.is_required() else field.default
        return cls(field.name, field.alias, missing, field.validate)

    def read(self, given: Mapping[str, str]) -> Any:
        found = given.get(self.alias)
        if found is None:
            if self.missing is PydanticUndefined:
                raise _Unsettled
            return self.missing
        value, errors = self.validate(found)
        if errors:
            raise _Unsettled
        return value


@dataclass(frozen=True, slots=True)
class _Step:
    """One function of a plan and where its arguments come from."""

    call: Callable[..., Awaitable[Any]] | None
    """None for the last, the route itself, which its plan does not call."""
    path: tuple[_Field, ...]
    query: tuple[_Field, ...]
    headers: tuple[_Field, ...]
    request: str | None
    found: tuple[tuple[str, int], ...]
    """Arguments that earlier steps have found, by the number of the step."""


_UNPLANNED: Final = (
    "cookie_params", "body_params", "websocket_param_name", "http_connection_param_name",
    "response_param_name", "background_tasks_param_name", "security_scopes_param_name",
    "own_oauth_scopes", "parent_oauth_scopes", "concurrency",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Plan:
    """Functions in the order they are asked in; the last step has the arguments of the route."""

    steps: tuple[_Step, ...]

    @classmethod
    def of(cls, dependant: Dependant) -> "Plan | None":
        """Return the plan of a route, None when there can be none."""
        steps: list[_Step] = []
        try:
            _planned(dependant, steps, {})
        except _NoPlan:
            return None
        return cls((*steps[:-1], replace(steps[-1], call=None)))

    async def solve(self, request: Request) -> dict[str, Any]:
        """Return the arguments of the route.

        Raises
        ------
        _Unsettled
            when a value is missing or not valid.
        """
        results: list[Any] = []
        for step in self.steps:
            arguments = {name: results[at] for name, at in step.found}
            arguments.update(_read(step.path, request.path_params))
            arguments.update(_read(step.query, request.query_params))
            arguments.update(_read(step.headers, request.headers))
            if step.request is not None:
                arguments[step.request] = request
            results.append(arguments if step.call is None else await step.call(**arguments))
        solved: dict[str, Any] = results[-1]
        return solved


def _read(fields: tuple[_Field, ...], given: Mapping[str, str]) -> Iterator[tuple[str, Any]]:
    for field in fields:
        yield field.name, field.read(given)


def _planned(dependant: Dependant, steps: list[_Step], asked: dict[Any, int]) -> int:
    """Add a dependency and those before it to a plan, each once, and return its number."""
    call = dependant.call
    if call in asked and dependant.use_cache:
        return asked[call]
    unplanned = any(getattr(dependant, name) for name in _UNPLANNED)
    if unplanned or not inspect.iscoroutinefunction(call):
        raise _NoPlan
    found = [(below.name, _planned(below, steps, asked)) for below in dependant.dependencies]
    steps.append(
        _Step(
            call=call,
            path=_fields(dependant.path_params),
            query=_fields(dependant.query_params),
            headers=_fields(dependant.header_params),
            request=dependant.request_param_name,
            found=tuple((name, at) for name, at in found if name is not None),
        )
    )
    asked[call] = len(steps) - 1
    return asked[call]


def _fields(declared: Iterable[ModelField]) -> tuple[_Field, ...]:
    return tuple(map(_Field.of, declared))

"""Errors as RFC 9457 problem details: one table gives each class of errors its status."""

from collections.abc import Mapping
from typing import Any, Final

import orjson
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.routing import Route as StarletteRoute

from app import errors
from app.db.engine import is_unreachable
from app.errors import Issue, RegistryError, build_pointer
from app.http.negotiation import choose_language
from app.http.routing import iter_routes
from app.messages import Message, translate_message
from app.records.payloads import format_etag

log = structlog.get_logger()

STATUS: Final[Mapping[type[RegistryError], int]] = {
    errors.Invalid: 422,
    errors.BadQuery: 400,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.PreconditionFailed: 412,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.TooLarge: 413,
    errors.NotAcceptable: 406,
    errors.MethodNotAllowed: 405,
    errors.UnsupportedMediaType: 415,
    errors.ClientDisconnected: 499,
    errors.Unavailable: 503,
    errors.NoSpace: 507,
}
TITLES: Final[Mapping[int, Message]] = {
    400: Message("Bad request"),
    401: Message("Authentication required"),
    403: Message("Not allowed"),
    404: Message("Not found"),
    405: Message("Method not allowed"),
    406: Message("Not acceptable"),
    409: Message("Conflict"),
    412: Message("Precondition failed"),
    413: Message("Too large"),
    415: Message("Unsupported media type"),
    422: Message("Not valid"),
    499: Message("Client closed the request"),
    500: Message("Internal error"),
    503: Message("Unavailable"),
    507: Message("No space"),
}
RETRY_AFTER_S: Final = 2
MEDIA_TYPE: Final = "application/problem+json"
_MAX_ISSUES: Final = 10_000
_MAX_TEXT_LENGTH: Final = 1000
"""What a client sent is never repeated in full."""


def find_status(error: RegistryError) -> int:
    """Return the HTTP status of an error: that of its nearest class in the table."""
    return next(STATUS[error_class] for error_class in type(error).__mro__ if error_class in STATUS)


def build_problem(
    request: Request,
    status: int,
    code: str,
    detail: str,
    *,
    issues: tuple[Issue, ...] = (),
    extra: Mapping[str, object] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return a problem details response, in Chinese if the client prefers it and the detail has a translation."""
    all_headers = dict(headers or {})
    title: str = TITLES.get(status, Message("Error"))
    entries = [vars(issue) for issue in issues[:_MAX_ISSUES]]
    if choose_language(request.headers.get("accept-language")) == "zh":
        translated = translate_message(detail, "zh")
        if translated != detail:
            all_headers["Content-Language"] = "zh"
            title, detail = translate_message(title, "zh"), translated
            entries = [{**entry, "message": translate_message(entry["message"], "zh")} for entry in entries]
    body: dict[str, Any] = {
        "type": f"urn:coverage-registry:problem:{code}",
        "title": title,
        "status": status,
        "code": code,
        "detail": _shorten(detail),
        "instance": request.url.path,
        "request_id": request.scope.get("request_id", ""),
        "errors": [{name: _shorten(value) for name, value in entry.items()} for entry in entries],
        **(extra or {}),
    }
    return Response(orjson.dumps(body), status_code=status, media_type=MEDIA_TYPE, headers=all_headers)


def _shorten(text: str) -> str:
    return text if len(text) <= _MAX_TEXT_LENGTH else text[: _MAX_TEXT_LENGTH - 1] + "…"


async def _respond_to_registry_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RegistryError)  # noqa: S101  # registered for this type
    status = find_status(error)
    headers: dict[str, str] = {}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if status == 503:
        headers["Retry-After"] = str(RETRY_AFTER_S)
    if isinstance(error, errors.PreconditionFailed) and error.current_version is not None:
        headers["ETag"] = format_etag(error.current_version)
    if isinstance(error, errors.MethodNotAllowed):
        headers["Allow"] = ", ".join(error.allowed)
    if isinstance(error, errors.UnsupportedMediaType):
        headers["Accept-Patch" if request.method == "PATCH" else "Accept-Post"] = ", ".join(error.accepted)
    issues = tuple(error.issues)
    return build_problem(request, status, error.code, error.detail, issues=issues, extra=error.extra, headers=headers)


async def _respond_to_validation_error(request: Request, error: Exception) -> Response:
    """Return the problem of parameters that are missing or not valid."""
    assert isinstance(error, RequestValidationError)  # noqa: S101  # registered for this type
    issues = []
    for entry in error.errors():
        source, *names = entry["loc"]
        prefix = {"query": "?", "path": "path:", "header": "header:"}.get(str(source), "")
        location = prefix + ".".join(map(str, names)) if prefix else build_pointer(names)
        issues.append(Issue(location, str(entry["type"]).replace("_", "-"), str(entry["msg"])))
    first = issues[0]
    detail = Message("The request is not valid: {pointer}: {message}.", pointer=first.pointer, message=first.message)
    return build_problem(request, 422, "invalid", detail, issues=tuple(issues))


async def _respond_to_http_error(request: Request, error: Exception) -> Response:
    """Return the problem of an unknown path or method."""
    assert isinstance(error, HTTPException)  # noqa: S101  # registered for this type
    code, detail = "http-error", str(error.detail)
    headers = dict(error.headers or {})
    path = request.url.path
    if error.status_code == 404:
        code, detail = "no-such-path", Message("Unknown path {path}. The paths are listed in /openapi.json.", path=path)
    if error.status_code == 405:
        methods = ", ".join(_list_methods(request))
        code, headers["Allow"] = "method-not-allowed", methods
        detail = Message(
            "{method} is not possible on {path}. Allowed: {methods}.", method=request.method, path=path, methods=methods
        )
    return build_problem(request, error.status_code, code, detail, headers=headers)


def _list_methods(request: Request) -> list[str]:
    """Return the methods of all routes of a path; the framework names those of the first."""
    methods: set[str] = set()
    for route in iter_routes(request.app.routes):
        if isinstance(route, StarletteRoute) and route.matches(request.scope)[0] is not Match.NONE:
            methods |= route.methods or set()
    return sorted(methods | {"HEAD"} if "GET" in methods else methods)


async def _respond_to_unexpected_error(request: Request, error: Exception) -> Response:
    """Log an error once and return a plain 500; a database that is not reachable is a 503."""
    request_id = request.scope.get("request_id", "")
    if is_unreachable(error):
        response = await _respond_to_registry_error(request, errors.Unavailable())
    else:
        log.error("unexpected error", request_id=request_id, exc_info=error)
        detail = Message("The service failed. Report the request id {request_id}.", request_id=request_id)
        response = build_problem(request, 500, "internal-error", detail)
    response.headers["X-Request-ID"] = request_id  # this response does not pass the middleware
    return response


def install_handlers(app: FastAPI) -> None:
    """Register the handler of every class of errors."""
    app.add_exception_handler(RegistryError, _respond_to_registry_error)
    app.add_exception_handler(RequestValidationError, _respond_to_validation_error)
    app.add_exception_handler(HTTPException, _respond_to_http_error)
    app.add_exception_handler(Exception, _respond_to_unexpected_error)

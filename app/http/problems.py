"""Failure as RFC 9457 problem details: one table gives each family of errors its status."""

from collections.abc import Mapping
from typing import Any, Final

import orjson
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route

from app import errors
from app.db.engine import is_away
from app.errors import Issue, RegistryError
from app.http.asgi_routes import flat
from app.http.dependencies import preferred
from app.ingest.messages.chinese import in_chinese
from app.records.payloads import etag, pointer

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
    errors.NotPossible: 405,
    errors.UnsupportedMediaType: 415,
    errors.Abandoned: 499,
    errors.Unavailable: 503,
    errors.NoSpace: 507,
}
TITLES: Final = {
    400: "Bad request",
    401: "Authentication needed",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    406: "Not acceptable",
    409: "Conflict",
    412: "Precondition failed",
    413: "Too large",
    415: "Unsupported media type",
    422: "Not valid",
    499: "Given up",
    500: "Internal error",
    503: "Unavailable",
    507: "No space",
}
TITLES_ZH: Final = {
    400: "请求有误",
    403: "无权进行",
    404: "不存在",
    409: "与规则冲突",
    413: "过大",
    422: "内容无效",
    503: "暂不可用",
    507: "空间不足",
}
"""Of problems whose sentence is known in Chinese; the others are told in English throughout."""
RETRY_AFTER_S: Final = 2
MEDIA_TYPE: Final = "application/problem+json"
_MOST: Final = 10_000
_LONGEST: Final = 1000
"""Bounds of an answer: what was sent is never echoed at any length."""


def status_of(error: RegistryError) -> int:
    """Return the HTTP status of an error's family."""
    return next(STATUS[family] for family in type(error).__mro__ if family in STATUS)


def problem(
    request: Request,
    status: int,
    code: str,
    detail: str,
    *,
    issues: tuple[Issue, ...] = (),
    extra: Mapping[str, object] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return a problem details response, in Chinese where that is asked for and known."""
    told = dict(headers or {})
    title = TITLES.get(status, "Error")
    shown = [vars(fault) for fault in issues[:_MOST]]
    if preferred(request.headers.get("accept-language")) == "zh":
        chinese = in_chinese(detail)
        if chinese != detail:
            told["Content-Language"] = "zh"
            title, detail = TITLES_ZH.get(status, title), chinese
            shown = [{**fault, "message": in_chinese(fault["message"])} for fault in shown]
    body: dict[str, Any] = {
        "type": f"urn:coverage-registry:problem:{code}",
        "title": title,
        "status": status,
        "code": code,
        "detail": _short(detail),
        "instance": request.url.path,
        "request_id": request.scope.get("request_id", ""),
        "errors": [{name: _short(value) for name, value in fault.items()} for fault in shown],
        **(extra or {}),
    }
    return Response(orjson.dumps(body), status_code=status, media_type=MEDIA_TYPE, headers=told)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


async def _registry_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RegistryError)  # noqa: S101  # registered for this type
    status = status_of(error)
    headers: dict[str, str] = {}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if status == 503:
        headers["Retry-After"] = str(RETRY_AFTER_S)
    if isinstance(error, errors.PreconditionFailed) and error.current_version is not None:
        headers["ETag"] = etag(error.current_version)
    if isinstance(error, errors.NotPossible):
        headers["Allow"] = ", ".join(error.allowed)
    if isinstance(error, errors.UnsupportedMediaType):
        headers["Accept-Patch" if request.method == "PATCH" else "Accept-Post"] = ", ".join(error.accepted)
    faults = tuple(error.issues)
    return problem(request, status, error.code, error.detail, issues=faults, extra=error.extra, headers=headers)


async def _validation_error(request: Request, error: Exception) -> Response:
    """Render what FastAPI itself refuses: path and query values."""
    assert isinstance(error, RequestValidationError)  # noqa: S101  # registered for this type
    faults = []
    for found in error.errors():
        place, *rest = found["loc"]
        prefix = {"query": "?", "path": "path:", "header": "header:"}.get(str(place), "")
        where = prefix + ".".join(map(str, rest)) if prefix else pointer(rest)
        faults.append(Issue(where, str(found["type"]).replace("_", "-"), str(found["msg"])))
    detail = f"The request is not valid: {faults[0].pointer}: {faults[0].message}."
    return problem(request, 422, "invalid", detail, issues=tuple(faults))


async def _http_error(request: Request, error: Exception) -> Response:
    """Render what the framework itself refuses: unknown paths and methods."""
    assert isinstance(error, HTTPException)  # noqa: S101  # registered for this type
    code = {404: "no-such-path", 405: "method-not-allowed"}.get(error.status_code, "http-error")
    detail = {
        404: f"There is nothing at {request.url.path}.",
        405: f"{request.method} is not possible on {request.url.path}.",
    }.get(error.status_code, str(error.detail))
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = ", ".join(_methods(request))
    return problem(request, error.status_code, code, detail, headers=headers)


def _methods(request: Request) -> list[str]:
    """Return the methods of every route at a path; the framework names those of the first."""
    found: set[str] = set()
    for route in flat(request.app.routes):
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE:
            found |= route.methods or set()
    return sorted(found | {"HEAD"} if "GET" in found else found)


async def _unexpected(request: Request, error: Exception) -> Response:
    """Answer a plain 500 and log once; a database that is away is a 503 wherever it shows."""
    request_id = request.scope.get("request_id", "")
    if is_away(error):
        answer = await _registry_error(request, errors.Unavailable())
    else:
        log.error("unexpected error", request_id=request_id, exc_info=error)
        answer = problem(request, 500, "internal-error", "Something went wrong on our side.")
    answer.headers["X-Request-ID"] = request_id  # this answer does not pass the envelope
    return answer


def install(app: FastAPI) -> None:
    """Register every handler."""
    app.add_exception_handler(RegistryError, _registry_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _unexpected)

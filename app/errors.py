"""Errors of the service, each with a stable code, and the issues that they list.

Nothing in this module knows HTTP; ``app.http.problems`` gives each class its status. The tree::

    RegistryError
    ├── Invalid               the payload or the query is not valid
    │   ├── InvalidShape      a geometry is not valid
    │   ├── InvalidQuery      a query parameter is unknown or not valid
    │   │   └── BadQuery      the same in the GIS interface, where OGC API requires status 400
    │   └── MalformedBody     the body cannot be parsed
    ├── NotFound              the record does not exist in the scope of the principal
    ├── Conflict              a rule of the registry forbids the change
    ├── PreconditionFailed    If-Match or If-None-Match does not hold
    ├── Unauthenticated       no key, or a key that is not valid
    ├── Forbidden             the principal does not have the role
    ├── TooLarge              a body or a request exceeds a documented limit
    ├── NotAcceptable         the client accepts none of the formats
    ├── MethodNotAllowed      the resource does not have the method
    ├── UnsupportedMediaType  the route does not accept the content type
    ├── ClientDisconnected    the client closed the connection before the response
    ├── Unavailable           the database is not reachable, or ended the statement
    └── NoSpace               the disk has no space for an upload
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pydantic_core import PydanticCustomError, ValidationError
from typing_extensions import override

from app.messages import Message


@dataclass(frozen=True)
class Issue:
    """One error of a payload or query; ``pointer`` is a JSON Pointer (RFC 6901), or ``?name`` for a parameter."""

    pointer: str
    code: str
    message: str

    def with_prefix(self, prefix: str) -> "Issue":
        """Return the issue with the pointer of an enclosing document."""
        return Issue(prefix + self.pointer, self.code, self.message)


def to_pydantic_error(code: str, message: Message, member: str | None = None) -> PydanticCustomError:
    """Return the error that a validator of pydantic raises; its context keeps the message for translation.

    Parameters
    ----------
    member : str, optional
        Member that the error is reported at, if the validator checks a whole record.
    """
    context: dict[str, object] = {"message": message}
    return PydanticCustomError(code, "{message}", context if member is None else context | {"member": member})


def build_pointer(location: Sequence[str | int]) -> str:
    """Return the JSON Pointer (RFC 6901) of a pydantic error location."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in location)


def to_issues(error: ValidationError) -> list[Issue]:
    """Return the errors of pydantic as issues.

    A validator of the whole record may name the member that its error is about (`to_pydantic_error`).
    """
    issues = []
    for entry in error.errors(include_url=False, include_input=False):
        context = entry.get("ctx", {})
        member = context.get("member")
        pointer = build_pointer([*entry["loc"], member] if isinstance(member, str) else entry["loc"])
        message = context.get("message")
        text = message if isinstance(message, Message) else entry["msg"]
        issues.append(Issue(pointer, entry["type"].replace("_", "-"), text))
    return issues


@dataclass(eq=False)
class RegistryError(Exception):
    """Base of all errors that the service raises on purpose."""

    detail: str
    code: str = "error"
    issues: Sequence[Issue] = field(default_factory=tuple)
    extra: Mapping[str, object] = field(default_factory=dict)

    @override
    def __str__(self) -> str:
        return self.detail


class Invalid(RegistryError):
    """The payload breaks a rule that can be checked without the database."""

    def __init__(self, detail: str, *, code: str = "invalid", issues: Sequence[Issue] = ()) -> None:
        super().__init__(detail, code, tuple(issues))


def build_invalid(subject: Message, issues: Sequence[Issue], code: str = "invalid") -> "Invalid":
    """Return the error for a payload with issues; its detail repeats the first one.

    Parameters
    ----------
    subject : Message
        What is not valid, for example "The ring is not valid".
    """
    first = issues[0]
    if first.pointer:
        detail = Message(
            "{subject}: {pointer}: {message}.", subject=subject, pointer=first.pointer, message=first.message
        )
    else:
        detail = Message("{subject}: {message}.", subject=subject, message=first.message)
    return Invalid(detail, code=code, issues=issues)


class InvalidShape(Invalid):
    """A geometry is not valid; holds the reason and, if it is known, the location (lon, lat)."""

    def __init__(self, reason: str, location: tuple[float, float] | None = None) -> None:
        self.reason, self.location = reason, location
        if location is None:
            message = Message("The geometry is not valid: {reason}.", reason=reason)
        else:
            message = Message(
                "The geometry is not valid: {reason} at or near [{lon:.6f}, {lat:.6f}].",
                reason=reason,
                lon=location[0],
                lat=location[1],
            )
        super().__init__(
            message,
            code="invalid-geometry",
            issues=(Issue("/geometry", format_reason_code(reason), message),),
        )


def format_reason_code(reason: str) -> str:
    """Return a kebab-case code for a GEOS reason such as ``Self-intersection``."""
    return "-".join(reason.lower().replace("-", " ").split()[:3]) or "invalid"


class InvalidQuery(Invalid):
    """A query parameter is unknown, or its value is not valid."""

    def __init__(self, detail: str, *, parameter: str, code: str = "invalid-query") -> None:
        self.parameter = parameter
        super().__init__(detail, code=code, issues=(Issue(f"?{parameter}", code, detail),))


class BadQuery(InvalidQuery):
    """A query of the GIS interface is not valid: OGC API requires status 400, the native API uses 422."""


class MalformedBody(Invalid):
    """The body cannot be parsed: it is truncated, has a wrong encoding, or is not JSON."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail, code="malformed-json", issues=(Issue("", "malformed-json", detail),))


class NotFound(RegistryError):
    """A record does not exist, or is outside the scope of the principal: both give the same error."""

    def __init__(self, what: str, code: str) -> None:
        message = Message("Unknown {what} {code!r}.", what=Message(what), code=code)
        super().__init__(message, "not-found")


class Conflict(RegistryError):
    """The request is valid, and a rule of the registry forbids the change."""

    def __init__(
        self,
        detail: str,
        *,
        code: str = "conflict",
        issues: Sequence[Issue] = (),
        extra: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(detail, code, tuple(issues), extra or {})


class PreconditionFailed(RegistryError):
    """The record does not have the version that the precondition requires."""

    def __init__(self, detail: str, current_version: int | None = None) -> None:
        self.current_version = current_version
        super().__init__(detail, "precondition-failed")


class Unauthenticated(RegistryError):
    """The request requires a valid key."""

    def __init__(
        self, detail: str = Message("This request requires an API key. Send: Authorization: Bearer <key>.")
    ) -> None:
        super().__init__(detail, "unauthenticated")


class Forbidden(RegistryError):
    """The principal does not have the required role."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail, "forbidden")


class TooLarge(RegistryError):
    """A body or a request exceeds a documented limit."""

    def __init__(self, detail: str, limit: int) -> None:
        super().__init__(detail, "too-large", (), {"limit": limit})


class NotAcceptable(RegistryError):
    """The client accepts none of the formats of the resource."""

    def __init__(self, offered: Sequence[str]) -> None:
        message = Message(
            "None of the accepted formats is available. Accept one of: {formats}.", formats=", ".join(offered)
        )
        super().__init__(message, "not-acceptable", (), {"offered": list(offered)})


class MethodNotAllowed(RegistryError):
    """The resource does not have the method."""

    def __init__(self, method: str, allowed: Sequence[str]) -> None:
        self.allowed = tuple(allowed)
        message = Message(
            "Method {method} is not allowed for this resource. Allowed: {methods}.",
            method=method,
            methods=", ".join(allowed),
        )
        super().__init__(message, "method-not-allowed")


class UnsupportedMediaType(RegistryError):
    """The route does not accept the content type of the body."""

    def __init__(self, content_type: str, accepted: Sequence[str]) -> None:
        self.accepted = tuple(accepted)
        message = Message(
            "Content type {content_type!r} is not accepted. Send one of: {accepted}.",
            content_type=content_type or "(none)",
            accepted=", ".join(accepted),
        )
        super().__init__(message, "unsupported-media-type", (), {"accepted": list(accepted)})


class ClientDisconnected(RegistryError):
    """The client closed the connection before the response; only the log shows this error."""

    def __init__(self) -> None:
        super().__init__(Message("The client closed the connection before the response was ready."), "abandoned")


class Unavailable(RegistryError):
    """The database is not reachable, or ended the statement."""

    def __init__(self, detail: str = Message("The database is not reachable. Try again later.")) -> None:
        super().__init__(detail, "unavailable")


class NoSpace(RegistryError):
    """The disk has no space for an upload."""

    def __init__(self) -> None:
        message = Message("The disk of the service is full. The upload was deleted. Free some space and send it again.")
        super().__init__(message, "no-space")

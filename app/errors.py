"""The vocabulary of failure: what can go wrong, each with a stable machine code.

Nothing here knows HTTP; ``app.http.problems`` gives each family its status. The tree::

    RegistryError
    ├── Invalid               the payload or query is wrong
    │   ├── InvalidShape      a geometry is wrong, with the place
    │   ├── InvalidQuery      a query parameter is wrong or unknown
    │   │   └── BadQuery      the same on the GIS interface, where OGC wants another status
    │   └── MalformedBody     the body cannot be read at all
    ├── NotFound              no such record in the caller's scope
    ├── Conflict              a rule of the registry says no
    ├── PreconditionFailed    If-Match / If-None-Match does not hold
    ├── Unauthenticated       no key, or a key that is not valid
    ├── Forbidden             a known caller without the right
    ├── TooLarge              a body or a request beyond a documented limit
    ├── NotAcceptable         no format the caller takes
    ├── NotPossible           a method the resource does not have
    ├── UnsupportedMediaType  a content type the route does not take
    ├── Abandoned             the caller left before the answer was ready
    ├── Unavailable           the database is away
    └── NoSpace               a file cannot be kept: the disk is full
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pydantic_core import PydanticCustomError, ValidationError
from typing_extensions import override

from app.messages import Message


@dataclass(frozen=True)
class Issue:
    """One thing wrong at one place of a payload; ``pointer`` is an RFC 6901 JSON Pointer."""

    pointer: str
    code: str
    message: str

    def with_prefix(self, prefix: str) -> "Issue":
        """Return the same fault seen from an enclosing document."""
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
    """Base of everything this product refuses on purpose."""

    detail: str
    code: str = "error"
    issues: Sequence[Issue] = field(default_factory=tuple)
    extra: Mapping[str, object] = field(default_factory=dict)

    @override
    def __str__(self) -> str:
        return self.detail


class Invalid(RegistryError):
    """The payload breaks a rule that needs no database to check."""

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
    """A geometry is not usable; carries the reason and, where known, the place (lon, lat)."""

    def __init__(self, reason: str, location: tuple[float, float] | None = None) -> None:
        self.reason, self.location = reason, location
        place = f" at or near [{location[0]:.6f}, {location[1]:.6f}]" if location else ""
        message = f"The geometry is not valid: {reason}{place}."
        super().__init__(
            message,
            code="invalid-geometry",
            issues=(Issue("/geometry", format_reason_code(reason), message),),
        )


def format_reason_code(reason: str) -> str:
    """Return a kebab-case code for a GEOS reason such as ``Self-intersection``."""
    return "-".join(reason.lower().replace("-", " ").split()[:3]) or "invalid"


class InvalidQuery(Invalid):
    """A query parameter is unknown or has a value it cannot have."""

    def __init__(self, detail: str, *, parameter: str, code: str = "invalid-query") -> None:
        self.parameter = parameter
        super().__init__(detail, code=code, issues=(Issue(f"?{parameter}", code, detail),))


class BadQuery(InvalidQuery):
    """A query of the GIS interface is wrong: OGC API asks for 400 where our own API says 422."""


class MalformedBody(Invalid):
    """The body is not JSON (truncated, wrong encoding, NaN, nested too deeply)."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail, code="malformed-json", issues=(Issue("", "malformed-json", detail),))


class NotFound(RegistryError):
    """There is no such thing, or none in the caller's scope: the two look the same."""

    def __init__(self, what: str, code: str) -> None:
        super().__init__(f"There is no {what} {code!r}.", "not-found")


class Conflict(RegistryError):
    """The request is well formed, and a rule of the registry says no."""

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
    """The record is not in the state the caller said it must be in."""

    def __init__(self, detail: str, current_version: int | None = None) -> None:
        self.current_version = current_version
        super().__init__(detail, "precondition-failed")


class Unauthenticated(RegistryError):
    """The caller must show a valid key."""

    def __init__(self, detail: str = "This needs an API key: send Authorization: Bearer <key>.") -> None:
        super().__init__(detail, "unauthenticated")


class Forbidden(RegistryError):
    """The caller is known and has not the right."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail, "forbidden")


class TooLarge(RegistryError):
    """More than a documented limit allows."""

    def __init__(self, detail: str, limit: int) -> None:
        super().__init__(detail, "too-large", (), {"limit": limit})


class NotAcceptable(RegistryError):
    """The caller takes none of the formats there are."""

    def __init__(self, offered: Sequence[str]) -> None:
        detail = f"None of the formats asked for is there; there are {', '.join(offered)}."
        super().__init__(detail, "not-acceptable", (), {"offered": list(offered)})


class MethodNotAllowed(RegistryError):
    """The resource is there, and does not have this method."""

    def __init__(self, method: str, allowed: Sequence[str]) -> None:
        self.allowed = tuple(allowed)
        detail = f"{method} is not possible here; possible are {', '.join(allowed)}."
        super().__init__(detail, "method-not-allowed")


class UnsupportedMediaType(RegistryError):
    """The body has a content type the route does not take."""

    def __init__(self, got: str, accepted: Sequence[str]) -> None:
        self.accepted = tuple(accepted)
        detail = f"Content type {got or '(none)'!r} is not taken here; send {' or '.join(accepted)}."
        super().__init__(detail, "unsupported-media-type", (), {"accepted": list(accepted)})


class ClientDisconnected(RegistryError):
    """The caller closed the connection before the answer was ready; nobody reads this."""

    def __init__(self) -> None:
        super().__init__("The request was given up: its caller has left.", "abandoned")


class Unavailable(RegistryError):
    """The database cannot be reached or gave up on the statement."""

    def __init__(self, detail: str = "The database is not reachable at the moment.") -> None:
        super().__init__(detail, "unavailable")


class NoSpace(RegistryError):
    """A file that was sent cannot be kept."""

    def __init__(self) -> None:
        detail = "There is no space left to keep the file; nothing of it was kept."
        super().__init__(detail, "no-space")

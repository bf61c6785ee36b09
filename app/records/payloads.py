"""From a payload to a draft: validation, merge patch, and every fault with its JSON Pointer."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from app.errors import Invalid, Issue, PreconditionFailed
from app.records.drafts import SERVER_SET, Draft, plain_record
from app.records.kinds import Kind

_DEEPEST = 20
"""Levels of objects in a merge patch; no record has half as many."""


def pointer(location: Sequence[str | int]) -> str:
    """Return the JSON Pointer (RFC 6901) of a pydantic error location."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in location)


def faults_of(error: ValidationError) -> list[Issue]:
    """Return what pydantic found, in our words' form."""
    return [
        Issue(_place(found), found["type"].replace("_", "-"), found["msg"])
        for found in error.errors(include_url=False, include_input=False)
    ]


def _place(found: ErrorDetails) -> str:
    """Return where a fault lies: a rule over the whole record may name the member it is about."""
    member = found.get("ctx", {}).get("member")
    return pointer([*found["loc"], member] if isinstance(member, str) else found["loc"])


def draft(kind: Kind, payload: object, *, code: str | None = None) -> Draft:
    """Return the validated draft of a payload; ``code`` is what the URL says.

    Raises
    ------
    Invalid
        with every fault of the payload.
    """
    if code is not None and isinstance(payload, Mapping):
        payload = _with_code(payload, code)
    try:
        return kind.draft.model_validate(payload)
    except ValidationError as error:
        faults = faults_of(error)
        detail = f"The {kind.title} is not valid: {faults[0].pointer or '/'}: {faults[0].message}."
        raise Invalid(detail, code=_code_of({fault.code for fault in faults}), issues=faults) from error


def _code_of(codes: set[str]) -> str:
    """Return the code of a problem with such faults: their own where clients must know it."""
    if "forbidden-content" in codes:
        return "forbidden-content"
    first, *others = sorted(codes)
    known = ("invalid-geometry", "swapped-coordinates", "crs-distorts")
    told = first.startswith("geometry-") or first in known
    return first if told and not others else "invalid"


def _with_code(payload: Mapping[str, Any], code: str) -> Mapping[str, Any]:
    inner = payload.get("properties") if payload.get("type") == "Feature" else payload
    if not isinstance(inner, Mapping | None):
        return payload  # refused as a whole later
    stated = inner.get("code") if isinstance(inner, Mapping) else None
    stated = payload.get("id") if stated is None and inner is not payload else stated
    if stated is not None and stated != code:
        message = f"the code in the body is not the code in the URL, {code!r}"
        raise Invalid(
            f"The payload is not valid: {message}.",
            issues=(Issue("/code", "code-mismatch", message),),
        )
    return payload if stated is not None else _set_code(payload, code)


def _set_code(payload: Mapping[str, Any], code: str) -> Mapping[str, Any]:
    if payload.get("type") == "Feature" and "geometry" in payload:
        return {**payload, "properties": {**(payload.get("properties") or {}), "code": code}}
    return {**payload, "code": code}


def merged(current: Mapping[str, Any], patch: object) -> dict[str, Any]:
    """Return a record after a JSON Merge Patch (RFC 7396).

    >>> merged({"a": 1, "b": {"c": 1}}, {"a": None, "b": {"d": 2}})
    {'b': {'c': 1, 'd': 2}}
    """
    if not isinstance(patch, Mapping):
        raise Invalid(
            "A merge patch must be a JSON object.",
            issues=(Issue("", "object-type", "a merge patch must be a JSON object"),),
        )
    flat = plain_record(patch) if "geometry" in patch and patch.get("type") == "Feature" else patch
    assert isinstance(flat, Mapping)  # noqa: S101  # plain_record keeps mappings mappings
    if "lifecycle" in flat and flat["lifecycle"] is None:
        # Its default is in_use: a null must not put a removed device back into service.
        message = "lifecycle cannot be taken away; say what it is now"
        raise Invalid(
            f"The patch is not valid: {message}.",
            issues=(Issue("/lifecycle", "lifecycle-null", message),),
        )
    return _merge(current, flat, depth=0)


def _merge(current: Mapping[str, Any], patch: Mapping[str, Any], *, depth: int) -> dict[str, Any]:
    if depth > _DEEPEST:
        message = f"objects are nested deeper than {_DEEPEST} levels"
        raise Invalid(f"The patch is not valid: {message}.", issues=(Issue("", "depth", message),))
    result = dict(current)
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, Mapping) and not (depth == 0 and name == "geometry"):
            below = result.get(name)
            below = below if isinstance(below, Mapping) else {}
            result[name] = _merge(below, value, depth=depth + 1)
        else:
            result[name] = value
    return result


def patchable(current: Mapping[str, Any], kind: Kind) -> dict[str, Any]:
    """Return a record as it may be sent back: without what the registry sets itself."""
    unsent = SERVER_SET | ({"state", "reported_at"} if kind.device else set())
    return {name: value for name, value in current.items() if name not in unsent}


# If-Match and If-None-Match (RFC 9110): what a caller says a record's version must be.

_TAG: Final = re.compile(r'(W/)?"([^"]*)"')


def etag(version: int) -> str:
    """Return the strong entity tag of a version."""
    return f'"{version}"'


@dataclass(frozen=True)
class Precondition:
    """What must hold before a write; the default asks nothing."""

    if_match: str | None = None
    if_none_match: str | None = None

    @property
    def create_only(self) -> bool:
        """Tell whether the caller wants to create and never to replace."""
        return self.if_none_match is not None and self.if_none_match.strip() == "*"

    def check(self, version: int | None) -> None:
        """Raise ``PreconditionFailed`` unless a record at ``version`` (None: absent) will do."""
        if self.if_match is not None and not _matches(self.if_match, version):
            detail = f"If-Match {self.if_match} does not hold: " + (
                "there is no such record." if version is None else f"it is {etag(version)} now."
            )
            raise PreconditionFailed(detail, version)
        if self.create_only and version is not None:
            raise PreconditionFailed(f"If-None-Match * does not hold: it exists as {etag(version)}.", version)


def _matches(header: str, version: int | None) -> bool:
    """Compare strongly: a weak tag never matches."""
    if version is None:
        return False
    if header.strip() == "*":
        return True
    return any(not weak and tag == str(version) for weak, tag in _TAG.findall(header))


def unchanged(if_none_match: str | None, version: int) -> bool:
    """Tell whether a read may be answered with 304."""
    if if_none_match is None:
        return False
    tags = {tag for _, tag in _TAG.findall(if_none_match)}
    return if_none_match.strip() == "*" or str(version) in tags

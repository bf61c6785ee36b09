"""Payloads of requests: validated drafts, merge patches, and preconditions on the version of a record."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from app.errors import Issue, PreconditionFailed, build_invalid, to_issues
from app.messages import Message
from app.records.drafts import SERVER_SET, Draft, flatten_payload
from app.records.kinds import Kind

MAX_PATCH_DEPTH: Final = 20
"""Levels of objects in a merge patch; no record has half as many."""
_INVALID_PAYLOAD: Final = Message("The payload is not valid")
_INVALID_PATCH: Final = Message("The patch is not valid")


def parse_draft(kind: Kind, payload: object, *, code: str | None = None) -> Draft:
    """Return the draft of a payload.

    Parameters
    ----------
    code : str, optional
        Code in the URL; a payload without a code gets it.

    Raises
    ------
    Invalid
        with every issue of the payload.
    """
    if code is not None and isinstance(payload, Mapping):
        payload = add_code(payload, code)
    try:
        return kind.draft.model_validate(payload)
    except ValidationError as error:
        issues = to_issues(error)
        subject = Message("The {kind} is not valid", kind=kind.title)
        raise build_invalid(subject, issues, choose_problem_code({issue.code for issue in issues})) from error


def choose_problem_code(codes: set[str]) -> str:
    """Return the code of a problem with such issues: that of the issues where clients react to it."""
    if "forbidden-content" in codes:
        return "forbidden-content"
    if len(codes) > 1:
        return "invalid"
    code = min(codes)
    specific = code.startswith("geometry-") or code in ("invalid-geometry", "swapped-coordinates", "crs-distorts")
    return code if specific else "invalid"


def add_code(payload: Mapping[str, Any], code: str) -> Mapping[str, Any]:
    """Return a payload with the code in the URL; raise Invalid if it has another code."""
    is_feature = payload.get("type") == "Feature"
    properties = payload.get("properties") if is_feature else payload
    if not isinstance(properties, Mapping | None):
        return payload  # validation of the draft reports it
    payload_code = properties.get("code") if properties is not None else None
    if payload_code is None and is_feature:
        payload_code = payload.get("id")
    if payload_code is None:
        if is_feature and "geometry" in payload:
            return {**payload, "properties": {**(properties or {}), "code": code}}
        return {**payload, "code": code}
    if payload_code != code:
        message = Message("the code in the body must be the code in the URL, {code!r}", code=code)
        raise build_invalid(_INVALID_PAYLOAD, [Issue("/code", "code-mismatch", message)])
    return payload


def apply_merge_patch(current: Mapping[str, Any], patch: object) -> dict[str, Any]:
    """Return a record after a JSON Merge Patch (RFC 7396).

    >>> apply_merge_patch({"a": 1, "b": {"c": 1}}, {"a": None, "b": {"d": 2}})
    {'b': {'c': 1, 'd': 2}}
    """
    if not isinstance(patch, Mapping):
        message = Message("a merge patch must be a JSON object")
        raise build_invalid(_INVALID_PATCH, [Issue("", "object-type", message)])
    fields = flatten_payload(patch) if "geometry" in patch and patch.get("type") == "Feature" else patch
    assert isinstance(fields, Mapping)  # noqa: S101  # plain_record returns a mapping for a mapping
    if "lifecycle" in fields and fields["lifecycle"] is None:
        # The default is in_use: null would put a removed device back into service.
        message = Message("lifecycle cannot be removed; send its new value")
        raise build_invalid(_INVALID_PATCH, [Issue("/lifecycle", "lifecycle-null", message)])
    return _merge_objects(current, fields, depth=0)


def _merge_objects(current: Mapping[str, Any], patch: Mapping[str, Any], *, depth: int) -> dict[str, Any]:
    if depth > MAX_PATCH_DEPTH:
        message = Message("objects are nested deeper than {limit} levels", limit=MAX_PATCH_DEPTH)
        raise build_invalid(_INVALID_PATCH, [Issue("", "depth", message)])
    merged = dict(current)
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, Mapping) and not (depth == 0 and name == "geometry"):
            member = merged.get(name)
            merged[name] = _merge_objects(member if isinstance(member, Mapping) else {}, value, depth=depth + 1)
        else:
            merged[name] = value
    return merged


def drop_server_fields(record: Mapping[str, Any], kind: Kind) -> dict[str, Any]:
    """Return a record without the fields that the registry sets."""
    dropped = SERVER_SET | ({"state", "reported_at"} if kind.is_device else set())
    return {name: value for name, value in record.items() if name not in dropped}


_ETAG: Final = re.compile(r'(W/)?"([^"]*)"')


def format_etag(version: int) -> str:
    """Return the strong entity tag of a version (RFC 9110)."""
    return f'"{version}"'


@dataclass(frozen=True)
class Precondition:
    """If-Match and If-None-Match of a request; the default allows every write."""

    if_match: str | None = None
    if_none_match: str | None = None

    @property
    def create_only(self) -> bool:
        """Whether the write may create a record, but not replace one."""
        return self.if_none_match is not None and self.if_none_match.strip() == "*"

    def check_version(self, version: int | None) -> None:
        """Raise PreconditionFailed if the version of a record does not match; None: the record does not exist."""
        if self.if_match is not None and not matches_version(self.if_match, version):
            if version is None:
                detail = Message("If-Match {header} does not match: the record does not exist.", header=self.if_match)
            else:
                detail = Message(
                    "If-Match {header} does not match: the current version is {etag}. Read the record again.",
                    header=self.if_match,
                    etag=format_etag(version),
                )
            raise PreconditionFailed(detail, version)
        if self.create_only and version is not None:
            detail = Message("If-None-Match *: the record exists with version {etag}.", etag=format_etag(version))
            raise PreconditionFailed(detail, version)


def matches_version(header: str, version: int | None) -> bool:
    """Return whether If-Match matches; the comparison is strong, so a weak tag does not match."""
    if version is None:
        return False
    if header.strip() == "*":
        return True
    return any(not weak and tag == str(version) for weak, tag in _ETAG.findall(header))


def is_unchanged(if_none_match: str | None, version: int) -> bool:
    """Return whether a read with If-None-Match can be answered with 304; the comparison is weak."""
    if if_none_match is None:
        return False
    tags = {tag for _, tag in _ETAG.findall(if_none_match)}
    return if_none_match.strip() == "*" or str(version) in tags

"""If-Match and If-None-Match (RFC 9110): what a caller says a record's version must be."""

import re
from dataclasses import dataclass
from typing import Final

from app.errors import PreconditionFailed

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
            raise PreconditionFailed(
                f"If-None-Match * does not hold: it exists as {etag(version)}.", version
            )


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

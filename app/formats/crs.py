"""Names of coordinate reference systems, as ``EPSG:4547``."""

import re
from typing import Any, Final

from pyproj import CRS
from pyproj.exceptions import CRSError

LONLAT: Final = "EPSG:4326"
_LONGEST: Final = 20_000
_CRS84: Final = re.compile(r"(?:^|[:/])CRS84h?$", re.IGNORECASE)
_EPSG: Final = re.compile(r"EPSG[:/]+(?:[\d.]*[:/]+)?(\d{4,6})$", re.IGNORECASE)


def named(text: str | None) -> str | None:
    """Return the short name of a CRS given as a name, URN, URI or WKT; None when it has none.

    Examples
    --------
    >>> named("urn:ogc:def:crs:EPSG::4547"), named("urn:ogc:def:crs:OGC:1.3:CRS84"), named("x")
    ('EPSG:4547', 'EPSG:4326', None)
    """
    if not text or len(text) > _LONGEST:
        return None
    if _CRS84.search(text.strip()):
        return LONLAT
    if found := _EPSG.search(text.strip()):
        return f"EPSG:{found[1]}"
    return of(text)


def of(definition: Any) -> str | None:
    """Return the short name of any definition that pyproj reads; None when there is none."""
    try:
        crs = CRS.from_user_input(definition)
    except (CRSError, TypeError, ValueError, RecursionError):
        return None
    if crs.to_authority() == ("OGC", "CRS84"):
        return LONLAT
    for confidence in (100, 70, 25):
        if code := crs.to_epsg(min_confidence=confidence):
            return f"EPSG:{code}"
    return None

"""Names of coordinate reference systems, such as ``EPSG:4547``; WKT for a system without a number."""

import re
from typing import Any, Final

import numpy as np
from pyproj import CRS, Proj
from pyproj.exceptions import CRSError

LONLAT: Final = "EPSG:4326"
_LONGEST: Final = 20_000
_TOLERANCE_M: Final = 0.01
_MADE_UP: Final = re.compile(r"undefined|unknown", re.IGNORECASE)
_TITLE: Final = re.compile(r'(?:PROJ|GEO|GEOG|GEOD|BOUND)(?:CRS|CS)\["([^"]*)"')
_CRS84: Final = re.compile(r"(?:^|[:/])CRS84h?$", re.IGNORECASE)
_EPSG: Final = re.compile(r"EPSG[:/]+(?:[\d.]*[:/]+)?(\d{4,6})$", re.IGNORECASE)


def parse_crs_name(text: str | None) -> str | None:
    """Return the short name of a CRS given as a name, URN, URI or WKT; see `parse_crs`.

    Examples
    --------
    >>> (
    ...     parse_crs_name("urn:ogc:def:crs:EPSG::4547"),
    ...     parse_crs_name("urn:ogc:def:crs:OGC:1.3:CRS84"),
    ...     parse_crs_name("x"),
    ... )
    ('EPSG:4547', 'EPSG:4326', None)
    """
    if not text or len(text) > _LONGEST:
        return None
    if _CRS84.search(text.strip()):
        return LONLAT
    if code := _EPSG.search(text.strip()):
        return f"EPSG:{code[1]}"
    return parse_crs(text)


def parse_crs(definition: Any) -> str | None:
    """Return the short name of any definition that pyproj reads, or its WKT if it has no number.

    The name alone does not decide: a city often calls its grid like the national one, with another meridian or origin.
    None if the definition has no position on Earth.
    """
    crs = _parse_definition(definition)
    if crs is None or not (crs.is_geographic or crs.is_projected) or is_placeholder(crs):
        return None
    if crs.to_authority() == ("OGC", "CRS84"):
        return LONLAT
    if code := crs.to_epsg(min_confidence=100):
        return f"EPSG:{code}"
    flat = crs.to_2d()
    for confidence in (70, 25):
        code = flat.to_epsg(min_confidence=confidence)
        if code and is_same_crs(flat, CRS.from_epsg(code)):
            return f"EPSG:{code}"
    return flat.to_wkt()


def format_crs_title(text: str) -> str:
    """Return the name of a CRS for messages: its short name, or the name in its WKT.

    Examples
    --------
    >>> format_crs_title("EPSG:4547"), format_crs_title('PROJCRS["Own grid",BASEGEOGCRS["x"]]')
    ('EPSG:4547', 'Own grid')
    """
    match = _TITLE.match(text)
    return match[1] if match else text


def _parse_definition(definition: Any) -> CRS | None:
    try:
        return CRS.from_user_input(definition)
    except (CRSError, TypeError, ValueError, RecursionError):
        return None


def is_placeholder(crs: CRS) -> bool:
    """Return whether a program made up a CRS for data without one, such as number 0 of GeoPackage."""
    geodetic = crs.geodetic_crs
    return geodetic is None or any(
        _MADE_UP.search(name or "") for name in (crs.name, geodetic.name, crs.datum and crs.datum.name)
    )


def is_same_crs(crs: CRS, registered: CRS) -> bool:
    """Return whether two systems with the same name have the same parameters."""
    if crs.is_projected is not registered.is_projected:
        return False
    own, expected = crs.ellipsoid, registered.ellipsoid
    if own is None or expected is None or abs(own.semi_major_metre - expected.semi_major_metre) > _TOLERANCE_M:
        return False
    if abs(own.inverse_flattening - expected.inverse_flattening) > 1e-4:
        return False
    if crs.prime_meridian != registered.prime_meridian:
        return False
    if not crs.is_projected:
        return True
    area = registered.area_of_use
    lon, lat = (area.west, area.south) if area else (0.0, 0.0)
    positions = np.array([[lon, lat], [lon + 1.0, lat + 1.0], [lon + 0.5, lat + 0.1]])
    projected, reference = (np.stack(Proj(system)(*positions.T), axis=1) for system in (crs, registered))
    return bool(np.all(np.abs(projected - reference) < _TOLERANCE_M))

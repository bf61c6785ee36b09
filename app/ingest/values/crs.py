"""Names of coordinate reference systems, as ``EPSG:4547``; WKT for one that has no number."""

import re
from typing import Any, Final

import numpy as np
from pyproj import CRS, Proj
from pyproj.exceptions import CRSError

LONLAT: Final = "EPSG:4326"
_LONGEST: Final = 20_000
_ALIKE_M: Final = 0.01
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
    if found := _EPSG.search(text.strip()):
        return f"EPSG:{found[1]}"
    return parse_crs(text)


def parse_crs(definition: Any) -> str | None:
    """Return the short name of any definition that pyproj reads, or its WKT when it has no number.

    A name is not believed where the numbers differ: a city's own grid is called like the national
    one and has another meridian or origin. None when the definition does not say where things are.
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
    """Return what to call a CRS in a sentence: its short name, or the name in its WKT.

    Examples
    --------
    >>> format_crs_title("EPSG:4547"), format_crs_title('PROJCRS["Own grid",BASEGEOGCRS["x"]]')
    ('EPSG:4547', 'Own grid')
    """
    found = _TITLE.match(text)
    return found[1] if found else text


def _parse_definition(definition: Any) -> CRS | None:
    try:
        return CRS.from_user_input(definition)
    except (CRSError, TypeError, ValueError, RecursionError):
        return None


def is_placeholder(crs: CRS) -> bool:
    """Tell a CRS made up by a program for what has none, such as number 0 of GeoPackage."""
    geodetic = crs.geodetic_crs
    return geodetic is None or any(
        _MADE_UP.search(name or "") for name in (crs.name, geodetic.name, crs.datum and crs.datum.name)
    )


def is_same_crs(crs: CRS, known: CRS) -> bool:
    """Tell whether two CRSs that are called alike have the same numbers."""
    if crs.is_projected is not known.is_projected:
        return False
    one, two = crs.ellipsoid, known.ellipsoid
    if one is None or two is None or abs(one.semi_major_metre - two.semi_major_metre) > 0.01:
        return False
    if abs(one.inverse_flattening - two.inverse_flattening) > 1e-4:
        return False
    if crs.prime_meridian != known.prime_meridian:
        return False
    if not crs.is_projected:
        return True
    area = known.area_of_use
    lon, lat = (area.west, area.south) if area else (0.0, 0.0)
    places = np.array([[lon, lat], [lon + 1.0, lat + 1.0], [lon + 0.5, lat + 0.1]])
    here, there = (np.stack(Proj(one)(*places.T), axis=1) for one in (crs, known))
    return bool(np.all(np.abs(here - there) < _ALIKE_M))

"""What the answers on the freshly loaded demo city must say, as data.

Promises the numbers of the coverage summary by status and category, and of the three rings; the tests
hold them against the city, against an evaluation of it and against the running service.
"""

from typing import Final, TypedDict

from app.models.vocabulary import Category, Level, Status

Counts = dict[Status, int]


class Expected(TypedDict):
    """Control points by status: all of them, and of each category."""

    total: Counts
    by_category: dict[Category, Counts]


EXPECTED: Final[Expected] = {
    "total": {"backed_up": 92, "covered": 274, "partial": 22, "uncovered": 21},
    "by_category": {
        "city_road": {"backed_up": 28, "covered": 85, "partial": 5, "uncovered": 11},
        "urban_road": {"backed_up": 6, "covered": 27, "partial": 3, "uncovered": 3},
        "core_road": {"backed_up": 12, "covered": 29, "partial": 2, "uncovered": 4},
        "core_junction": {"backed_up": 42, "covered": 125, "partial": 8, "uncovered": 2},
        "core_site": {"backed_up": 4, "covered": 8, "partial": 4, "uncovered": 1},
    },
}


class Cordon(TypedDict):
    """One direction through a ring."""

    sealed: bool
    depth: int
    to_seal: int
    critical: int


class Ring(TypedDict):
    """Crossings by status, and both directions."""

    crossings: dict[str, int]
    inbound: Cordon
    outbound: Cordon


def _leaking(places: int) -> Cordon:
    return {"sealed": False, "depth": 0, "to_seal": places, "critical": 0}


EXPECTED_RINGS: Final[dict[Level, Ring]] = {
    "city": {
        "crossings": {"total": 129, "guarded": 114, "open": 15, "waived": 0},
        "inbound": _leaking(12),
        "outbound": _leaking(13),
    },
    "urban": {
        "crossings": {"total": 39, "guarded": 34, "open": 5, "waived": 0},
        "inbound": _leaking(3),
        "outbound": _leaking(4),
    },
    "core": {
        "crossings": {"total": 47, "guarded": 45, "open": 2, "waived": 0},
        "inbound": _leaking(2),
        "outbound": {"sealed": True, "depth": 1, "to_seal": 0, "critical": 1},
    },
}
LEAKS: Final = ("CP-KR-008", "CP-KR-044")
"""Where one drives into the core unseen: the only two places."""
CRITICAL: Final = "CP-KR-008"
"""Where the outbound checkpoint stands whose failure alone opens the core outward: the only one."""
SHARED_BORDER: Final = ("CP-KR-044", "CP-UR-036")
"""One road, one place, two rings."""
ALONG: Final = "RG-ALONG"
"""The road along the urban line, which crosses nothing."""

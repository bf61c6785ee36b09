"""What a coverage answer on the freshly loaded demo city must count, as data.

Promises the numbers of the coverage summary by status and category; the tests hold them against the
city and against an evaluation of it.
"""

from typing import Final, TypedDict

from app.models.vocabulary import Category, Status

Counts = dict[Status, int]


class Expected(TypedDict):
    """Control points by status: all of them, and of each category."""

    total: Counts
    by_category: dict[Category, Counts]


EXPECTED: Final[Expected] = {
    "total": {"backed_up": 92, "covered": 274, "partial": 21, "uncovered": 22},
    "by_category": {
        "city_road": {"backed_up": 28, "covered": 85, "partial": 5, "uncovered": 11},
        "urban_road": {"backed_up": 6, "covered": 27, "partial": 2, "uncovered": 4},
        "core_road": {"backed_up": 12, "covered": 29, "partial": 2, "uncovered": 4},
        "core_junction": {"backed_up": 42, "covered": 125, "partial": 8, "uncovered": 2},
        "core_site": {"backed_up": 4, "covered": 8, "partial": 4, "uncovered": 1},
    },
}

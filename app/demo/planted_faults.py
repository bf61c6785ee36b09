"""The gaps planted in the demo city, and what a coverage answer must say about each.

Promises that every reason a coverage answer can give occurs at least twice, alone at its point, so
that the answer is beyond doubt. A fault is one need (function and direction) that is not met.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypedDict

from app.demo.control_points import Place
from app.demo.device_factory import Fields, Kit
from app.demo.devices import BOTH, across, corner, dome, face_checkpoint, gantry, inward, second_exit, traffic_eyes
from app.demo.plan_frame import wrapped
from app.models.vocabulary import Category, Direction, Function, Level, Status

Reason = Literal[
    "none", "not_in_use", "offline", "stale", "wrong_function", "wrong_direction",
    "too_far", "out_of_view", "too_coarse",
]  # fmt: skip
Need = tuple[Function, Direction | None]

LONG_AGO: Final = "2020-01-01T00:00:00Z"
_DARK: Final[Fields] = {"state": "offline"}
_BROKEN: Final[Fields] = {"state": "fault"}
_SILENT: Final[Fields] = {"state": "online", "reported_at": LONG_AGO}
_REPAIR: Final[Fields] = {"lifecycle": "repair"}
_PLANNED: Final[Fields] = {"lifecycle": "planned"}
_REMOVED: Final[Fields] = {"lifecycle": "removed", "removed_on": "2025-03-31"}
_BOTH_WAYS: Final[tuple[Need, ...]] = (("vehicle", "inbound"), ("vehicle", "outbound"))
_OUT: Final[tuple[Need, ...]] = (("vehicle", "outbound"),)
_IN: Final[tuple[Need, ...]] = (("vehicle", "inbound"),)
_VEHICLE: Final[tuple[Need, ...]] = (("vehicle", None),)
_FACE: Final[tuple[Need, ...]] = (("face", None),)
_LEAVING: Final = ("outbound",)
_OVERVIEW: Final[tuple[Need, ...]] = (("overview", None),)


@dataclass(frozen=True)
class PlantedFault:
    """One need of one control point that the coverage answer must call unmet, and why."""

    control_point: str
    function: Function
    direction: Direction | None
    reason: Reason
    story: str


@dataclass(frozen=True)
class Recipe:
    """How a gap is made at a point, and what it must be called."""

    make: Callable[[Kit, Place], None]
    needs: tuple[Need, ...]
    reason: Reason
    story: str
    exit: Callable[[Kit, Place], None] = second_exit
    """How a second device comes to watch who leaves, without mending the gap."""


def _nothing(kit: Kit, place: Place) -> None:
    del kit, place


def _failed(**state: Any) -> Callable[[Kit, Place], None]:
    """Return the recipe of a road checkpoint that is there with its cameras and does not count."""
    return lambda kit, place: _discard(gantry(kit, place, **state))


def _half(good: str, bad: str, **state: Any) -> Callable[[Kit, Place], None]:
    """Return the recipe of two checkpoints, one per direction, of which one does not count."""

    def make(kit: Kit, place: Place) -> None:
        gantry(kit, place, (bad,), ahead_m=2, **state)
        gantry(kit, place, (good,), ahead_m=9)

    return make


def _one_sided(direction: str) -> Callable[[Kit, Place], None]:
    return lambda kit, place: _discard(gantry(kit, place, (direction,), per_direction=2))


def _discard(draft: object) -> None:
    del draft


def _other_kinds(kit: Kit, place: Place) -> None:
    """Put an overview dome and an electronic collector where a vehicle checkpoint is needed."""
    dome(kit, place)
    kit.camera(["electronic"], place, place.xy + across(inward(place)) * 9)


def _road_cameras(
    ahead_m: float, turn: float, *, ways: Sequence[str] = BOTH, **optics: Any
) -> Callable[[Kit, Place], None]:
    """Return the recipe of cameras without a checkpoint, turned away by ``turn`` degrees."""

    def make(kit: Kit, place: Place) -> None:
        for direction in ways:
            travel = inward(place) if direction == "inbound" else -inward(place)
            stand = place.xy + travel * ahead_m
            camera = kit.aimed("vehicle", place, stand, place.xy, direction=direction, **optics)
            camera["azimuth_deg"] = wrapped(camera["azimuth_deg"] + turn)

    return make


def _junction_cameras(
    function: Function, distance_m: float, turn: float = 0.0, **optics: Any
) -> Callable[[Kit, Place], None]:
    """Return the recipe of cameras that do not serve; the rest of the point is in order."""

    def make(kit: Kit, place: Place) -> None:
        for quarter in (2, 3):
            stand = corner(place, quarter, distance_m)
            camera = kit.aimed(function, place, stand, place.xy, **optics)
            camera["azimuth_deg"] = wrapped(camera["azimuth_deg"] + turn)
        _rest(kit, place, function)

    return make


def _rest(kit: Kit, place: Place, missing: Function) -> None:
    """Cover the other need of a point by devices that see it without being assigned to it.

    An assigned device that merely has another function would be as good an explanation.
    """
    if missing == "vehicle":
        face_checkpoint(kit, place, 1, control_point=None)
    elif place.category == "core_site":
        dome(kit, place, control_point=None)
    else:
        traffic_eyes(kit, place, control_point=None)


def _face_state(**state: Any) -> Callable[[Kit, Place], None]:
    def make(kit: Kit, place: Place) -> None:
        face_checkpoint(kit, place, **state)
        _rest(kit, place, "face")

    return make


def _vehicle_state(**state: Any) -> Callable[[Kit, Place], None]:
    def make(kit: Kit, place: Place) -> None:
        traffic_eyes(kit, place, **state)
        _rest(kit, place, "vehicle")

    return make


def _power_cut(kit: Kit, place: Place) -> None:
    traffic_eyes(kit, place, **_DARK)
    face_checkpoint(kit, place, **_DARK)


def _no_face(kit: Kit, place: Place) -> None:
    """Leave a point without any face device: domes at a site, vehicle cameras at a crossroads."""
    if place.category != "core_site":
        traffic_eyes(kit, place)
    dome(kit, place)


def _overview_dark(kit: Kit, place: Place) -> None:
    dome(kit, place, distance_m=2, **_DARK)
    face_checkpoint(kit, place, control_point=None)


_COARSE: Final[Fields] = {"horizontal_pixels": 1920, "vertical_pixels": 1080}
_COARSE_ROAD: Final[Fields] = {**_COARSE, "opening_deg": 70.0, "range_m": 45.0}
_COARSE_FACE: Final[Fields] = {**_COARSE, "opening_deg": 80.0, "range_m": 30.0}

RECIPES: Final[dict[Category, tuple[Recipe, ...]]] = {
    "city_road": (
        Recipe(_nothing, _BOTH_WAYS, "none", "nothing was ever built here"),
        Recipe(_failed(**_DARK), _BOTH_WAYS, "offline", "the whole checkpoint lost its link"),
        Recipe(_one_sided("inbound"), _OUT, "wrong_direction", "lanes only for inbound traffic"),
        Recipe(_half("inbound", "outbound", **_PLANNED), _OUT, "not_in_use",
               "the outbound checkpoint is planned, not built"),
        Recipe(_failed(**_SILENT), _BOTH_WAYS, "stale", "last heard of in January 2020"),
        Recipe(_nothing, _BOTH_WAYS, "none", "nothing was ever built here"),
        Recipe(_other_kinds, _BOTH_WAYS, "wrong_function", "a dome and a collector, no checkpoint"),
        Recipe(_half("outbound", "inbound", **_DARK), _IN, "offline", "the inbound gantry is dark"),
        Recipe(_road_cameras(75, 0, opening_deg=9.0, range_m=35.0), _BOTH_WAYS, "too_far",
               "both cameras stand 75 m away and see 35 m"),
        Recipe(_failed(**_REPAIR), _BOTH_WAYS, "not_in_use", "taken out for repair"),
        Recipe(_road_cameras(22, 140), _BOTH_WAYS, "out_of_view", "both cameras look away"),
        Recipe(_nothing, _BOTH_WAYS, "none", "nothing was ever built here"),
        Recipe(_one_sided("outbound"), _IN, "wrong_direction", "lanes only for outbound traffic"),
        Recipe(_road_cameras(30, 0, **_COARSE_ROAD), _BOTH_WAYS, "too_coarse",
               "wide lenses: under 50 px/m on the road"),
        Recipe(_half("inbound", "outbound", **_SILENT), _OUT, "stale",
               "the outbound gantry was last heard of in January 2020"),
        Recipe(_failed(**_BROKEN), _BOTH_WAYS, "offline", "the checkpoint reports a fault"),
    ),
    "urban_road": (
        Recipe(_one_sided("inbound"), _OUT, "wrong_direction", "lanes only for inbound traffic"),
        Recipe(_failed(**_REMOVED), _BOTH_WAYS, "not_in_use", "removed and not replaced"),
        Recipe(_half("inbound", "outbound", **_SILENT), _OUT, "stale",
               "the outbound gantry was last heard of in January 2020"),
        Recipe(_road_cameras(22, 180), _BOTH_WAYS, "out_of_view", "both cameras look away"),
        Recipe(_nothing, _BOTH_WAYS, "none", "nothing was ever built here"),
    ),
    "core_road": (
        Recipe(_half("outbound", "inbound", **_BROKEN), _IN, "offline",
               "the inbound gantry reports a fault"),
        Recipe(_road_cameras(60, 0, opening_deg=9.0, range_m=25.0), _BOTH_WAYS, "too_far",
               "the cameras stand 60 m away and see 25 m",
               _road_cameras(66, 0, ways=_LEAVING, opening_deg=9.0, range_m=25.0)),
        Recipe(_road_cameras(24, 180), _BOTH_WAYS, "out_of_view",
               "the cameras look away from the line, along the road",
               _road_cameras(32, 180, ways=_LEAVING)),
        Recipe(_road_cameras(45, 0, opening_deg=9.0, range_m=20.0), _BOTH_WAYS, "too_far",
               "the cameras stand 45 m away and see 20 m",
               _road_cameras(51, 0, ways=_LEAVING, opening_deg=9.0, range_m=20.0)),
        Recipe(_road_cameras(30, 180), _BOTH_WAYS, "out_of_view",
               "the cameras look away from the line, along the road",
               _road_cameras(38, 180, ways=_LEAVING)),
    ),
    "core_junction": (
        Recipe(_no_face, _FACE, "wrong_function", "vehicle cameras and a dome, no face device"),
        Recipe(_face_state(**_DARK), _FACE, "offline", "the face checkpoint lost its link"),
        Recipe(_junction_cameras("face", 12, **_COARSE_FACE), _FACE, "too_coarse",
               "wide lenses: under 100 px/m at the crossing"),
        Recipe(_nothing, _VEHICLE + _FACE, "none", "nothing was ever built here"),
        Recipe(_vehicle_state(**_SILENT), _VEHICLE, "stale",
               "the vehicle cameras were last heard of in January 2020"),
        Recipe(_junction_cameras("face", 9, 150), _FACE, "out_of_view",
               "both face cameras look away"),
        Recipe(_face_state(**_PLANNED), _FACE, "not_in_use", "the face checkpoint is planned"),
        Recipe(_junction_cameras("face", 48, opening_deg=9.0, range_m=20.0), _FACE, "too_far",
               "both face cameras stand 48 m away and see 20 m"),
        Recipe(_power_cut, _VEHICLE + _FACE, "offline", "the crossroads has no power"),
        Recipe(_junction_cameras("vehicle", 58, opening_deg=9.0, range_m=30.0), _VEHICLE, "too_far",
               "both vehicle cameras stand 58 m away and see 30 m"),
    ),
    "core_site": (
        Recipe(_overview_dark, _OVERVIEW, "offline", "the dome lost its link"),
        Recipe(_nothing, _FACE + _OVERVIEW, "none", "nothing was ever built here"),
        Recipe(_no_face, _FACE, "wrong_function", "a dome, no face device"),
        Recipe(_junction_cameras("face", 10, **_COARSE_FACE), _FACE, "too_coarse",
               "wide lenses: under 120 px/m at the entrance"),
        Recipe(_face_state(**_SILENT), _FACE, "stale",
               "the face checkpoint was last heard of in January 2020"),
    ),
}  # fmt: skip
"""Gaps by category, spread evenly over its points."""

SHARED: Final = Recipe(
    _half("outbound", "inbound", **_DARK), _IN, "offline",
    "the inbound gantry is dark, on the border that core and urban ring share",
)  # fmt: skip


def _plain(place: Place, shared: frozenset[str]) -> bool:
    """Say whether a point has nothing special about it that a fault would obscure."""
    road = place.inbound is not None
    return place.code not in shared and (not road or (len(place.directions) == 2 and place.carriageways == 1))


def plan(places: Sequence[Place], shared: Sequence[tuple[str, str]]) -> dict[str, Recipe]:
    """Return the recipe of every control point that is to have a gap, by code.

    ``shared`` holds the codes of core and urban points that are one place.
    """
    special = frozenset(code for pair in shared for code in pair)
    planned: dict[str, Recipe] = {}
    for category, recipes in RECIPES.items():
        free = [p for p in places if p.category == category and _plain(p, special)]
        for number, recipe in enumerate(recipes):
            planned[free[int((number + 0.5) * len(free) / len(recipes))].code] = recipe
    for code in shared[len(shared) // 2]:
        planned[code] = SHARED
    return planned


def faults(planned: dict[str, Recipe]) -> list[PlantedFault]:
    """Return the planted faults by control point."""
    return [
        PlantedFault(code, function, direction, recipe.reason, recipe.story)
        for code, recipe in sorted(planned.items())
        for function, direction in recipe.needs
    ]


def faults_table(planted: Sequence[PlantedFault]) -> str:
    """Return the planted faults as a Markdown table, one row per control point."""
    needs: dict[tuple[str, str, str], list[str]] = {}
    for fault in planted:
        need = f"{fault.function} {fault.direction}" if fault.direction else fault.function
        needs.setdefault((fault.control_point, fault.reason, fault.story), []).append(need)
    rows = [
        f"| `{code}` | {', '.join(unmet)} | `{reason}` | {story} |" for (code, reason, story), unmet in needs.items()
    ]
    head = ["| control point | not met | reason | story |", "|---|---|---|---|"]
    return "\n".join([*head, *rows])


# What the answers on the freshly loaded demo city must say, as data.
#
# Promises the numbers of the coverage summary by status and category, and of the three rings; the tests
# hold them against the city, against an evaluation of it and against the running service.

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

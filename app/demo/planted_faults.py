"""The gaps that are planted in the demo city, and the coverage result that each must lead to.

Every reason of a coverage result occurs at least twice, as the only reason at its control point, so that the result is
certain. A planted fault is one need (function and direction) that is not met.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypedDict

from app.demo.city_plan import normalize_azimuth
from app.demo.control_points import DemoPoint
from app.demo.device_factory import DeviceFactory, Fields
from app.demo.devices import (
    BOTH,
    add_dome,
    add_exit_camera,
    add_face_checkpoint,
    add_gantry,
    add_vehicle_cameras,
    compute_corner,
    get_inbound_vector,
    rotate_right,
)
from app.models.vocabulary import Category, Direction, Function, Level, Status

Reason = Literal[
    "none",
    "not_in_use",
    "offline",
    "stale",
    "wrong_function",
    "wrong_direction",
    "too_far",
    "out_of_view",
    "too_coarse",
]
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
    """One need of one control point that the coverage result must list as not met, with the reason."""

    control_point: str
    function: Function
    direction: Direction | None
    reason: Reason
    story: str


@dataclass(frozen=True)
class Recipe:
    """The devices that lead to a gap at a control point, and its reason."""

    install: Callable[[DeviceFactory, DemoPoint], None]
    needs: tuple[Need, ...]
    reason: Reason
    story: str
    add_exit_device: Callable[[DeviceFactory, DemoPoint], None] = add_exit_camera
    """Adds a second device for outbound traffic that does not close the gap."""


def install_nothing(factory: DeviceFactory, demo_point: DemoPoint) -> None:
    """Install no device."""
    del factory, demo_point


def plan_failed_checkpoint(**state: Any) -> Callable[[DeviceFactory, DemoPoint], None]:
    """Return the recipe of a road checkpoint that does not count, with its cameras."""
    return lambda factory, demo_point: discard(add_gantry(factory, demo_point, **state))


def plan_half_failed(
    working_direction: str, failed_direction: str, **state: Any
) -> Callable[[DeviceFactory, DemoPoint], None]:
    """Return the recipe of two checkpoints, one for each direction, of which one does not count."""

    def install(factory: DeviceFactory, demo_point: DemoPoint) -> None:
        add_gantry(factory, demo_point, (failed_direction,), ahead_m=2, **state)
        add_gantry(factory, demo_point, (working_direction,), ahead_m=9)

    return install


def plan_one_sided(direction: str) -> Callable[[DeviceFactory, DemoPoint], None]:
    """Return the recipe of a checkpoint with lanes in one direction only."""
    return lambda factory, demo_point: discard(add_gantry(factory, demo_point, (direction,), per_direction=2))


def discard(draft: object) -> None:
    """Ignore the draft that a device was added with."""
    del draft


def install_other_kinds(factory: DeviceFactory, demo_point: DemoPoint) -> None:
    """Install an overview dome and an electronic collector where a vehicle checkpoint is needed."""
    add_dome(factory, demo_point)
    factory.add_camera(["electronic"], demo_point, demo_point.xy + rotate_right(get_inbound_vector(demo_point)) * 9)


def plan_road_cameras(
    ahead_m: float, turn: float, *, ways: Sequence[str] = BOTH, **optics: Any
) -> Callable[[DeviceFactory, DemoPoint], None]:
    """Return the recipe of cameras without a checkpoint, turned away by ``turn`` degrees."""

    def install(factory: DeviceFactory, demo_point: DemoPoint) -> None:
        for direction in ways:
            travel = get_inbound_vector(demo_point) if direction == "inbound" else -get_inbound_vector(demo_point)
            stand = demo_point.xy + travel * ahead_m
            camera = factory.add_aimed_camera(
                "vehicle", demo_point, stand, demo_point.xy, direction=direction, **optics
            )
            camera["azimuth_deg"] = normalize_azimuth(camera["azimuth_deg"] + turn)

    return install


def plan_junction_cameras(
    function: Function, distance_m: float, turn: float = 0.0, **optics: Any
) -> Callable[[DeviceFactory, DemoPoint], None]:
    """Return the recipe of cameras that do not count; the other need of the point is met."""

    def install(factory: DeviceFactory, demo_point: DemoPoint) -> None:
        for quarter in (2, 3):
            stand = compute_corner(demo_point, quarter, distance_m)
            camera = factory.add_aimed_camera(function, demo_point, stand, demo_point.xy, **optics)
            camera["azimuth_deg"] = normalize_azimuth(camera["azimuth_deg"] + turn)
        install_other_need(factory, demo_point, function)

    return install


def install_other_need(factory: DeviceFactory, demo_point: DemoPoint, missing: Function) -> None:
    """Cover the other need of a point by devices that see it and are not assigned to it.

    An assigned device with another function would be a second possible reason for the gap.
    """
    if missing == "vehicle":
        add_face_checkpoint(factory, demo_point, 1, control_point=None)
    elif demo_point.category == "core_site":
        add_dome(factory, demo_point, control_point=None)
    else:
        add_vehicle_cameras(factory, demo_point, control_point=None)


def plan_failed_face(**state: Any) -> Callable[[DeviceFactory, DemoPoint], None]:
    """Return the recipe of a face checkpoint that does not count."""

    def install(factory: DeviceFactory, demo_point: DemoPoint) -> None:
        add_face_checkpoint(factory, demo_point, **state)
        install_other_need(factory, demo_point, "face")

    return install


def plan_failed_vehicle(**state: Any) -> Callable[[DeviceFactory, DemoPoint], None]:
    """Return the recipe of vehicle cameras that do not count."""

    def install(factory: DeviceFactory, demo_point: DemoPoint) -> None:
        add_vehicle_cameras(factory, demo_point, **state)
        install_other_need(factory, demo_point, "vehicle")

    return install


def install_without_power(factory: DeviceFactory, demo_point: DemoPoint) -> None:
    """Install vehicle cameras and a face checkpoint that are all offline."""
    add_vehicle_cameras(factory, demo_point, **_DARK)
    add_face_checkpoint(factory, demo_point, **_DARK)


def install_without_face(factory: DeviceFactory, demo_point: DemoPoint) -> None:
    """Install no face device: only domes at a site, and vehicle cameras at a crossroads."""
    if demo_point.category != "core_site":
        add_vehicle_cameras(factory, demo_point)
    add_dome(factory, demo_point)


def install_dark_dome(factory: DeviceFactory, demo_point: DemoPoint) -> None:
    """Install a dome that is offline, and a face checkpoint that works."""
    add_dome(factory, demo_point, distance_m=2, **_DARK)
    add_face_checkpoint(factory, demo_point, control_point=None)


_COARSE: Final[Fields] = {"horizontal_pixels": 1920, "vertical_pixels": 1080}
_COARSE_ROAD: Final[Fields] = {**_COARSE, "opening_deg": 70.0, "range_m": 45.0}
_COARSE_FACE: Final[Fields] = {**_COARSE, "opening_deg": 80.0, "range_m": 30.0}

RECIPES: Final[dict[Category, tuple[Recipe, ...]]] = {
    "city_road": (
        Recipe(install_nothing, _BOTH_WAYS, "none", "nothing was ever built here"),
        Recipe(plan_failed_checkpoint(**_DARK), _BOTH_WAYS, "offline", "the whole checkpoint lost its link"),
        Recipe(plan_one_sided("inbound"), _OUT, "wrong_direction", "lanes only for inbound traffic"),
        Recipe(
            plan_half_failed("inbound", "outbound", **_PLANNED),
            _OUT,
            "not_in_use",
            "the outbound checkpoint is planned, not built",
        ),
        Recipe(plan_failed_checkpoint(**_SILENT), _BOTH_WAYS, "stale", "last report in January 2020"),
        Recipe(install_nothing, _BOTH_WAYS, "none", "nothing was ever built here"),
        Recipe(install_other_kinds, _BOTH_WAYS, "wrong_function", "a dome and a collector, no checkpoint"),
        Recipe(plan_half_failed("outbound", "inbound", **_DARK), _IN, "offline", "the inbound gantry is dark"),
        Recipe(
            plan_road_cameras(75, 0, opening_deg=9.0, range_m=35.0),
            _BOTH_WAYS,
            "too_far",
            "both cameras stand 75 m away and see 35 m",
        ),
        Recipe(plan_failed_checkpoint(**_REPAIR), _BOTH_WAYS, "not_in_use", "taken out for repair"),
        Recipe(plan_road_cameras(22, 140), _BOTH_WAYS, "out_of_view", "both cameras look away"),
        Recipe(install_nothing, _BOTH_WAYS, "none", "nothing was ever built here"),
        Recipe(plan_one_sided("outbound"), _IN, "wrong_direction", "lanes only for outbound traffic"),
        Recipe(
            plan_road_cameras(30, 0, **_COARSE_ROAD), _BOTH_WAYS, "too_coarse", "wide lenses: under 50 px/m on the road"
        ),
        Recipe(
            plan_half_failed("inbound", "outbound", **_SILENT),
            _OUT,
            "stale",
            "the outbound gantry last reported in January 2020",
        ),
        Recipe(plan_failed_checkpoint(**_BROKEN), _BOTH_WAYS, "offline", "the checkpoint reports a fault"),
    ),
    "urban_road": (
        Recipe(plan_one_sided("inbound"), _OUT, "wrong_direction", "lanes only for inbound traffic"),
        Recipe(plan_failed_checkpoint(**_REMOVED), _BOTH_WAYS, "not_in_use", "removed and not replaced"),
        Recipe(
            plan_half_failed("inbound", "outbound", **_SILENT),
            _OUT,
            "stale",
            "the outbound gantry last reported in January 2020",
        ),
        Recipe(plan_road_cameras(22, 180), _BOTH_WAYS, "out_of_view", "both cameras look away"),
        Recipe(install_nothing, _BOTH_WAYS, "none", "nothing was ever built here"),
    ),
    "core_road": (
        Recipe(
            plan_half_failed("outbound", "inbound", **_BROKEN), _IN, "offline", "the inbound gantry reports a fault"
        ),
        Recipe(
            plan_road_cameras(60, 0, opening_deg=9.0, range_m=25.0),
            _BOTH_WAYS,
            "too_far",
            "the cameras stand 60 m away and see 25 m",
            plan_road_cameras(66, 0, ways=_LEAVING, opening_deg=9.0, range_m=25.0),
        ),
        Recipe(
            plan_road_cameras(24, 180),
            _BOTH_WAYS,
            "out_of_view",
            "the cameras look away from the line, along the road",
            plan_road_cameras(32, 180, ways=_LEAVING),
        ),
        Recipe(
            plan_road_cameras(45, 0, opening_deg=9.0, range_m=20.0),
            _BOTH_WAYS,
            "too_far",
            "the cameras stand 45 m away and see 20 m",
            plan_road_cameras(51, 0, ways=_LEAVING, opening_deg=9.0, range_m=20.0),
        ),
        Recipe(
            plan_road_cameras(30, 180),
            _BOTH_WAYS,
            "out_of_view",
            "the cameras look away from the line, along the road",
            plan_road_cameras(38, 180, ways=_LEAVING),
        ),
    ),
    "core_junction": (
        Recipe(install_without_face, _FACE, "wrong_function", "vehicle cameras and a dome, no face device"),
        Recipe(plan_failed_face(**_DARK), _FACE, "offline", "the face checkpoint lost its link"),
        Recipe(
            plan_junction_cameras("face", 12, **_COARSE_FACE),
            _FACE,
            "too_coarse",
            "wide lenses: under 100 px/m at the crossing",
        ),
        Recipe(install_nothing, _VEHICLE + _FACE, "none", "nothing was ever built here"),
        Recipe(plan_failed_vehicle(**_SILENT), _VEHICLE, "stale", "the vehicle cameras last reported in January 2020"),
        Recipe(plan_junction_cameras("face", 9, 150), _FACE, "out_of_view", "both face cameras look away"),
        Recipe(plan_failed_face(**_PLANNED), _FACE, "not_in_use", "the face checkpoint is planned"),
        Recipe(
            plan_junction_cameras("face", 48, opening_deg=9.0, range_m=20.0),
            _FACE,
            "too_far",
            "both face cameras stand 48 m away and see 20 m",
        ),
        Recipe(install_without_power, _VEHICLE + _FACE, "offline", "the crossroads has no power"),
        Recipe(
            plan_junction_cameras("vehicle", 58, opening_deg=9.0, range_m=30.0),
            _VEHICLE,
            "too_far",
            "both vehicle cameras stand 58 m away and see 30 m",
        ),
    ),
    "core_site": (
        Recipe(install_dark_dome, _OVERVIEW, "offline", "the dome lost its link"),
        Recipe(install_nothing, _FACE + _OVERVIEW, "none", "nothing was ever built here"),
        Recipe(install_without_face, _FACE, "wrong_function", "a dome, no face device"),
        Recipe(
            plan_junction_cameras("face", 10, **_COARSE_FACE),
            _FACE,
            "too_coarse",
            "wide lenses: under 120 px/m at the entrance",
        ),
        Recipe(plan_failed_face(**_SILENT), _FACE, "stale", "the face checkpoint last reported in January 2020"),
    ),
}
"""Gaps by category, spread evenly over its points."""

SHARED: Final = Recipe(
    plan_half_failed("outbound", "inbound", **_DARK),
    _IN,
    "offline",
    "the inbound gantry is dark, on the border that core and urban ring share",
)


def is_plain(demo_point: DemoPoint, shared: frozenset[str]) -> bool:
    """Return whether a point is ordinary: not shared, not one-way and with one carriageway."""
    road = demo_point.inbound is not None
    return demo_point.code not in shared and (
        not road or (len(demo_point.directions) == 2 and demo_point.carriageways == 1)
    )


def choose_recipes(demo_points: Sequence[DemoPoint], shared: Sequence[tuple[str, str]]) -> dict[str, Recipe]:
    """Return the recipe of every control point with a gap, by code.

    Parameters
    ----------
    shared : sequence of tuple of str
        Codes of core and urban points at the same location.
    """
    special = frozenset(code for pair in shared for code in pair)
    planned: dict[str, Recipe] = {}
    for category, recipes in RECIPES.items():
        free = [p for p in demo_points if p.category == category and is_plain(p, special)]
        for number, recipe in enumerate(recipes):
            planned[free[int((number + 0.5) * len(free) / len(recipes))].code] = recipe
    for code in shared[len(shared) // 2]:
        planned[code] = SHARED
    return planned


def list_faults(planned: dict[str, Recipe]) -> list[PlantedFault]:
    """Return the planted faults by control point."""
    return [
        PlantedFault(code, function, direction, recipe.reason, recipe.story)
        for code, recipe in sorted(planned.items())
        for function, direction in recipe.needs
    ]


def render_faults_table(planted: Sequence[PlantedFault]) -> str:
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


# Expected results of the loaded demo city: the coverage summary by status and category, and the three rings. Tests
# compare them with the city, with an evaluation of it and with the running service.

Counts = dict[Status, int]


class ExpectedCounts(TypedDict):
    """Control points by status: all of them, and of each category."""

    total: Counts
    by_category: dict[Category, Counts]


EXPECTED: Final[ExpectedCounts] = {
    "total": {"backed_up": 92, "covered": 274, "partial": 22, "uncovered": 21},
    "by_category": {
        "city_road": {"backed_up": 28, "covered": 85, "partial": 5, "uncovered": 11},
        "urban_road": {"backed_up": 6, "covered": 27, "partial": 3, "uncovered": 3},
        "core_road": {"backed_up": 12, "covered": 29, "partial": 2, "uncovered": 4},
        "core_junction": {"backed_up": 42, "covered": 125, "partial": 8, "uncovered": 2},
        "core_site": {"backed_up": 4, "covered": 8, "partial": 4, "uncovered": 1},
    },
}


class ExpectedCordon(TypedDict):
    """One direction through a ring."""

    sealed: bool
    depth: int
    to_seal: int
    critical: int


class ExpectedRing(TypedDict):
    """Crossings by status, and both directions."""

    crossings: dict[str, int]
    inbound: ExpectedCordon
    outbound: ExpectedCordon


def build_leaking_cordon(demo_points: int) -> ExpectedCordon:
    """Return the expected direction of a cordon with leaks, and the number of checkpoints that seal it."""
    return {"sealed": False, "depth": 0, "to_seal": demo_points, "critical": 0}


EXPECTED_RINGS: Final[dict[Level, ExpectedRing]] = {
    "city": {
        "crossings": {"total": 129, "guarded": 114, "open": 15, "waived": 0},
        "inbound": build_leaking_cordon(12),
        "outbound": build_leaking_cordon(13),
    },
    "urban": {
        "crossings": {"total": 39, "guarded": 34, "open": 5, "waived": 0},
        "inbound": build_leaking_cordon(3),
        "outbound": build_leaking_cordon(4),
    },
    "core": {
        "crossings": {"total": 47, "guarded": 45, "open": 2, "waived": 0},
        "inbound": build_leaking_cordon(2),
        "outbound": {"sealed": True, "depth": 1, "to_seal": 0, "critical": 1},
    },
}
LEAKS: Final = ("CP-KR-008", "CP-KR-044")
"""The only two control points where a vehicle can enter the core without a guard."""
CRITICAL: Final = "CP-KR-008"
"""The only control point whose outbound checkpoint is critical: its failure alone opens the core outward."""
SHARED_BORDER: Final = ("CP-KR-044", "CP-UR-036")
"""Two control points of two rings at one location of one road."""
ALONG: Final = "RG-ALONG"
"""The road along the urban line, which does not cross it."""

"""The tables and codes of the coverage engine: needs, control points, devices, parameters, reasons.

A table has one row for each record and checks its columns when it is created. A value that is not stated is NaN or -1;
tables never assume one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from shapely.geometry import MultiPolygon, Polygon

from app.geo.arrays import Bools, Bytes, Floats, Ints, expand_ranges

FUNCTIONS: Final = ("face", "vehicle", "structured", "overview", "electronic")
FUNCTION_BITS: Final[Mapping[str, int]] = MappingProxyType(
    {function: 1 << index for index, function in enumerate(FUNCTIONS)}
)
INBOUND, OUTBOUND = 1, 2
DIRECTION_BITS: Final[Mapping[str | None, int]] = MappingProxyType({None: 0, "inbound": INBOUND, "outbound": OUTBOUND})
NOT_IN_USE, IN_USE = 0, 1
ONLINE, OFFLINE, FAULT, UNKNOWN = 0, 1, 2, 3
STATE_CODES: Final[Mapping[str, int]] = MappingProxyType(
    {"online": ONLINE, "offline": OFFLINE, "fault": FAULT, "unknown": UNKNOWN}
)
STATUSES: Final = ("uncovered", "partial", "covered", "backed_up")
"""Names of the status codes, worst first, so that a greater code is better."""
UNCOVERED, PARTIAL, COVERED, BACKED_UP = range(4)

REASONS: Final = (
    "not_in_use",
    "offline",
    "stale",
    "wrong_function",
    "wrong_direction",
    "too_far",
    "out_of_view",
    "too_coarse",
    "none",
)
"""Names of the reason codes in the order in which they are listed.
``none`` is the reason of a need that has no candidate which could be made to count."""
NOT_IN_USE_REASON, OFFLINE_REASON, STALE_REASON, WRONG_FUNCTION, WRONG_DIRECTION = range(5)
TOO_FAR, OUT_OF_VIEW, TOO_COARSE, NONE = range(5, 9)
MET: Final = -1
"""In place of a reason code: the need is met."""
RANGE_BASES: Final = ("stated", "derived", "assigned", "assumed")
"""Source of the range of a device."""

ReasonSets: TypeAlias = NDArray[np.uint16]
"""Sets of reasons: bit ``1 << code`` is set for each reason code."""


def check_reasons_fit(reasons: Sequence[str]) -> None:
    """Raise OverflowError if a set of these reasons needs more bits than `ReasonSets` has.

    >>> check_reasons_fit(REASONS)
    """
    bits = np.iinfo(np.uint16).bits
    if len(reasons) > bits:
        raise OverflowError(f"{len(reasons)} reasons do not fit into {bits} bits: widen ReasonSets")


check_reasons_fit(REASONS)


def build_reason_sets(failures: Sequence[tuple[int, Bools]]) -> ReasonSets:
    """Return for each row the set of the reason codes whose flag is set in that row.

    >>> build_reason_sets([(OFFLINE_REASON, np.array([True, False])), (TOO_FAR, np.array([True, True]))]).tolist()
    [34, 32]
    """
    sets = np.zeros(len(failures[0][1]), np.uint16)
    for code, flags in failures:
        sets |= flags.astype(np.uint16) << np.uint16(code)
    return sets


def name_reasons(reason_set: int) -> tuple[str, ...]:
    """Return the names in a set of reasons, in the order of `REASONS`.

    Examples
    --------
    >>> name_reasons(0b100010)
    ('offline', 'too_far')
    """
    return tuple(name for code, name in enumerate(REASONS) if reason_set >> code & 1)


DEFAULT_DENSITY: Final[Mapping[str, float | None]] = MappingProxyType(
    {"face": 250.0, "vehicle": 200.0, "structured": 125.0, "overview": 25.0, "electronic": None}
)
"""Pixel density that a function needs, px/m: identify, plates, recognise and detect of IEC 62676-4:2014.
None if pixels do not matter."""


@dataclass(frozen=True)
class Need:
    """One function in one direction that a control point requires.

    Parameters
    ----------
    function : str
        One of `FUNCTIONS`.
    direction : {'inbound', 'outbound'} or None
        Direction of travel that devices must observe; None if it does not matter.
    working : int
        Required number of working devices, at least 1.
    min_px_per_m : float, optional
        Required pixel density, in place of the function's.

    Raises
    ------
    ValueError
        An unknown word or a number out of range.
    """

    function: str
    direction: str | None = None
    working: int = 1
    min_px_per_m: float | None = None

    def __post_init__(self) -> None:
        """Raise ValueError if a value is not valid."""
        if self.function not in FUNCTION_BITS or self.direction not in DIRECTION_BITS:
            raise ValueError(f"unknown function or direction in {self}")
        if self.working < 1:
            raise ValueError("a need requires at least one working device")
        if self.min_px_per_m is not None and not 0 < self.min_px_per_m < np.inf:
            raise ValueError("min_px_per_m must be above 0")


@dataclass(frozen=True, eq=False)
class PointTable:
    """Control points, one row each.

    Parameters
    ----------
    code : sequence of str
    lonlat : ndarray, shape (n, 2)
        The point, or a point of the area, in degrees.
    shape : mapping of int to Polygon or MultiPolygon
        Rows that are areas, in lon/lat.
    needs : sequence of tuple of Need
        The needs of each point. A point without needs is `COVERED`, and flagged in `Assessment.no_requirement`.

    Raises
    ------
    ValueError
        Columns of unequal length or a shape for a row that does not exist.
    """

    code: Sequence[str]
    lonlat: Floats
    shape: Mapping[int, Polygon | MultiPolygon]
    needs: Sequence[tuple[Need, ...]]

    def __post_init__(self) -> None:
        """Raise ValueError if columns do not fit together."""
        n = len(self.code)
        if len(self.lonlat) != n or len(self.needs) != n:
            raise ValueError("columns of control points have unequal lengths")
        if any(not 0 <= row < n for row in self.shape):
            raise ValueError("a shape belongs to no control point")

    def __len__(self) -> int:
        """Return the number of control points."""
        return len(self.code)


@dataclass(frozen=True, eq=False)
class DeviceTable:
    """Cameras and checkpoints, one row each; a number that is not stated is NaN.

    Parameters
    ----------
    kind : sequence of {'camera', 'checkpoint'}
    code : sequence of str
        Unique within a kind; of equal candidates, the one with the lower code comes first.
    lonlat : ndarray, shape (m, 2)
    functions : ndarray of uint8, shape (m,)
        Set of `FUNCTION_BITS`.
    directions : ndarray of uint8, shape (m,)
        Set of `INBOUND` and `OUTBOUND`. A device without directions serves no need that has one.
    lifecycle : ndarray of uint8, shape (m,)
        `IN_USE` or anything else.
    state : ndarray of uint8, shape (m,)
        One of `STATE_CODES`.
    stale : ndarray of bool, shape (m,)
        The state report is missing or too old.
    azimuth_deg, opening_deg, range_m, near_m, h_pixels : ndarray, shape (m,)
        Optics of a camera, see `app.geo.visibility.field_of_view`; not used for a checkpoint.
    assigned : ndarray of int, shape (m,)
        Row of the control point that the device is assigned to, or -1.
    installation : ndarray of int, shape (m,)
        Row of the checkpoint that a camera belongs to, or -1.
    group : ndarray of int, shape (m,)
        Failure group: devices with the same number fail together; a negative number: the device is on its own.

    Raises
    ------
    ValueError
        Columns of unequal length, or an opening, range, blind zone or pixel count that is out of range.
    """

    kind: Sequence[str]
    code: Sequence[str]
    lonlat: Floats
    functions: Bytes
    directions: Bytes
    lifecycle: Bytes
    state: Bytes
    stale: Bools
    azimuth_deg: Floats
    opening_deg: Floats
    range_m: Floats
    near_m: Floats
    h_pixels: Floats
    assigned: Ints
    installation: Ints
    group: Ints

    def __post_init__(self) -> None:
        """Raise ValueError if columns do not fit together or a number is out of range."""
        m = len(self.code)
        if any(len(column) != m for column in vars(self).values()):
            raise ValueError("columns of devices have unequal lengths")
        with np.errstate(invalid="ignore"):
            for name, low, high in (
                ("opening_deg", 0.0, 360.0),
                ("range_m", 0.0, np.inf),
                ("h_pixels", 0.0, np.inf),
                ("near_m", -1e-12, np.inf),
                ("azimuth_deg", -np.inf, np.inf),
            ):
                column = getattr(self, name)
                if np.any((column <= low) | (column > high) | np.isinf(column)):
                    raise ValueError(f"{name} of a device is out of range")

    def __len__(self) -> int:
        """Return the number of devices."""
        return len(self.code)

    @cached_property
    def is_checkpoint(self) -> Bools:
        """Which rows are checkpoints, shape (m,)."""
        return np.array([kind == "checkpoint" for kind in self.kind], dtype=np.bool_)

    @cached_property
    def rank(self) -> Ints:
        """Index of each row in the order by code, then kind, shape (m,)."""
        by_kind = np.argsort(self.is_checkpoint, kind="stable").tolist()
        order = sorted(by_kind, key=self.code.__getitem__)
        rank = np.empty(len(order), dtype=np.int64)
        rank[order] = np.arange(len(order))
        return rank

    @cached_property
    def state_reasons(self) -> ReasonSets:
        """Reasons why a device does not work, from `STATE_TESTS`, shape (m,)."""
        return build_reason_sets([(code, test(self)) for code, test in STATE_TESTS])


def is_not_in_use(devices: DeviceTable) -> Bools:
    """Return which devices are not in use."""
    return np.asarray(devices.lifecycle != IN_USE)


def is_offline(devices: DeviceTable) -> Bools:
    """Return which devices are offline, or have a fault."""
    return np.asarray((devices.state == OFFLINE) | (devices.state == FAULT))


def is_stale(devices: DeviceTable) -> Bools:
    """Return which devices are stale, or in a state that is not known."""
    return np.asarray(devices.stale | ~(is_offline(devices) | (devices.state == ONLINE)))


STATE_TESTS: Final[tuple[tuple[int, Callable[[DeviceTable], Bools]], ...]] = (
    (NOT_IN_USE_REASON, is_not_in_use),
    (OFFLINE_REASON, is_offline),
    (STALE_REASON, is_stale),
)
"""What disqualifies a device for every need: reason code and test.
`app.geo.coverage.candidates.PAIR_TESTS` has the tests that depend on the need."""
STATE_REASONS: Final = sum(1 << code for code, _ in STATE_TESTS)
"""The set of reasons that depend on lifecycle and state of a device alone."""


@dataclass(frozen=True, eq=False)
class Roadside:
    """The roads of control points that are locations on roads; n points, m devices.

    A device that is not assigned to the point counts only on the point's own road, and a camera that looks across the
    road serves no direction of it.
    """

    road: Ints
    """Shape (n,): number of the point's road."""
    axis_deg: Floats
    """Shape (n,): true bearing of the road at the point, in either direction."""
    device_road: Ints
    """Shape (m,): number of the road of each device, -1: on none."""
    max_off_axis_deg: float = 50.0
    """Greatest angle between the axis of a camera and that of the road."""


@dataclass(frozen=True)
class Parameters:
    """Values that are assumed for a device that states none.

    Parameters
    ----------
    search_m : float
        Devices with the needed function within this distance are candidates.
    assumed_range_m : float
        Range of a device without optics, all round.
    assigned_range_m : float
        The same towards the control point that it is assigned to.
    assumed_opening_deg : float
        Opening of a camera that states an azimuth and no opening.
    density : mapping of str to float or None
        Pixel density in px/m that each function needs; None if pixels do not matter.

    Raises
    ------
    ValueError
        A length, angle or density that is not above 0, or a missing function.
    """

    search_m: float = 200.0
    assumed_range_m: float = 30.0
    assigned_range_m: float = 100.0
    assumed_opening_deg: float = 60.0
    density: Mapping[str, float | None] = field(default_factory=lambda: DEFAULT_DENSITY)

    def __post_init__(self) -> None:
        """Raise ValueError if a value is not valid."""
        lengths = (self.search_m, self.assumed_range_m, self.assigned_range_m)
        if any(not 0 < length < np.inf for length in lengths):
            raise ValueError("search_m, assumed_range_m and assigned_range_m must be above 0")
        if not 0 < self.assumed_opening_deg <= 360:
            raise ValueError("assumed_opening_deg must lie in (0, 360]")
        if set(self.density) != set(FUNCTIONS):
            raise ValueError(f"density is needed for each of {', '.join(FUNCTIONS)}")
        if any(density is not None and not 0 < density < np.inf for density in self.density.values()):
            raise ValueError("density must be above 0")


@dataclass(frozen=True, eq=False)
class NeedTable:
    """The needs of all control points, one row each, in the order of points and their needs; u rows."""

    point: Ints
    """Shape (u,): row of the control point."""
    index: Ints
    """Shape (u,): index of the need among those of the point."""
    start: Ints
    """Shape (n + 1,): the needs of point i are ``start[i]:start[i + 1]``."""
    function: Bytes
    """Shape (u,): one of `FUNCTION_BITS`."""
    direction: Bytes
    """Shape (u,): one of `DIRECTION_BITS`."""
    working: Ints
    """Shape (u,): required number of working devices."""
    density: Floats
    """Shape (u,): required pixel density, that of the function if the need states none; NaN: pixels do not matter."""

    @classmethod
    def from_points(cls, points: PointTable, parameters: Parameters) -> "NeedTable":
        """Return the needs of all points."""
        # Most points share one tuple of needs with all points of their category: each tuple is read once.
        index_by_id: dict[int, int] = {}
        distinct: list[tuple[Need, ...]] = []
        needs_index = np.empty(len(points), dtype=np.int64)
        for row, needs in enumerate(points.needs):
            index = index_by_id.get(id(needs))
            if index is None:
                index = index_by_id[id(needs)] = len(distinct)
                distinct.append(needs)
            needs_index[row] = index
        flat_needs = [need for needs in distinct for need in needs]
        sizes = np.array([len(needs) for needs in distinct], dtype=np.int64)
        counts = sizes[needs_index]
        point, index_in_point, row_of_need = expand_ranges(counts, (np.cumsum(sizes) - sizes)[needs_index])
        density = [
            parameters.density[need.function] if need.min_px_per_m is None else need.min_px_per_m for need in flat_needs
        ]
        return cls(
            point,
            index_in_point,
            np.concatenate([[0], np.cumsum(counts)]),
            np.array([FUNCTION_BITS[need.function] for need in flat_needs], np.uint8)[row_of_need],
            np.array([DIRECTION_BITS[need.direction] for need in flat_needs], np.uint8)[row_of_need],
            np.array([need.working for need in flat_needs], np.int64)[row_of_need],
            np.array(density, np.float64)[row_of_need],
        )

    def __len__(self) -> int:
        """Return the number of needs."""
        return len(self.point)


@dataclass(frozen=True)
class ExplainedCandidate:
    """One device and its result for one need."""

    device: int
    """Row in the `DeviceTable`."""
    kind: str
    code: str
    distance_m: float
    """To the point, or to the nearest point of an area."""
    bearing_deg: float | None
    """True bearing from the device to the control point; None below a metre."""
    off_axis_deg: float | None
    """Angle between this and the azimuth of the device; None for a device that looks all round."""
    range_m: float
    range_basis: str
    """One of `RANGE_BASES`."""
    px_per_m: float | None
    """Pixel density at the distance, if known."""
    assigned: bool
    counts: bool
    represented: bool
    """A checkpoint that passes every test and is counted through its own cameras."""
    reasons: tuple[str, ...]
    """Why it does not count, in the order of `REASONS`; empty if it counts."""
    hidden_by: int | None = None
    """Row of the building between it and the point, if that puts the point out of view."""


@dataclass(frozen=True)
class ExplainedNeed:
    """One need of one control point with all its candidates."""

    need: Need
    met: bool
    backed_up: bool
    count: int
    groups: int
    primary: str | None
    """One of `REASONS`, None if the need is met."""
    candidates: tuple[ExplainedCandidate, ...]
    """Best first: fewest reasons, then assigned, then nearest, then by code."""
    nearest: ExplainedCandidate | None
    """For the reason ``none``: the nearest device with the function that is not a candidate."""

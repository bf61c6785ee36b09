"""The words and tables of the coverage engine: needs, points, devices, parameters, reasons.

Column tables with one row per record, checked once when they are made: columns fit together,
numbers mean something. What was not stated is NaN or -1 and never guessed here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Final

import numpy as np
from shapely.geometry import MultiPolygon, Polygon

from app.geo.arrays import Bools, Bytes, Floats, Ints

FUNCTIONS: Final = ("face", "vehicle", "structured", "overview", "electronic")
FUNCTION_BITS: Final[Mapping[str, int]] = MappingProxyType(
    {function: 1 << place for place, function in enumerate(FUNCTIONS)}
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
"""Names of the reason codes in the order they are given; bit ``1 << code`` in a set of reasons.
``none`` is a unit's reason, when there is no candidate that could be made to count."""
NOT_IN_USE_REASON, OFFLINE_REASON, STALE_REASON, WRONG_FUNCTION, WRONG_DIRECTION = range(5)
TOO_FAR, OUT_OF_VIEW, TOO_COARSE, NONE = range(5, 9)
MET: Final = -1
"""In place of a reason code: there is nothing wrong."""
RANGE_BASES: Final = ("stated", "derived", "assigned", "assumed")
"""Where the range of a device comes from."""

DENSITY: Final[Mapping[str, float | None]] = MappingProxyType(
    {"face": 250.0, "vehicle": 200.0, "structured": 125.0, "overview": 25.0, "electronic": None}
)
"""Pixel density a function needs, px/m: identify, plates, recognise and detect of IEC 62676-4:2014.
None where pixels say nothing."""


@dataclass(frozen=True)
class Need:
    """One thing a control point demands.

    Parameters
    ----------
    function : str
        One of `FUNCTIONS`.
    direction : {'inbound', 'outbound'} or None
        Direction of passage that must be served; None when it does not matter.
    working : int
        How many working devices are demanded, at least 1.
    min_px_per_m : float, optional
        Pixel density demanded, instead of the function's.

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
        """Refuse what no device could be measured against."""
        if self.function not in FUNCTION_BITS or self.direction not in DIRECTION_BITS:
            raise ValueError(f"unknown function or direction in {self}")
        if self.working < 1:
            raise ValueError("a need demands at least one working device")
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
        What each demands. None at all makes a point `COVERED`, flagged `Assessment.no_requirement`.

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
        """Refuse columns that do not fit together."""
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
    """Cameras and checkpoints, one row each; numbers that were not given are NaN.

    Parameters
    ----------
    kind : sequence of {'camera', 'checkpoint'}
    code : sequence of str
        Unique within a kind; ties are broken by it.
    lonlat : ndarray, shape (m, 2)
    functions : ndarray of uint8, shape (m,)
        Set of `FUNCTION_BITS`.
    directions : ndarray of uint8, shape (m,)
        Set of `INBOUND` and `OUTBOUND`. A device that states none serves no need that names one.
    lifecycle : ndarray of uint8, shape (m,)
        `IN_USE` or anything else.
    state : ndarray of uint8, shape (m,)
        One of `STATE_CODES`.
    stale : ndarray of bool, shape (m,)
        The report is missing or too old to be believed.
    azimuth_deg, opening_deg, range_m, near_m, h_pixels : ndarray, shape (m,)
        Optics of a camera, see `app.geo.visibility.field_of_view`; not looked at for a checkpoint.
    assigned : ndarray of int, shape (m,)
        Row of the control point that a person assigned the device to, or -1.
    installation : ndarray of int, shape (m,)
        Row of the checkpoint a camera is a part of, or -1.
    group : ndarray of int, shape (m,)
        Devices with the same number fail together; a negative number stands for alone.

    Raises
    ------
    ValueError
        Columns of unequal length, or an opening, range, blind zone or pixel count that is none.
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
        """Refuse columns that do not fit together and numbers that mean nothing."""
        m = len(self.code)
        if any(len(column) != m for column in vars(self).values()):
            raise ValueError("columns of devices have unequal lengths")
        with np.errstate(invalid="ignore"):
            for name, least, most in (
                ("opening_deg", 0.0, 360.0),
                ("range_m", 0.0, np.inf),
                ("h_pixels", 0.0, np.inf),
                ("near_m", -1e-12, np.inf),
                ("azimuth_deg", -np.inf, np.inf),
            ):
                column = getattr(self, name)
                if np.any((column <= least) | (column > most) | np.isinf(column)):
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
        """Place of each row in the order by code, then kind, shape (m,)."""
        by_kind = np.argsort(self.is_checkpoint, kind="stable").tolist()
        order = sorted(by_kind, key=self.code.__getitem__)
        rank = np.empty(len(order), dtype=np.int64)
        rank[order] = np.arange(len(order))
        return rank

    @cached_property
    def state_bits(self) -> Bytes:
        """Reasons that lie in the device alone: not in use, offline, stale; shape (m,)."""
        offline = (self.state == OFFLINE) | (self.state == FAULT)
        unknown = ~(offline | (self.state == ONLINE))
        return (
            bit(self.lifecycle != IN_USE, NOT_IN_USE_REASON)
            | bit(offline, OFFLINE_REASON)
            | bit(self.stale | unknown, STALE_REASON)
        )


@dataclass(frozen=True, eq=False)
class Roadside:
    """What is known of roads where control points are places on roads; n points, m devices.

    A device that a person did not assign to the point counts only on the point's own road, and a
    camera that looks across the road serves no direction of it.
    """

    road: Ints
    """Shape (n,): number of the point's road."""
    axis_deg: Floats
    """Shape (n,): true bearing of the road at the point, either way."""
    stands_on: Ints
    """Shape (m,): number of the road each device stands on, -1: on none."""
    across_deg: float = 50.0
    """A camera's axis may be this far from the road's, either way."""


@dataclass(frozen=True)
class Parameters:
    """What is assumed where a device states nothing.

    Parameters
    ----------
    search_m : float
        Devices with the needed function within this distance are candidates.
    assumed_range_m : float
        Range of a device without optics, all round.
    assigned_range_m : float
        The same towards the control point it is assigned to.
    assumed_opening_deg : float
        Opening of a camera that states an azimuth and no opening.
    density : mapping of str to float or None
        Pixel density in px/m that each function needs; None where pixels say nothing.

    Raises
    ------
    ValueError
        A length, angle or density that is not above 0, or a function left out.
    """

    search_m: float = 200.0
    assumed_range_m: float = 30.0
    assigned_range_m: float = 100.0
    assumed_opening_deg: float = 60.0
    density: Mapping[str, float | None] = field(default_factory=lambda: DENSITY)

    def __post_init__(self) -> None:
        """Refuse what would make every answer meaningless."""
        lengths = (self.search_m, self.assumed_range_m, self.assigned_range_m)
        if any(not 0 < length < np.inf for length in lengths):
            raise ValueError("search_m, assumed_range_m and assigned_range_m must be above 0")
        if not 0 < self.assumed_opening_deg <= 360:
            raise ValueError("assumed_opening_deg must lie in (0, 360]")
        if set(self.density) != set(FUNCTIONS):
            raise ValueError(f"density is needed for each of {', '.join(FUNCTIONS)}")
        if any(found is not None and not 0 < found < np.inf for found in self.density.values()):
            raise ValueError("density must be above 0")


@dataclass(frozen=True)
class Candidate:
    """One device explained for one unit."""

    device: int
    """Row in the `DeviceTable`."""
    kind: str
    code: str
    distance_m: float
    """To the point, or to the nearest place of an area."""
    bearing_deg: float | None
    """True azimuth from the device to the control point's point; None below a metre."""
    off_axis_deg: float | None
    """Angle between this and the middle of the view; None for a device that looks all round."""
    range_m: float
    range_basis: str
    """One of `RANGE_BASES`."""
    px_per_m: float | None
    """Pixel density at the distance, where it is known."""
    assigned: bool
    counts: bool
    represented: bool
    """A checkpoint that passes every test and is counted through its own cameras."""
    reasons: tuple[str, ...]
    """What it lacks, in the order of `REASONS`; empty when it counts."""
    hidden_by: int | None = None
    """Row of the building that stands between it and the point, where that puts it out of view."""


@dataclass(frozen=True)
class UnitExplained:
    """One need of one control point with all its candidates."""

    need: Need
    met: bool
    backed_up: bool
    count: int
    groups: int
    primary: str | None
    """One of `REASONS`, None when met."""
    candidates: tuple[Candidate, ...]
    """Best first: fewest reasons, then assigned, then nearest, then by code."""
    nearest: Candidate | None
    """For the reason ``none``: the nearest device with the function that is no candidate."""


def reasons_of(bits: int) -> tuple[str, ...]:
    """Return the names in a set of reasons, in the order of `REASONS`.

    Examples
    --------
    >>> reasons_of(0b100010)
    ('offline', 'too_far')
    """
    return tuple(name for code, name in enumerate(REASONS) if bits >> code & 1)


def bit(flags: Bools, code: int) -> Bytes:
    """Return the set of reasons that holds `code` where a flag is up, and is empty elsewhere."""
    return np.asarray(flags.astype(np.uint8) * np.uint8(1 << code))

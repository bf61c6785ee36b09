"""Which control points are covered, which are not, and why not.

Promises the same answer for the same facts, in whatever order the devices come, and a reason for
everything that does not count. Absence of a fact never counts in favour of coverage. Refuses
tables whose rows refer to rows that are not there.

A *unit* is one need of one control point. Its *candidates* are the devices assigned to the point,
those that can see it, and those with the needed function within `Parameters.search_m`. A
candidate counts when it passes every test of `REASONS`. Everything is computed on columns, in the
metres of one frame. The words and tables come from `app.geo.tables` and can be had from here.
"""

from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Final

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from app.geo.arrays import Bools, Bytes, Floats, Ints
from app.geo.frame import Frame
from app.geo.reach import Sites, flat, off_axis_deg, pairs, seen_all_round, seen_in_sector
from app.geo.tables import (
    BACKED_UP,
    COVERED,
    DENSITY,
    DIRECTION_BITS,
    FAULT,
    FUNCTION_BITS,
    FUNCTIONS,
    IN_USE,
    INBOUND,
    MET,
    NONE,
    NOT_IN_USE,
    NOT_IN_USE_REASON,
    OFFLINE,
    OFFLINE_REASON,
    ONLINE,
    OUT_OF_VIEW,
    OUTBOUND,
    PARTIAL,
    RANGE_BASES,
    REASONS,
    STALE_REASON,
    STATE_CODES,
    STATUSES,
    TOO_COARSE,
    TOO_FAR,
    UNCOVERED,
    UNKNOWN,
    WRONG_DIRECTION,
    WRONG_FUNCTION,
    Candidate,
    DeviceTable,
    Need,
    Parameters,
    PointTable,
    UnitExplained,
    bit,
    reasons_of,
)
from app.geo.view import range_for_density

__all__ = [
    "BACKED_UP",
    "COVERED",
    "DENSITY",
    "DIRECTION_BITS",
    "FAULT",
    "FUNCTIONS",
    "FUNCTION_BITS",
    "INBOUND",
    "IN_USE",
    "MET",
    "NONE",
    "NOT_IN_USE",
    "NOT_IN_USE_REASON",
    "OFFLINE",
    "OFFLINE_REASON",
    "ONLINE",
    "OUTBOUND",
    "OUT_OF_VIEW",
    "PARTIAL",
    "RANGE_BASES",
    "REASONS",
    "STALE_REASON",
    "STATE_CODES",
    "STATUSES",
    "TOO_COARSE",
    "TOO_FAR",
    "UNCOVERED",
    "UNKNOWN",
    "WRONG_DIRECTION",
    "WRONG_FUNCTION",
    "Assessment",
    "Candidate",
    "DeviceTable",
    "Need",
    "Parameters",
    "PointTable",
    "UnitExplained",
    "assess",
    "reasons_of",
]

_STATE_BITS: Final = 0b111
_ALWAYS_WITHIN_M: Final = 1.0
"""Nearer than this every device reaches: a bearing over such a distance means nothing."""
_BLOCK: Final = 2_000_000
"""Rows of units and devices that are tested at a time."""
_KINDS: Final = (np.int64, np.int64, np.float64, np.bool_, np.uint8)
_FAILS: Final = np.array([value.bit_count() for value in range(256)], dtype=np.uint8)


@dataclass(frozen=True, eq=False)
class _Units:
    """Needs of all control points, one row each, in the order of points and their needs."""

    point: Ints
    need: Ints
    start: Ints
    function: Bytes
    direction: Bytes
    working: Ints
    density: Floats

    @classmethod
    def of(cls, points: PointTable, parameters: Parameters) -> "_Units":
        # Most points share the very tuple of their category, so each is read once.
        places: dict[int, int] = {}
        distinct: list[tuple[Need, ...]] = []
        which = np.empty(len(points), dtype=np.int64)
        for at, needs in enumerate(points.needs):
            place = places.get(id(needs))
            if place is None:
                place = places[id(needs)] = len(distinct)
                distinct.append(needs)
            which[at] = place
        flat_needs = [need for needs in distinct for need in needs]
        sizes = np.array([len(needs) for needs in distinct], dtype=np.int64)
        counts = sizes[which]
        point, need, row = _spread(counts, (np.cumsum(sizes) - sizes)[which])
        density = [
            parameters.density[found.function] if found.min_px_per_m is None else found.min_px_per_m
            for found in flat_needs
        ]
        return cls(
            point,
            need,
            np.concatenate([[0], np.cumsum(counts)]),
            np.array([FUNCTION_BITS[found.function] for found in flat_needs], np.uint8)[row],
            np.array([DIRECTION_BITS[found.direction] for found in flat_needs], np.uint8)[row],
            np.array([found.working for found in flat_needs], np.int64)[row],
            np.array(density, np.float64)[row],
        )

    def __len__(self) -> int:
        return len(self.point)


def _spread(counts: Ints, starts: Ints) -> tuple[Ints, Ints, Ints]:
    """Return for ragged rows: the row, the place within it, and the place from `starts` on."""
    row = np.repeat(np.arange(len(counts)), counts)
    within = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    return row, within, within + np.repeat(starts, counts)


@dataclass(frozen=True, eq=False)
class _Gear:
    """Devices as far as looking is concerned: in metres, with what was left open filled in."""

    xy: Floats
    azimuth_deg: Floats
    """NaN: looks all round."""
    opening_deg: Floats
    range_m: Floats
    near_m: Floats
    pixels_at_1m: Floats
    """Pixel density at one metre, NaN where pixels or opening are unknown."""

    @classmethod
    def of(cls, devices: DeviceTable, parameters: Parameters, frame: Frame) -> "_Gear":
        blank = np.where(devices.is_checkpoint, np.nan, 0.0)
        azimuth = devices.azimuth_deg % 360.0 + blank
        opening = devices.opening_deg + blank
        opening = np.where(
            np.isnan(opening) & ~np.isnan(azimuth), parameters.assumed_opening_deg, opening
        )
        return cls(
            frame.to_metres(devices.lonlat),
            np.where(opening == 360.0, np.nan, azimuth),
            opening,
            devices.range_m + blank,
            np.nan_to_num(devices.near_m + blank, nan=0.0),
            range_for_density(devices.h_pixels + blank, opening, 1.0),
        )

    def farthest_m(self, units: _Units, parameters: Parameters) -> Floats:
        """Return the distance at which each device may still be a candidate, shape (m,)."""
        least = np.nanmin(units.density, initial=np.inf)
        derived = np.nan_to_num(self.pixels_at_1m / least, nan=0.0)
        stated = np.where(np.isnan(self.range_m), derived, self.range_m)
        return np.maximum(stated, max(parameters.search_m, parameters.assumed_range_m, 1.0))

    def range(
        self, device: Ints, density: Floats, assigned: Bools, parameters: Parameters
    ) -> tuple[Floats, Bytes]:
        """Return range in metres and its basis (place in `RANGE_BASES`) of device rows."""
        stated = self.range_m[device]
        derived = self.pixels_at_1m[device] / density
        otherwise = np.where(assigned, parameters.assigned_range_m, parameters.assumed_range_m)
        unstated, underived = np.isnan(stated), np.isnan(derived)
        basis = np.where(underived, np.where(assigned, 2, 3), 1) * unstated
        return (
            np.where(unstated, np.where(underived, otherwise, derived), stated),
            basis.astype(np.uint8),
        )


@dataclass(frozen=True, eq=False)
class _Scene:
    """Everything that does not change with lifecycle and state."""

    points: PointTable
    devices: DeviceTable
    parameters: Parameters
    frame: Frame
    sites: Sites
    gear: _Gear
    units: _Units


@dataclass(frozen=True, eq=False)
class _Candidates:
    """Candidates of all units, sorted by unit; one row each."""

    unit: Ints
    device: Ints
    distance_m: Floats
    assigned: Bools
    reasons: Bytes
    """Set of reasons; those of `DeviceTable.state_bits` included."""


@dataclass(frozen=True, eq=False)
class Assessment:
    """Coverage of all control points; n points, u units in the order of points and their needs."""

    status: Bytes
    """Shape (n,), places in `STATUSES`."""
    no_requirement: Bools
    """Shape (n,): the point demands nothing, and is covered only in this sense."""
    unit_point: Ints
    """Shape (u,): row of the control point."""
    unit_need: Ints
    """Shape (u,): place of the need among the point's needs."""
    unit_start: Ints
    """Shape (n + 1,): units of point i are ``unit_start[i]:unit_start[i + 1]``."""
    met: Bools
    """Shape (u,)."""
    backed_up: Bools
    """Shape (u,): met whichever single failure group is lost."""
    count: Ints
    """Shape (u,): devices that count."""
    groups: Ints
    """Shape (u,): failure groups among them."""
    candidates: Ints
    """Shape (u,): how many candidates there are."""
    reason_count: Ints
    """Shape (u, 9): candidates by what they lack, in the order of `REASONS`; the last is 1 when
    the primary reason is ``none``."""
    primary: NDArray[np.int8]
    """Shape (u,): code of the reason to name first, `MET` when met."""
    best: Ints
    """Shape (u,): device row of the best candidate: among those that count when met, else among
    those that do not; with reason ``none`` the nearest other device with the function; -1: none."""
    best_distance_m: Floats
    """Shape (u,): its distance, NaN without one."""
    best_reasons: Bytes
    """Shape (u,): set of what it lacks, see `reasons_of`."""
    _scene: _Scene = field(repr=False)
    _rows: _Candidates = field(repr=False)
    _counting: Bools = field(repr=False)

    def explain(self, point: int) -> tuple[UnitExplained, ...]:
        """Return every need of one control point with every candidate explained.

        Parameters
        ----------
        point : int
            Row of the control point.

        Returns
        -------
        tuple of UnitExplained
            In the order of the needs; empty for a point without any.

        Raises
        ------
        IndexError
            No such row.
        """
        if not 0 <= point < len(self.status):
            raise IndexError(f"there is no control point in row {point}")
        units = range(int(self.unit_start[point]), int(self.unit_start[point + 1]))
        return tuple(self._explained(unit) for unit in units)

    def _explained(self, unit: int) -> UnitExplained:
        scene, rows = self._scene, self._rows
        point = int(self.unit_point[unit])
        need = scene.points.needs[point][int(self.unit_need[unit])]
        first, last = np.searchsorted(rows.unit, [unit, unit + 1])
        order = first + np.lexsort(
            (
                scene.devices.rank[rows.device[first:last]],
                rows.distance_m[first:last],
                ~rows.assigned[first:last],
                _FAILS[rows.reasons[first:last]],
            )
        )
        of = replace(rows, **{name: getattr(rows, name)[order] for name in vars(rows)})
        primary = int(self.primary[unit])
        nearest: tuple[Candidate, ...] = ()
        if primary == NONE and self.best[unit] >= 0:
            lone = slice(unit, unit + 1)
            other = _Candidates(
                np.array([unit]),
                self.best[lone],
                self.best_distance_m[lone],
                np.zeros(1, np.bool_),
                self.best_reasons[lone],
            )
            nearest = _candidates_explained(scene, other, np.zeros(1, np.bool_))
        density = float(scene.units.density[unit])
        return UnitExplained(
            need,
            None if np.isnan(density) else density,
            bool(self.met[unit]),
            bool(self.backed_up[unit]),
            int(self.count[unit]),
            int(self.groups[unit]),
            None if primary == MET else REASONS[primary],
            _candidates_explained(scene, of, self._counting[order]),
            nearest[0] if nearest else None,
        )

    def restated(self, lifecycle: Bytes, state: Bytes, stale: Bools) -> "Assessment":
        """Return the assessment after devices changed lifecycle or state, and nothing else.

        Many times faster than `assess`, and equal to it: distances and views are kept.

        Parameters
        ----------
        lifecycle, state, stale : ndarray, shape (m,)
            The new columns of the `DeviceTable`.

        Returns
        -------
        Assessment

        Raises
        ------
        ValueError
            A column of another length.
        """
        old = self._scene.devices
        devices = replace(old, lifecycle=lifecycle, state=state, stale=stale)
        for kept in ("is_checkpoint", "rank"):  # neither depends on what changed
            if kept in vars(old):
                vars(devices)[kept] = vars(old)[kept]
        kept_bits = self._rows.reasons & np.uint8(0xFF ^ _STATE_BITS)
        reasons = kept_bits | devices.state_bits[self._rows.device]
        scene = replace(self._scene, devices=devices)
        return _concluded(scene, replace(self._rows, reasons=reasons))


def assess(
    points: PointTable, devices: DeviceTable, parameters: Parameters, frame: Frame
) -> Assessment:
    """Return which control points are covered, and what is missing where they are not.

    Parameters
    ----------
    points : PointTable
    devices : DeviceTable
    parameters : Parameters
    frame : Frame
        Where distances are measured.

    Returns
    -------
    Assessment

    Raises
    ------
    InvalidShape
        A position that is no place on Earth or out of the frame's reach.
    TooLarge
        More pairs of point and device lie within reach than can be compared.
    ValueError
        A reference to a row that does not exist.

    Notes
    -----
    **View.** A camera with an azimuth looks into a sector, of `Parameters.assumed_opening_deg`
    when it states no opening; without an azimuth, or with an opening of 360, it looks all round.
    Range: as stated; else derived from pixels, opening and the density the need demands
    (`app.geo.view.range_for_density`); else, for a device assigned to the point,
    `Parameters.assigned_range_m` all round, because a person says that it watches the place; else
    `Parameters.assumed_range_m`. A checkpoint has no optics. Below one metre everything is
    reached. An area is reached when any place of it lies in the view.

    **Tests**, in the order of `REASONS`: ``not_in_use``; ``offline``, also when faulty; ``stale``,
    also when unknown; ``wrong_function``; ``wrong_direction``; ``too_far``, beyond the range;
    ``out_of_view``, outside the sector or nearer than the near limit; ``too_coarse``, within view
    but with fewer pixels than demanded, which only a stated range can lead to.

    **Counting.** A checkpoint is not counted in addition to its own cameras. A unit is met by
    `Need.working` counting devices, and backed up when this stays true whichever failure group is
    lost; a checkpoint counts again when the cameras it was counted through are lost and it is not.

    **Best candidate.** Fewest reasons, then assigned, then nearest, then by code. Its first
    reason is the primary one. When everything near already counts and is too little, or nothing
    is near, the reason is ``none``.

    Examples
    --------
    A face camera 22 m west of a junction and looking at it, with pixels for 26 m; it is offline.

    >>> byte, number = np.ones(1, np.uint8), np.ones(1)
    >>> device = DeviceTable(
    ...     ["camera"],
    ...     ["C1"],
    ...     np.array([[113.19976, 35.2]]),
    ...     functions=byte,
    ...     directions=byte * 0,
    ...     lifecycle=byte * IN_USE,
    ...     state=byte * OFFLINE,
    ...     stale=byte < 1,
    ...     azimuth_deg=number * 90,
    ...     opening_deg=number * 30,
    ...     range_m=number * np.nan,
    ...     near_m=number * np.nan,
    ...     h_pixels=number * 3500,
    ...     assigned=-np.ones(1, int),
    ...     installation=-np.ones(1, int),
    ...     group=-np.ones(1, int),
    ... )
    >>> point = PointTable(["J1"], np.array([[113.2, 35.2]]), {}, [(Need("face"),)])
    >>> found = assess(point, device, Parameters(), Frame(4547))
    >>> STATUSES[found.status[0]], found.explain(0)[0].candidates[0].reasons
    ('uncovered', ('offline',))
    >>> STATUSES[found.restated(byte * IN_USE, byte * ONLINE, byte < 1).status[0]]
    'covered'
    """
    if np.any(devices.assigned >= len(points)) or np.any(devices.installation >= len(devices)):
        raise ValueError("a device refers to a control point or checkpoint that is not there")
    xy = frame.to_metres(points.lonlat)
    scene = _Scene(
        points,
        devices,
        parameters,
        frame,
        Sites.of(xy, _shapes(points, frame)),
        _Gear.of(devices, parameters, frame),
        _Units.of(points, parameters),
    )
    return _concluded(scene, _candidates(scene))


def _shapes(points: PointTable, frame: Frame) -> dict[int, shapely.Geometry]:
    polygons = np.array(list(points.shape.values()), dtype=object)
    if not len(polygons):
        return {}
    metric = shapely.transform(polygons, frame.to_metres)
    return dict(zip(points.shape, metric, strict=True))


def _candidates(scene: _Scene) -> _Candidates:
    """Return the candidates of every unit, each with all it lacks."""
    devices, gear, units = scene.devices, scene.gear, scene.units
    assigned_rows = np.flatnonzero(devices.assigned >= 0)
    site, device = pairs(
        scene.sites,
        gear.xy,
        gear.farthest_m(units, scene.parameters),
        (devices.assigned[assigned_rows].astype(np.int64), assigned_rows),
    )
    views = _looked_at(scene, site, device)

    # From pairs of point and device to candidates of units: the pairs of its point for each
    # unit, some units at a time so that memory stays bounded.
    counts = np.bincount(site, minlength=len(scene.points))
    starts, counts = (np.cumsum(counts) - counts)[units.point], counts[units.point]
    block = np.cumsum(counts) // _BLOCK
    edges = np.flatnonzero(np.diff(block, prepend=-1, append=-1))
    parts = []
    for first, last in pairwise(edges.tolist()):
        row, _, pair = _spread(counts[first:last], starts[first:last])
        parts.append(_tested(scene, row + first, device[pair], *(view[pair] for view in views)))
    columns = zip(*parts, strict=True) if parts else ((np.empty(0, kind),) for kind in _KINDS)
    return _Candidates(*(np.concatenate(column) for column in columns))


def _tested(
    scene: _Scene, unit: Ints, device: Ints, d: Floats, seen: Floats, seen_all: Floats
) -> tuple[Ints, Ints, Floats, Bools, Bytes]:
    """Return the columns of `_Candidates` for those rows that are candidates."""
    devices, gear, units, parameters = scene.devices, scene.gear, scene.units, scene.parameters
    assigned = devices.assigned[device] == units.point[unit]
    has_function = devices.functions[device] & units.function[unit] != 0
    wanted = units.direction[unit]
    serves = (wanted == 0) | (devices.directions[device] & wanted != 0)
    density = units.density[unit]
    range_m, basis = gear.range(device, density, assigned, parameters)

    looked = np.where(basis == 2, seen_all, seen)
    here = d < _ALWAYS_WITHIN_M
    too_far = ~here & (d > range_m)
    out_of_view = ~here & (np.isinf(looked) | (~too_far & (looked > range_m)))
    reached = ~too_far & ~out_of_view
    # A NaN on either side means that nothing is known or demanded, and compares as false.
    pixels = gear.pixels_at_1m[device]
    too_coarse = reached & ~here & (basis == 0) & (pixels < density * looked * (1 - 1e-12))

    reasons = (
        devices.state_bits[device]
        | bit(~has_function, WRONG_FUNCTION)
        | bit(~serves, WRONG_DIRECTION)
        | bit(too_far, TOO_FAR)
        | bit(out_of_view, OUT_OF_VIEW)
        | bit(too_coarse, TOO_COARSE)
    )
    near = has_function & (d <= parameters.search_m)
    kept = np.flatnonzero(assigned | reached | near)
    return unit[kept], device[kept], d[kept], assigned[kept], reasons[kept]


def _looked_at(scene: _Scene, site: Ints, device: Ints) -> tuple[Floats, Floats, Floats]:
    """Return for pairs: distance, distance of what is seen, and the same when looking all round."""
    gear, sites = scene.gear, scene.sites
    xy, near = gear.xy[device], gear.near_m[device]
    distance = sites.distance(site, xy)
    seen_all = seen_all_round(sites, site, xy, distance, near)
    seen = seen_all.copy()
    one_way = np.flatnonzero(~np.isnan(gear.azimuth_deg[device]))
    if len(one_way):
        rows = device[one_way]
        seen[one_way] = seen_in_sector(
            sites,
            site[one_way],
            xy[one_way],
            seen_all[one_way],
            near[one_way],
            _bearings(scene, rows),
            gear.opening_deg[rows],
        )
    return distance, seen, seen_all


def _bearings(scene: _Scene, device: Ints) -> Floats:
    """Return the grid bearing of the middle of the view of device rows."""
    bearing = np.full(len(scene.devices), np.nan)
    needed = np.zeros(len(bearing), np.bool_)
    needed[device] = True
    rows = np.flatnonzero(needed)
    convergence = scene.frame.convergence_deg(scene.devices.lonlat[rows])
    bearing[rows] = scene.gear.azimuth_deg[rows] - convergence
    return bearing[device]


def _concluded(scene: _Scene, rows: _Candidates) -> Assessment:
    """Return what follows from the candidates and what they lack."""
    units, u = scene.units, len(scene.units)
    passing = np.flatnonzero(rows.reasons == 0)
    tally = _tally(scene, rows, passing)
    counting = np.zeros(len(rows.unit), np.bool_)
    counting[passing[tally.effective]] = True

    met = tally.count >= units.working
    backed_up = met & (tally.least_left >= units.working)
    reason_count = np.zeros((u, len(REASONS)), np.int64)
    for code in range(NONE):
        failing = rows.reasons & np.uint8(1 << code) != 0
        reason_count[:, code] = np.bincount(rows.unit[failing], minlength=u)

    eligible = np.flatnonzero(np.where(met[rows.unit], counting, rows.reasons != 0))
    best_row = _best(scene.devices, rows, eligible, u)
    chosen = np.flatnonzero(best_row >= 0)
    best, best_distance = np.full(u, -1, np.int64), np.full(u, np.nan)
    best_reasons, primary = np.zeros(u, np.uint8), np.full(u, MET, np.int8)
    best[chosen] = rows.device[best_row[chosen]]
    best_distance[chosen] = rows.distance_m[best_row[chosen]]
    best_reasons[chosen] = rows.reasons[best_row[chosen]]
    primary[~met] = NONE
    wanting = chosen[~met[chosen]]
    lowest = best_reasons[wanting] & -best_reasons[wanting].astype(np.int16)
    primary[wanting] = np.log2(lowest).astype(np.int8)
    nobody = np.flatnonzero(primary == NONE)
    if len(nobody):
        reason_count[nobody, NONE] = 1
        found, best_distance[nobody] = _nearest_other(scene, rows, nobody)
        best[nobody] = found
        at = nobody[found >= 0]
        best_reasons[at] = _lacks(scene, at, best[at], best_distance[at])

    n = len(scene.points)
    needs = np.diff(units.start)
    met_needs = np.bincount(units.point[met], minlength=n)
    backed_needs = np.bincount(units.point[backed_up], minlength=n)
    status = np.where(met_needs > 0, PARTIAL, UNCOVERED)
    status = np.where(met_needs == needs, COVERED, status)
    status = np.where((backed_needs == needs) & (needs > 0), BACKED_UP, status)
    return Assessment(
        status=status.astype(np.uint8),
        no_requirement=needs == 0,
        unit_point=units.point,
        unit_need=units.need,
        unit_start=units.start,
        met=met,
        backed_up=backed_up,
        count=tally.count,
        groups=tally.groups,
        candidates=np.bincount(rows.unit, minlength=u),
        reason_count=reason_count,
        primary=primary,
        best=best,
        best_distance_m=best_distance,
        best_reasons=best_reasons,
        _scene=scene,
        _rows=rows,
        _counting=counting,
    )


@dataclass(frozen=True, eq=False)
class _Tally:
    """Counting devices of all units."""

    effective: Bools
    """Shape (k,) of the passing rows: not a checkpoint counted through its cameras."""
    count: Ints
    groups: Ints
    least_left: Ints
    """Shape (u,): what is left after losing the failure group that takes most."""


def _tally(scene: _Scene, rows: _Candidates, passing: Ints) -> _Tally:
    devices, u, m = scene.devices, len(scene.units), max(len(scene.devices), 1)
    unit, device = rows.unit[passing], rows.device[passing]
    # Renumbered, so that numbers of any size fit into keys; whoever is alone gets its own.
    group = np.where(devices.group[device] < 0, -1 - device, devices.group[device])
    group = np.unique(group, return_inverse=True)[1]

    # Checkpoints are stood for by their own cameras that pass in the same unit.
    of = np.where(devices.is_checkpoint[device], -1, devices.installation[device])
    part = np.flatnonzero(of >= 0)
    part_key = unit[part] * m + of[part]
    key = unit * m + device
    is_checkpoint = devices.is_checkpoint[device]
    represented = np.zeros(len(passing), np.bool_)
    if len(part) and is_checkpoint.any():
        checkpoints = np.flatnonzero(is_checkpoint)
        represented[checkpoints] = np.isin(key[checkpoints], part_key)
    effective = ~represented
    count = np.bincount(unit[effective], minlength=u)

    width = int(group.max(initial=0)) + 1
    cells, lost = np.unique(unit[effective] * width + group[effective], return_counts=True)
    back = np.zeros(len(cells), np.int64)
    if represented.any():
        # A checkpoint whose cameras all fail with one group is itself counted again after it.
        keys, which = np.unique(part_key, return_inverse=True)
        low, high = np.full(len(keys), width), np.full(len(keys), -1)
        np.minimum.at(low, which, group[part])
        np.maximum.at(high, which, group[part])
        stood_for = np.flatnonzero(represented)
        place = np.searchsorted(keys, key[stood_for])
        returns = (low[place] == high[place]) & (low[place] != group[stood_for])
        cell = unit[stood_for[returns]] * width + low[place[returns]]
        np.add.at(back, np.searchsorted(cells, cell), 1)
    cell_unit = cells // width
    least_left = np.zeros(u, np.int64)
    least_left[cell_unit] = np.iinfo(np.int64).max
    np.minimum.at(least_left, cell_unit, count[cell_unit] - lost + back)
    return _Tally(effective, count, np.bincount(cell_unit, minlength=u), least_left)


def _best(devices: DeviceTable, rows: _Candidates, eligible: Ints, units: int) -> Ints:
    """Return the row of the best of the eligible candidates of every unit, -1 without any."""
    reasons, assigned = rows.reasons[eligible], rows.assigned[eligible]
    left = _leading(rows, eligible, _FAILS[reasons] * np.int64(2) + ~assigned)
    left = _leading(rows, left, rows.distance_m[left])
    left = _leading(rows, left, devices.rank[rows.device[left]])
    best = np.full(units, -1, np.int64)
    best[rows.unit[left]] = left
    return best


def _leading(rows: _Candidates, left: Ints, values: Ints | Floats) -> Ints:
    """Return those of the rows `left` that have the least value of their unit."""
    unit = rows.unit[left]
    if not len(unit):
        return left
    first = np.flatnonzero(np.diff(unit, prepend=-1))
    least = np.minimum.reduceat(values, first)
    leads = values == np.repeat(least, np.diff(np.append(first, len(unit))))
    return np.asarray(left[leads])


def _nearest_other(scene: _Scene, rows: _Candidates, unit: Ints) -> tuple[Ints, Floats]:
    """Return the nearest device with the function that is no candidate, and its distance.

    The nearest to the site's point gives a distance within which the answer must lie; all within
    it are measured to the site itself, and ties are broken by code.
    """
    units, sites, gear = scene.units, scene.sites, scene.gear
    devices, m = scene.devices, max(len(scene.devices), 1)
    found, distance = np.full(len(unit), -1, np.int64), np.full(len(unit), np.nan)
    mine = np.isin(rows.unit, unit)
    taken = rows.unit[mine] * m + rows.device[mine]
    already = np.bincount(rows.unit[mine], minlength=len(units))[unit]
    for function in np.unique(units.function[unit]):
        all_able = np.flatnonzero(devices.functions & function)
        if not len(all_able):
            continue
        stacked = _place_in_stack(gear.xy[all_able], devices.rank[all_able])
        for size in np.unique(already[units.function[unit] == function]):
            # Of devices in one place only the first by code can be the answer, one more for
            # each that is a candidate already.
            able = all_able[stacked <= size]
            tree = cKDTree(gear.xy[able])
            asked = np.flatnonzero((units.function[unit] == function) & (already == size))
            site = units.point[unit[asked]]
            k = min(int(size) + 1, len(able))
            _, near = tree.query(sites.xy[site], k=np.arange(1, k + 1))
            free = ~np.isin(unit[asked][:, np.newaxis] * m + able[near], taken)
            some = np.flatnonzero(free.any(axis=1))
            if not len(some):
                continue
            asked, site = asked[some], site[some]
            first = able[near[some, np.argmax(free[some], axis=1)]]
            bound = sites.distance(site, gear.xy[first]) + sites.radius_m[site]
            lists = tree.query_ball_point(sites.xy[site], bound * (1 + 1e-9) + 1e-6)
            row = np.repeat(np.arange(len(asked)), [len(one) for one in lists])
            device = able[flat(lists)]
            fresh = ~np.isin(unit[asked[row]] * m + device, taken)
            row, device = row[fresh], device[fresh]
            away = sites.distance(site[row], gear.xy[device])
            order = np.lexsort((devices.rank[device], away, row))
            _, top = np.unique(row[order], return_index=True)
            found[asked[row[order][top]]] = device[order][top]
            distance[asked[row[order][top]]] = away[order][top]
    return found, distance


def _place_in_stack(xy: Floats, rank: Ints) -> Ints:
    """Return for each device how many in exactly its place come before it."""
    order = np.lexsort((rank, xy[:, 1], xy[:, 0]))
    new = np.append(True, (np.diff(xy[order], axis=0) != 0).any(axis=1))
    first = np.flatnonzero(new)[np.cumsum(new) - 1]
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order)) - first
    return place


def _lacks(scene: _Scene, unit: Ints, device: Ints, distance: Floats) -> Bytes:
    """Return what devices lack that are too far to be candidates."""
    devices, units = scene.devices, scene.units
    wanted = units.direction[unit]
    serves = (wanted == 0) | (devices.directions[device] & wanted != 0)
    range_m, _ = scene.gear.range(
        device, units.density[unit], np.zeros(len(unit), np.bool_), scene.parameters
    )
    _, seen, _ = _looked_at(scene, units.point[unit], device)
    too_far = distance > range_m
    hidden = np.isinf(seen) | (~too_far & (seen > range_m))
    return (
        devices.state_bits[device]
        | bit(~serves, WRONG_DIRECTION)
        | bit(too_far, TOO_FAR)
        | bit(hidden, OUT_OF_VIEW)
    )


def _candidates_explained(
    scene: _Scene, rows: _Candidates, counting: Bools
) -> tuple[Candidate, ...]:
    devices, gear, units = scene.devices, scene.gear, scene.units
    device = rows.device
    if not len(device):
        return ()
    point = units.point[rows.unit]
    range_m, basis = gear.range(device, units.density[rows.unit], rows.assigned, scene.parameters)
    towards = scene.sites.xy[point] - gear.xy[device]
    convergence = scene.frame.convergence_deg(devices.lonlat[device])
    bearing = (np.degrees(np.arctan2(towards[:, 0], towards[:, 1])) + convergence) % 360.0
    off = off_axis_deg(towards, gear.azimuth_deg[device] - convergence)
    close = np.hypot(towards[:, 0], towards[:, 1]) < _ALWAYS_WITHIN_M
    off[close | (basis == 2)] = np.nan
    bearing[close] = np.nan
    with np.errstate(divide="ignore"):
        pixels = gear.pixels_at_1m[device] / rows.distance_m
    pixels[np.isinf(pixels)] = np.nan
    return tuple(
        Candidate(
            row,
            devices.kind[row],
            devices.code[row],
            float(rows.distance_m[place]),
            _known(bearing[place]),
            _known(off[place]),
            float(range_m[place]),
            RANGE_BASES[basis[place]],
            _known(pixels[place]),
            bool(rows.assigned[place]),
            bool(counting[place]),
            bool(rows.reasons[place] == 0 and not counting[place]),
            reasons_of(int(rows.reasons[place])),
        )
        for place, row in enumerate(device.tolist())
    )


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)

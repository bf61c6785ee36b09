"""Which control points are covered, which are not, and why not.

Promises the same answer for the same facts, in whatever order the devices come, and a reason for
everything that does not count. Absence of a fact never counts in favour of coverage. Refuses
tables whose rows refer to rows that are not there.

A *unit* is one need of one control point. Its *candidates* are the devices assigned to the point,
those that can see it, and those with the needed function within `Parameters.search_m`. A
candidate counts when it passes every test of `REASONS`. Everything is computed on columns, in the
metres of one frame. The words and tables come from `app.geo.coverage.tables` and can be had from here.
"""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from app.geo.arrays import Bools, Bytes, Floats, Ints
from app.geo.coverage.candidates import FAILS, Candidates
from app.geo.coverage.context import Scene, as_before
from app.geo.coverage.status import Foremost, candidates_explained, foremost, statuses, tallied
from app.geo.coverage.tables import (
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
    Roadside,
    UnitExplained,
    reasons_of,
)
from app.geo.projection.local_projection import Frame
from app.geo.visibility.line_of_sight import Sight

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
    "Roadside",
    "UnitExplained",
    "assess",
    "reasons_of",
]


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
    _scene: Scene = field(repr=False)
    _rows: Candidates = field(repr=False)
    _counting: Bools = field(repr=False)

    @property
    def devices(self) -> DeviceTable:
        """The devices as they are in this assessment."""
        return self._scene.devices

    @property
    def counting(self) -> tuple[Ints, Ints]:
        """Unit and device of every candidate that counts, sorted by unit."""
        rows = np.flatnonzero(self._counting)
        return self._rows.unit[rows], self._rows.device[rows]

    @property
    def judged(self) -> tuple[Ints, Ints]:
        """Unit and device of every candidate, sorted by unit."""
        return self._rows.unit, self._rows.device

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
                FAILS[rows.reasons[first:last]],
            )
        )
        of = replace(rows, **{name: getattr(rows, name)[order] for name in vars(rows)})
        primary = int(self.primary[unit])
        nearest: tuple[Candidate, ...] = ()
        if primary == NONE and self.best[unit] >= 0:
            lone = slice(unit, unit + 1)
            other = Candidates(
                np.array([unit]),
                self.best[lone],
                self.best_distance_m[lone],
                np.zeros(1, np.bool_),
                self.best_reasons[lone],
            )
            nearest = candidates_explained(scene, other, np.zeros(1, np.bool_))
        return UnitExplained(
            need,
            bool(self.met[unit]),
            bool(self.backed_up[unit]),
            int(self.count[unit]),
            int(self.groups[unit]),
            None if primary == MET else REASONS[primary],
            candidates_explained(scene, of, self._counting[order]),
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
        scene, rows = replace(self._scene, devices=devices), self._rows.restated(devices)
        before = Foremost(self.reason_count, self.primary, self.best, self.best_distance_m, self.best_reasons)
        return _concluded(scene, rows, before)


def assess(
    points: PointTable,
    devices: DeviceTable,
    parameters: Parameters,
    frame: Frame,
    roadside: Roadside | None = None,
    sight: Sight | None = None,
    before: Assessment | None = None,
) -> Assessment:
    """Return which control points are covered, and what is missing where they are not.

    Parameters
    ----------
    points : PointTable
    devices : DeviceTable
    parameters : Parameters
    frame : Frame
        Where distances are measured.
    roadside : Roadside, optional
        For points that are places on roads.
    sight : Sight, optional
        Buildings that may stand in the way, and views drawn by hand.
    before : Assessment, optional
        An earlier one. Where it is of the very same points, parameters and buildings, only devices
        that changed are looked at again; the outcome is the same.

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
    (`app.geo.visibility.field_of_view.range_for_density`); else, for a device assigned to the point,
    `Parameters.assigned_range_m` all round, because a person says that it watches the place; else
    `Parameters.assumed_range_m`. A checkpoint has no optics. Below one metre everything is
    reached. An area is reached when any place of it lies in the view.

    **Tests**, in the order of `REASONS`: ``not_in_use``; ``offline``, also when faulty; ``stale``,
    also when unknown; ``wrong_function``; ``wrong_direction``; ``too_far``, beyond the range;
    ``out_of_view``, outside the sector, nearer than the near limit or behind a building;
    ``too_coarse``, within view but with fewer pixels than demanded, which only a stated range can
    lead to.

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
    scene = Scene.of(points, devices, parameters, frame, roadside, sight)
    was = None if before is None else as_before(scene, before._scene)
    if before is None or was is None:
        return _concluded(scene, Candidates.of(scene))
    return _concluded(scene, Candidates.renewed(scene, before._rows, was))


def _concluded(scene: Scene, rows: Candidates, before: Foremost | None = None) -> Assessment:
    """Return what follows from the candidates and what they lack."""
    units = scene.units
    tally = tallied(scene, rows)
    first = foremost(scene, rows, tally, before)
    return Assessment(
        status=statuses(units, tally),
        no_requirement=np.diff(units.start) == 0,
        unit_point=units.point,
        unit_need=units.need,
        unit_start=units.start,
        met=tally.met,
        backed_up=tally.backed_up,
        count=tally.count,
        groups=tally.groups,
        candidates=np.bincount(rows.unit, minlength=len(units)),
        reason_count=first.reason_count,
        primary=first.primary,
        best=first.best,
        best_distance_m=first.best_distance_m,
        best_reasons=first.best_reasons,
        _scene=scene,
        _rows=rows,
        _counting=tally.counting,
    )

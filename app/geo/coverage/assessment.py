"""Assessment of coverage: which control points are covered, which are not, and why.

The same facts give the same result, in whatever order the devices come, and everything that does not count has a
reason. A missing fact never counts in favour of coverage.

The *candidates* of a need are the devices that are assigned to the point, those that see it, and those with the needed
function within `Parameters.search_m`. A candidate counts if it passes every test of `REASONS`. Everything is computed
on columns, in the metres of one local projection. The names of `app.geo.coverage.tables` are available here as well.
"""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from app.geo.arrays import Bools, Bytes, Floats, Ints
from app.geo.coverage.candidates import Candidates
from app.geo.coverage.context import CoverageContext, match_unchanged_devices
from app.geo.coverage.status import (
    BestCandidates,
    compute_statuses,
    count_devices,
    explain_candidates,
    find_best_candidates,
)
from app.geo.coverage.tables import (
    BACKED_UP,
    COVERED,
    DEFAULT_DENSITY,
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
    DeviceTable,
    ExplainedCandidate,
    ExplainedNeed,
    Need,
    Parameters,
    PointTable,
    ReasonSets,
    Roadside,
    name_reasons,
)
from app.geo.projection.local_projection import LocalProjection
from app.geo.visibility.line_of_sight import LinesOfSight

__all__ = [
    "BACKED_UP",
    "COVERED",
    "DEFAULT_DENSITY",
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
    "DeviceTable",
    "ExplainedCandidate",
    "ExplainedNeed",
    "Need",
    "Parameters",
    "PointTable",
    "Roadside",
    "assess_coverage",
    "name_reasons",
]


@dataclass(frozen=True, eq=False)
class Assessment:
    """Coverage of all control points; n points, u needs in the order of points and their needs."""

    status: Bytes
    """Shape (n,), indices in `STATUSES`."""
    no_requirement: Bools
    """Shape (n,): the point has no needs, and is covered only in this sense."""
    need_point: Ints
    """Shape (u,): row of the control point."""
    need_index: Ints
    """Shape (u,): index of the need among the point's needs."""
    need_start: Ints
    """Shape (n + 1,): needs of point i are ``need_start[i]:need_start[i + 1]``."""
    met: Bools
    """Shape (u,)."""
    backed_up: Bools
    """Shape (u,): met whichever single failure group fails."""
    count: Ints
    """Shape (u,): devices that count."""
    groups: Ints
    """Shape (u,): failure groups among them."""
    candidate_count: Ints
    """Shape (u,): number of candidates."""
    reason_count: Ints
    """Shape (u, 9): candidates by reason, in the order of `REASONS`; the last is 1 if the first reason is ``none``."""
    primary: NDArray[np.int8]
    """Shape (u,): code of the reason to name first, `MET` if the need is met."""
    best: Ints
    """Shape (u,): device row of the best candidate: among those that count if the need is met, otherwise among those
    that do not; with reason ``none`` the nearest other device with the function; -1: none."""
    best_distance_m: Floats
    """Shape (u,): its distance, NaN without one."""
    best_reasons: ReasonSets
    """Shape (u,): set of its reasons, see `name_reasons`."""
    _context: CoverageContext = field(repr=False)
    _candidates: Candidates = field(repr=False)
    _counting: Bools = field(repr=False)

    @property
    def devices(self) -> DeviceTable:
        """The devices with the states of this assessment."""
        return self._context.devices

    @property
    def counting_pairs(self) -> tuple[Ints, Ints]:
        """Need and device of every candidate that counts, sorted by need."""
        rows = np.flatnonzero(self._counting)
        return self._candidates.need[rows], self._candidates.device[rows]

    @property
    def candidate_pairs(self) -> tuple[Ints, Ints]:
        """Need and device of every candidate, sorted by need."""
        return self._candidates.need, self._candidates.device

    def explain_point(self, point: int) -> tuple[ExplainedNeed, ...]:
        """Return every need of one control point with every candidate explained.

        Parameters
        ----------
        point : int
            Row of the control point.

        Returns
        -------
        tuple of ExplainedNeed
            In the order of the needs; empty for a point without any.

        Raises
        ------
        IndexError
            No such row.
        """
        if not 0 <= point < len(self.status):
            raise IndexError(f"no control point in row {point}: rows are 0 to {len(self.status) - 1}")
        needs = range(int(self.need_start[point]), int(self.need_start[point + 1]))
        return tuple(self._explain_need(need) for need in needs)

    def _explain_need(self, need: int) -> ExplainedNeed:
        context, candidates = self._context, self._candidates
        first, last = np.searchsorted(candidates.need, [need, need + 1])
        rows = slice(first, last)
        order = first + np.lexsort(
            (
                context.devices.rank[candidates.device[rows]],
                candidates.distance_m[rows],
                ~candidates.assigned[rows],
                np.bitwise_count(candidates.reasons[rows]),
            )
        )
        primary = int(self.primary[need])
        nearest: tuple[ExplainedCandidate, ...] = ()
        if primary == NONE and self.best[need] >= 0:
            row, not_assigned = slice(need, need + 1), np.zeros(1, np.bool_)
            nearest_other = Candidates(
                np.array([need]), self.best[row], self.best_distance_m[row], not_assigned, self.best_reasons[row]
            )
            nearest = explain_candidates(context, nearest_other, np.zeros(1, np.bool_))
        return ExplainedNeed(
            need=context.points.needs[int(self.need_point[need])][int(self.need_index[need])],
            met=bool(self.met[need]),
            backed_up=bool(self.backed_up[need]),
            count=int(self.count[need]),
            groups=int(self.groups[need]),
            primary=None if primary == MET else REASONS[primary],
            candidates=explain_candidates(context, candidates.select_rows(order), self._counting[order]),
            nearest=nearest[0] if nearest else None,
        )

    def with_device_states(self, lifecycle: Bytes, state: Bytes, stale: Bools) -> "Assessment":
        """Return the assessment after lifecycle or state of devices changed, and nothing else.

        The result equals that of `assess_coverage` and takes a small part of the time: distances and views stay.

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
        before = self._context.devices
        devices = replace(before, lifecycle=lifecycle, state=state, stale=stale)
        for name in ("is_checkpoint", "rank"):  # cached properties that do not depend on what changed
            if name in vars(before):
                vars(devices)[name] = vars(before)[name]
        context = replace(self._context, devices=devices)
        best = BestCandidates(self.reason_count, self.primary, self.best, self.best_distance_m, self.best_reasons)
        return _build_assessment(context, self._candidates.with_device_states(devices), best)


def assess_coverage(
    points: PointTable,
    devices: DeviceTable,
    parameters: Parameters,
    projection: LocalProjection,
    roadside: Roadside | None = None,
    visibility: LinesOfSight | None = None,
    before: Assessment | None = None,
) -> Assessment:
    """Return which control points are covered, and what is missing where they are not.

    Parameters
    ----------
    points : PointTable
    devices : DeviceTable
    parameters : Parameters
    projection : LocalProjection
        The projection in which distances are measured.
    roadside : Roadside, optional
        For points that are locations on roads.
    visibility : LinesOfSight, optional
        Buildings that can block views, and view polygons that units registered.
    before : Assessment, optional
        An earlier one. If it has the same objects as points, parameters and buildings, only devices that changed are
        computed again; the result is the same.

    Returns
    -------
    Assessment

    Raises
    ------
    InvalidShape
        A location that is not valid, or out of the projection's reach.
    TooLarge
        More pairs of point and device are within reach than can be compared.
    ValueError
        A reference to a row that does not exist.

    Notes
    -----
    **View.** A camera with an azimuth looks into a sector, of `Parameters.assumed_opening_deg` if it states no opening;
    without an azimuth, or with an opening of 360, it looks all round. Its range is the stated one; otherwise it is
    derived from pixels, opening and the density of the need (`app.geo.visibility.field_of_view.range_for_density`);
    otherwise, for a device assigned to the point, it is `Parameters.assigned_range_m` all round, because a person
    decided that it covers the point; otherwise `Parameters.assumed_range_m`. A checkpoint has no optics. Below one
    metre everything is reached. An area is reached if any point of it is in the view.

    **Tests**, in the order of `REASONS`: ``not_in_use``; ``offline``, also with a fault; ``stale``, also in an unknown
    state; ``wrong_function``; ``wrong_direction``; ``too_far``, beyond the range; ``out_of_view``, outside the sector,
    nearer than the near limit or behind a building; ``too_coarse``, in view but with fewer pixels than needed, which
    only a stated range can cause.

    **Counting.** A checkpoint does not count in addition to its own cameras. A need is met by `Need.working` counting
    devices, and backed up if it stays met whichever failure group fails; a checkpoint counts again if the cameras that
    represent it fail and it does not.

    **Best candidate.** Fewest reasons, then assigned, then nearest, then by code. Its first reason is the primary one.
    If all candidates count and are too few, or there is no candidate, the reason is ``none``.

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
    >>> assessment = assess_coverage(point, device, Parameters(), LocalProjection(4547))
    >>> STATUSES[assessment.status[0]], assessment.explain_point(0)[0].candidates[0].reasons
    ('uncovered', ('offline',))
    >>> STATUSES[assessment.with_device_states(byte * IN_USE, byte * ONLINE, byte < 1).status[0]]
    'covered'
    """
    if np.any(devices.assigned >= len(points)) or np.any(devices.installation >= len(devices)):
        raise ValueError("a device refers to a control point or checkpoint that is not there")
    context = CoverageContext.from_tables(points, devices, parameters, projection, roadside, visibility)
    earlier_row = None if before is None else match_unchanged_devices(context, before._context)
    if before is None or earlier_row is None:
        return _build_assessment(context, Candidates.from_context(context))
    return _build_assessment(context, Candidates.refresh(context, before._candidates, earlier_row))


def _build_assessment(
    context: CoverageContext, candidates: Candidates, before: BestCandidates | None = None
) -> Assessment:
    """Return the assessment that follows from the candidates and their reasons."""
    needs = context.needs
    counts = count_devices(context, candidates)
    best = find_best_candidates(context, candidates, counts, before)
    return Assessment(
        status=compute_statuses(needs, counts),
        no_requirement=np.diff(needs.start) == 0,
        need_point=needs.point,
        need_index=needs.index,
        need_start=needs.start,
        met=counts.met,
        backed_up=counts.backed_up,
        count=counts.count,
        groups=counts.groups,
        candidate_count=np.bincount(candidates.need, minlength=len(needs)),
        reason_count=best.reason_count,
        primary=best.primary,
        best=best.best,
        best_distance_m=best.best_distance_m,
        best_reasons=best.best_reasons,
        _context=context,
        _candidates=candidates,
        _counting=counts.counting,
    )

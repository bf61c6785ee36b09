"""Candidates: the devices that are considered for each need, and what disqualifies each of them.

A device is a candidate if it is assigned to the control point, if it sees the point, or if it has the function and is
within `Parameters.search_m`. Each candidate is tested in full: it lists all reasons, not only the first.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Final

import numpy as np
from scipy.spatial import cKDTree

from app.geo.arrays import Bools, Bytes, Floats, Ints, expand_ranges, mark_first
from app.geo.coverage.context import CoverageContext
from app.geo.coverage.tables import (
    OUT_OF_VIEW,
    RANGE_BASES,
    STATE_REASONS,
    TOO_COARSE,
    TOO_FAR,
    WRONG_DIRECTION,
    WRONG_FUNCTION,
    DeviceTable,
    ReasonSets,
    Roadside,
    build_reason_sets,
)
from app.geo.visibility.reach import ALWAYS_WITHIN_M, find_pairs, flatten_lists

BLOCK_ROWS: Final = 2_000_000
"""Pairs of need and device that are tested at a time, so that memory stays bounded."""
_STATED, _ASSIGNED = RANGE_BASES.index("stated"), RANGE_BASES.index("assigned")
_COLUMN_TYPES: Final = (np.int64, np.int64, np.float64, np.bool_, np.uint16)


@dataclass(frozen=True, eq=False)
class NeedPairs:
    """Pairs of a need and a device with what is measured between them; k rows."""

    context: CoverageContext
    need: Ints
    device: Ints
    distance_m: Floats
    visible_m: Floats
    """Distance of the nearest visible point of the site, infinite if none is visible."""
    visible_all_round_m: Floats
    """The same if the device looked all round."""
    assigned: Bools

    @cached_property
    def point(self) -> Ints:
        """Row of the control point."""
        return self.context.needs.point[self.need]

    @cached_property
    def density(self) -> Floats:
        """Required pixel density, NaN if pixels do not matter."""
        return self.context.needs.density[self.need]

    @cached_property
    def range_and_basis(self) -> tuple[Floats, Bytes]:
        """Range in metres, and its basis (index in `RANGE_BASES`)."""
        return self.context.optics.compute_range(self.device, self.density, self.assigned, self.context.parameters)

    @cached_property
    def seen_m(self) -> Floats:
        """Distance of the nearest visible point; a device with an assigned range looks all round."""
        return np.where(self.range_and_basis[1] == _ASSIGNED, self.visible_all_round_m, self.visible_m)

    @cached_property
    def always_reached(self) -> Bools:
        """Whether the device is so near that it reaches the point in any case."""
        # The site of a road passage is long: a device on it still has to see some of it well enough.
        return (self.distance_m < ALWAYS_WITHIN_M) & (self.context.roadside is None)

    @cached_property
    def has_function(self) -> Bools:
        """Whether the device has the function of the need."""
        common = self.context.devices.functions[self.device] & self.context.needs.function[self.need]
        return np.asarray(common != 0)

    @cached_property
    def too_far(self) -> Bools:
        """Whether the site is beyond the range."""
        return ~self.always_reached & (self.distance_m > self.range_and_basis[0])

    @cached_property
    def out_of_view(self) -> Bools:
        """Whether no point of the site within range is visible."""
        beyond_range = ~self.too_far & (self.seen_m > self.range_and_basis[0])
        return ~self.always_reached & (np.isinf(self.seen_m) | beyond_range)

    @cached_property
    def reached(self) -> Bools:
        """Whether the device sees some point of the site within its range."""
        return ~self.too_far & ~self.out_of_view

    @cached_property
    def off_road(self) -> Bools | None:
        """Whether the device is on another road than the point; None if points are not on roads."""
        roadside = self.context.roadside
        return None if roadside is None else roadside.device_road[self.device] != roadside.road[self.point]

    def find_reasons(self) -> ReasonSets:
        """Return what disqualifies the device of each pair: its state, and every test of `PAIR_TESTS`."""
        failures = build_reason_sets([(code, test(self)) for code, test in PAIR_TESTS])
        return self.context.devices.state_reasons[self.device] | failures


def is_wrong_function(pairs: NeedPairs) -> Bools:
    """Return which devices lack the function of the need."""
    return ~pairs.has_function


def is_wrong_direction(pairs: NeedPairs) -> Bools:
    """Return which devices do not serve the direction of the need, or look across the road of the point."""
    direction = pairs.context.needs.direction[pairs.need]
    is_wrong: Bools = (direction != 0) & (pairs.context.devices.directions[pairs.device] & direction == 0)
    if pairs.context.roadside is not None:
        is_wrong |= (direction != 0) & _looks_across(pairs, pairs.context.roadside)
    return is_wrong


def _looks_across(pairs: NeedPairs, roadside: Roadside) -> Bools:
    """Return which devices look across the road of the point; a device that looks all round does not."""
    off_axis = np.abs((pairs.context.optics.azimuth_deg[pairs.device] - roadside.axis_deg[pairs.point]) % 180.0)
    across: Bools = np.minimum(off_axis, 180.0 - off_axis) > roadside.max_off_axis_deg  # NaN compares as false
    return across


def is_too_coarse(pairs: NeedPairs) -> Bools:
    """Return which devices see the site with fewer pixels than needed; only a stated range can cause that."""
    # NaN on either side means that nothing is known or needed, and compares as false.
    pixels = pairs.context.optics.pixels_at_1m[pairs.device]
    coarse: Bools = pixels < pairs.density * pairs.seen_m * (1 - 1e-12)
    is_stated: Bools = pairs.range_and_basis[1] == _STATED
    return pairs.reached & ~pairs.always_reached & is_stated & coarse


PAIR_TESTS: Final[tuple[tuple[int, Callable[[NeedPairs], Bools]], ...]] = (
    (WRONG_FUNCTION, is_wrong_function),
    (WRONG_DIRECTION, is_wrong_direction),
    (TOO_FAR, lambda pairs: pairs.too_far),
    (OUT_OF_VIEW, lambda pairs: pairs.out_of_view),
    (TOO_COARSE, is_too_coarse),
)
"""What disqualifies a device for a need: reason code and test.
`app.geo.coverage.tables.STATE_TESTS` has the tests that do not depend on the need."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """Candidates of all needs, sorted by need; one row each."""

    need: Ints
    device: Ints
    distance_m: Floats
    assigned: Bools
    reasons: ReasonSets
    """Set of reasons; those of `DeviceTable.state_reasons` included."""

    @classmethod
    def from_context(cls, context: CoverageContext, only: Ints | None = None) -> "Candidates":
        """Return the candidates of every need with their reasons; `only`: among these devices."""
        devices, needs = context.devices, context.needs
        rows = np.arange(len(devices)) if only is None else only
        assigned = np.flatnonzero(devices.assigned[rows] >= 0)
        site, device = find_pairs(
            context.sites,
            context.optics.xy[rows],
            context.optics.farthest_m(needs, context.parameters)[rows],
            (devices.assigned[rows[assigned]].astype(np.int64), assigned),
        )
        device = rows[device]
        views = context.compute_views(site, device)

        # From pairs of point and device to pairs of need and device, some needs at a time.
        counts = np.bincount(site, minlength=len(context.points))
        starts, counts = (np.cumsum(counts) - counts)[needs.point], counts[needs.point]
        block = np.cumsum(counts) // BLOCK_ROWS
        edges = np.flatnonzero(np.diff(block, prepend=-1, append=-1))
        blocks = []
        for first, last in pairwise(edges.tolist()):
            need, _, pair = expand_ranges(counts[first:last], starts[first:last])
            blocks.append(_test_pairs(context, need + first, device[pair], *(view[pair] for view in views)))
        columns = zip(*blocks, strict=True) if blocks else ((np.empty(0, dtype),) for dtype in _COLUMN_TYPES)
        return cls(*(np.concatenate(column) for column in columns))

    @classmethod
    def refresh(cls, context: CoverageContext, before: "Candidates", earlier_row: Ints) -> "Candidates":
        """Return the candidates after some devices changed; those of unchanged devices are taken over.

        Parameters
        ----------
        context : CoverageContext
            Of the same points.
        before : Candidates
        earlier_row : ndarray of int, shape (m,)
            Row of each device in the table of `before`, -1 if it is new or has changed in more than its state.
        """
        fresh = cls.from_context(context, np.flatnonzero(earlier_row < 0))
        current_row = np.full(int(max(earlier_row.max(initial=-1), before.device.max(initial=-1))) + 1, -1, np.int64)
        current_row[earlier_row[earlier_row >= 0]] = np.flatnonzero(earlier_row >= 0)
        device = current_row[before.device]
        unchanged = np.flatnonzero(device >= 0)
        retained = replace(before.select_rows(unchanged), device=device[unchanged]).with_device_states(context.devices)
        columns = [np.concatenate([getattr(retained, name), getattr(fresh, name)]) for name in vars(before)]
        order = np.lexsort((columns[1], columns[0]))
        return cls(*(column[order] for column in columns))

    def select_rows(self, rows: Ints) -> "Candidates":
        """Return some rows, in the order of `rows`."""
        return Candidates(*(column[rows] for column in vars(self).values()))

    def with_device_states(self, devices: DeviceTable) -> "Candidates":
        """Return the same rows after lifecycle or state of devices changed, and nothing else."""
        return replace(self, reasons=replace_state_reasons(self.reasons, devices, self.device))


def replace_state_reasons(reasons: ReasonSets, devices: DeviceTable, device: Ints) -> ReasonSets:
    """Return sets of reasons with the state reasons that devices have now."""
    return (reasons & np.uint16(0xFFFF ^ STATE_REASONS)) | devices.state_reasons[device]


def _test_pairs(
    context: CoverageContext, need: Ints, device: Ints, distance: Floats, visible: Floats, visible_all_round: Floats
) -> tuple[Ints, Ints, Floats, Bools, ReasonSets]:
    """Return the columns of `Candidates` for those pairs that are candidates."""
    assigned = context.devices.assigned[device] == context.needs.point[need]
    pairs = NeedPairs(context, need, device, distance, visible, visible_all_round, assigned)
    is_candidate = pairs.reached | (pairs.has_function & (distance <= context.parameters.search_m))
    if pairs.off_road is not None:
        is_candidate &= ~pairs.off_road
    rows = np.flatnonzero(assigned | is_candidate)
    return need[rows], device[rows], distance[rows], assigned[rows], pairs.find_reasons()[rows]


def find_nearest_devices(context: CoverageContext, candidates: Candidates, need: Ints) -> tuple[Ints, Floats]:
    """Return the nearest device with the function that is not a candidate, and its distance, for some needs.

    Used where no candidate could be made to count. The device may be at any distance; -1 and NaN if there is none.
    """
    needs, devices = context.needs, context.devices
    nearest, distance = np.full(len(need), -1, np.int64), np.full(len(need), np.nan)
    if not len(need):
        return nearest, distance
    m = max(len(devices), 1)
    own = np.isin(candidates.need, need)
    excluded = candidates.need[own] * m + candidates.device[own]
    candidate_count = np.bincount(candidates.need[own], minlength=len(needs))[need]
    function = needs.function[need]
    for function_bit in np.unique(function):
        able = np.flatnonzero(devices.functions & function_bit)
        if not len(able):
            continue
        rank = _rank_at_location(context.optics.xy[able], devices.rank[able])
        for count in np.unique(candidate_count[function == function_bit]):
            # Of the devices at one location only the first by code can be the result, and one more for each that is
            # a candidate already.
            rows = np.flatnonzero((function == function_bit) & (candidate_count == count))
            row, device, away = _search_nearest(context, need[rows], able[rank <= count], int(count) + 1, excluded)
            nearest[rows[row]], distance[rows[row]] = device, away
    return nearest, distance


def _search_nearest(
    context: CoverageContext, need: Ints, able: Ints, neighbours: int, excluded: Ints
) -> tuple[Ints, Ints, Floats]:
    """Return row of the need, device and distance of the nearest of the able devices that is not excluded.

    The device that is nearest to the site's point gives a distance within which the result must be; all devices within
    it are measured to the site itself. Equal distances are ordered by code.

    Parameters
    ----------
    neighbours : int
        Number of devices to look at for each need: one more than are excluded for it.
    excluded : ndarray of int
        Keys of excluded pairs: need times number of devices plus device.
    """
    sites, xy, m = context.sites, context.optics.xy, max(len(context.devices), 1)
    site = context.needs.point[need]
    tree = cKDTree(xy[able])
    _, neighbour = tree.query(sites.xy[site], k=np.arange(1, min(neighbours, len(able)) + 1))
    is_free = ~np.isin(need[:, np.newaxis] * m + able[neighbour], excluded)
    rows = np.flatnonzero(is_free.any(axis=1))
    if not len(rows):
        return rows, rows, np.empty(0)
    site = site[rows]
    first = able[neighbour[rows, np.argmax(is_free[rows], axis=1)]]
    bound = sites.distance(site, xy[first]) + sites.radius_m[site]
    lists = tree.query_ball_point(sites.xy[site], bound * (1 + 1e-9) + 1e-6)
    index = np.repeat(np.arange(len(rows)), [len(items) for items in lists])
    device = able[flatten_lists(lists)]
    is_free = ~np.isin(need[rows[index]] * m + device, excluded)
    index, device = index[is_free], device[is_free]
    away = sites.distance(site[index], xy[device])
    order = np.lexsort((context.devices.rank[device], away, index))
    order = order[mark_first(index[order])]
    return rows[index[order]], device[order], away[order]


def find_reasons_of_others(context: CoverageContext, need: Ints, device: Ints, distance: Floats) -> ReasonSets:
    """Return what disqualifies devices that are not candidates."""
    _, visible, visible_all_round = context.compute_views(context.needs.point[need], device)
    not_assigned = np.zeros(len(need), np.bool_)
    return NeedPairs(context, need, device, distance, visible, visible_all_round, not_assigned).find_reasons()


def _rank_at_location(xy: Floats, rank: Ints) -> Ints:
    """Return for each device how many devices at exactly its location come before it by rank."""
    order = np.lexsort((rank, xy[:, 1], xy[:, 0]))
    is_first = mark_first(xy[order, 0], xy[order, 1])
    first = np.flatnonzero(is_first)[np.cumsum(is_first) - 1]
    rank_at_location = np.empty(len(order), np.int64)
    rank_at_location[order] = np.arange(len(order)) - first
    return rank_at_location

"""Failures: which failure groups open a sealed cordon, alone or in pairs, and the shortest leak of each.

A failure group fails as a whole: all arcs that only it observes open at once, and an arc of several groups opens when
the last of them fails.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from app.geo.arrays import Bools, Floats, Ints
from app.geo.cuts.flow_graph import SINK, FailureGroups, FlowGraph, ShortestPathTree


@dataclass(frozen=True, eq=False)
class GuardedArcs:
    """The observed arcs between the free roads of both sides, numbered from 0.

    A set of guarded arcs is a whole number: bit i represents arc i. The free roads are searched once, however large
    they are; after that every question is answered on the few guarded arcs.
    """

    groups: list[FailureGroups]
    """The failure groups of each arc."""
    entry: int
    """Arcs that the source reaches freely."""
    exit: int
    """Arcs from which the sink is reached freely."""
    onward: list[int]
    """For each arc, the arcs that are reached freely after it."""
    by_groups: dict[FailureGroups, int]
    """The arcs of each distinct set of groups."""
    by_group: dict[int, int]
    """The arcs of each group."""
    is_open: bool
    """Whether the source reaches the sink over no guarded arc at all."""

    @classmethod
    def from_graph(cls, graph: FlowGraph) -> "GuardedArcs":
        """Return the guarded arcs of a flow graph."""
        near_source, near_sink = graph.reached_freely, graph.leads_freely
        tail, head = graph.tail[graph.observed], graph.head[graph.observed]
        relevant = np.flatnonzero(~near_source[head] & ~near_sink[tail])
        tail, head = tail[relevant], head[relevant]
        groups_of = [graph.guard_groups[row] for row in relevant.tolist()]
        by_groups: dict[FailureGroups, int] = {}
        by_group: dict[int, int] = {}
        for index, groups in enumerate(groups_of):
            by_groups[groups] = by_groups.get(groups, 0) | 1 << index
            for group in groups:
                by_group[group] = by_group.get(group, 0) | 1 << index
        return cls(
            groups_of,
            to_bits(np.flatnonzero(near_source[tail])),
            to_bits(np.flatnonzero(near_sink[head])),
            _find_onward_arcs(graph, ~near_source & ~near_sink, tail, head),
            by_groups,
            by_group,
            bool(near_source[SINK]),
        )

    def find_opened(self, failed: FailureGroups) -> int:
        """Return the arcs that are open after these groups have failed."""
        if len(failed) == 1:
            return self.by_groups.get(failed, 0)
        affected, opened = 0, 0
        for group in failed:
            affected |= self.by_group.get(group, 0)
        for index in iter_bits(affected):
            if self.groups[index] <= failed:
                opened |= 1 << index
        return opened

    def find_reached(self, failed: FailureGroups) -> tuple[int, int, bool]:
        """Return the arcs that are reached after a failure, those of them passed, and whether there is a leak."""
        opened = self.find_opened(failed)
        reached, passed = self.entry, 0
        while fresh := reached & opened & ~passed:
            passed |= fresh
            if fresh & self.exit:
                return reached, passed, True
            for index in iter_bits(fresh):
                reached |= self.onward[index]
        return reached, passed, self.is_open

    def find_critical(self) -> list[int]:
        """Return the groups whose failure alone makes a leak, in order; none if there is a leak already."""
        if self.is_open:
            return []
        entry_groups = sorted(
            next(iter(groups)) for groups, arcs in self.by_groups.items() if len(groups) == 1 and arcs & self.entry
        )
        return [group for group in entry_groups if self.find_reached(frozenset({group}))[2]]

    def find_pairs(self, critical: FailureGroups, work: int) -> tuple[set[FailureGroups], bool]:
        """Return the pairs whose common failure makes a leak although neither alone does.

        Parameters
        ----------
        critical : frozenset of int
            Groups that make a leak alone.
        work : int
            Greatest number of pairs to try.

        Returns
        -------
        pairs : set of frozenset
        complete : bool
            Whether all pairs were tried that could make a leak.
        """
        pairs: set[FailureGroups] = set()
        tried: set[FailureGroups] = set()
        for pair in self._iter_promising_pairs(critical):
            if pair in tried:
                continue
            if len(tried) == work:
                return pairs, False
            tried.add(pair)
            if self.find_reached(pair)[2]:
                pairs.add(pair)
        return pairs, True

    def _iter_promising_pairs(self, critical: FailureGroups) -> Iterator[FailureGroups]:
        """Yield the pairs that open an arc of both groups, or one of the first and behind it one of the second.

        This finds all pairs: every path has a last point at which it leaves the nodes that the source reaches freely,
        and the arc there must open.
        """
        if self.is_open:
            return
        for groups, arcs in self.by_groups.items():
            if not arcs & self.entry or len(groups) > 2 or groups & critical:
                continue
            if len(groups) == 2:
                yield groups
                continue
            reached, passed, _ = self.find_reached(groups)
            for index in iter_bits(reached & ~passed & ~self.entry):
                missing = self.groups[index] - groups
                if len(missing) == 1 and not missing & critical:
                    yield groups | missing

    def find_fewest(self, work: int) -> tuple[int, FailureGroups | None, bool]:
        """Return the least number of groups whose common failure makes a leak.

        Returns
        -------
        number : int
            The least number; a lower bound of it if the work limit was reached.
        groups : frozenset of int or None
            Such groups; None if the work limit was reached, or if no failure makes a leak.
        complete : bool
            Whether the number is exact.

        Notes
        -----
        Sets of failed groups are tried by size; each is a smaller set plus what one arc in reach still needs. Two sets
        are equivalent if the same arcs are in reach and the same groups guard arcs that are not passed yet. The number
        of sets can grow exponentially (this is the path of fewest labels, which is NP-hard), hence the limit.
        """
        waiting: dict[int, set[FailureGroups]] = {0: {frozenset()}}
        seen: set[tuple[int, FailureGroups]] = set()
        size = 0
        while waiting:
            size = min(waiting)
            for failed in sorted(waiting.pop(size), key=sorted):
                reached, passed, leaks = self.find_reached(failed)
                if leaks:
                    return size, failed, True
                active = frozenset(group for group in failed if self.by_group[group] & ~passed)
                if (reached, active) in seen:
                    continue
                seen.add((reached, active))
                for index in iter_bits(reached & ~passed):
                    if not self.onward[index] & ~reached and not self.exit >> index & 1:
                        continue  # opening this arc reaches nothing new
                    work -= 1
                    if work < 0:
                        return size, None, False
                    larger = failed | self.groups[index]
                    waiting.setdefault(len(larger), set()).add(larger)
        return size, None, True


def iter_bits(bits: int) -> Iterator[int]:
    """Yield the indices of the bits that are set, lowest first.

    Examples
    --------
    >>> list(iter_bits(0b1011))
    [0, 1, 3]
    """
    while bits:
        low = bits & -bits
        yield low.bit_length() - 1
        bits ^= low


def to_bits(indices: Ints) -> int:
    """Return the whole number in which the bits at these indices are set.

    >>> bin(to_bits(np.array([0, 1, 3])))
    '0b1011'
    """
    bits = 0
    for index in indices.tolist():
        bits |= 1 << index
    return bits


def _find_onward_arcs(graph: FlowGraph, middle: Bools, tail: Ints, head: Ints) -> list[int]:
    """Return for each guarded arc the guarded arcs that are reached freely after it, over nodes in the middle.

    The middle is the nodes that the source does not reach freely and from which the sink is not reached freely.
    """
    onward = [0] * len(tail)
    starting = np.flatnonzero(middle[head])
    if not len(starting):
        return onward
    number = np.cumsum(middle) - 1
    rows = np.flatnonzero(graph.free & middle[graph.tail] & middle[graph.head])
    n = int(middle.sum())
    start, end = number[graph.tail[rows]], number[graph.head[rows]]
    free_graph = csr_array((np.ones(len(rows), np.int8), (start, end)), shape=(n, n))
    _, label = connected_components(free_graph, connection="strong")
    own: dict[int, int] = {}
    for index in np.flatnonzero(middle[tail]).tolist():
        component = int(label[number[tail[index]]])
        own[component] = own.get(component, 0) | 1 << index
    links = np.unique(np.column_stack([label[start], label[end]]), axis=0)
    links = links[links[:, 0] != links[:, 1]]
    successors: dict[int, list[int]] = {}
    for component, successor in links.tolist():
        successors.setdefault(component, []).append(successor)
    reachable: dict[int, int] = {}
    for index in starting.tolist():
        onward[index] = _collect_reachable(int(label[number[head[index]]]), successors, own, reachable)
    return onward


def _collect_reachable(
    component: int, successors: dict[int, list[int]], own: dict[int, int], reachable: dict[int, int]
) -> int:
    """Return the arcs of a component and of all components after it; components have no cycles.

    Results are added to `reachable`.
    """
    waiting = [component]
    while waiting:
        top = waiting[-1]
        missing = [successor for successor in successors.get(top, ()) if successor not in reachable]
        if missing:
            waiting += missing
            continue
        bits = own.get(top, 0)
        for successor in successors.get(top, ()):
            bits |= reachable[successor]
        reachable[waiting.pop()] = bits
    return reachable[component]


@dataclass(frozen=True, eq=False)
class FailureLeak:
    """Groups whose common failure opens a leak, and the shortest leak."""

    groups: tuple[int, ...]
    length_m: float
    path: list[int]
    """Arcs of the flow graph in driving order."""


@dataclass(frozen=True, eq=False)
class RankedPairs:
    """Pairs of groups whose common failure opens what neither opens alone."""

    ranked: list[FailureLeak]
    """The shortest leaks first."""
    complete: bool
    """Whether no pair is missing among them; False if the work limit was reached."""


@dataclass(frozen=True, eq=False)
class FailureSearch:
    """The search for failures of one flow graph with its guards.

    Lengths are exact: a leak may use several arcs of the group that failed, and if that could be shorter than using one
    arc, the whole path is searched.
    """

    graph: FlowGraph
    guarded: GuardedArcs
    critical: list[int] = field(init=False)
    """Groups whose failure alone makes a leak, in order."""

    def __post_init__(self) -> None:
        """Find the critical groups: all other searches need them."""
        object.__setattr__(self, "critical", self.guarded.find_critical())

    @cached_property
    def _arcs_by_groups(self) -> dict[FailureGroups, Ints]:
        """Observed arcs by their exact set of groups."""
        arcs_by_groups: dict[FailureGroups, list[int]] = {}
        for arc, groups in zip(self.graph.observed.tolist(), self.graph.guard_groups, strict=True):
            arcs_by_groups.setdefault(groups, []).append(arc)
        return {groups: np.array(arcs, np.int64) for groups, arcs in arcs_by_groups.items()}

    @cached_property
    def _free_trees(self) -> tuple[ShortestPathTree, ShortestPathTree]:
        """Shortest free paths from the source and to the sink."""
        graph = self.graph
        return graph.build_tree(graph.free), graph.build_tree(graph.free, backward=True)

    def find_leaks(self, groups: Iterable[int]) -> list[FailureLeak]:
        """Return the leak that each of these critical groups would open, the shortest first."""
        leaks = [self._find_leak(*self._free_trees, frozenset({group}), group) for group in groups]
        return _rank_leaks(leaks)

    def _find_leak(
        self, from_source: ShortestPathTree, to_sink: ShortestPathTree, failed: FailureGroups, group: int
    ) -> FailureLeak:
        """Return the shortest path that the failure of one more group opens, given the trees before it failed."""
        arcs = self._find_newly_open(failed, group)
        bound, length, arc = _measure_paths(self.graph, from_source, to_sink, arcs)
        if length <= bound:
            path = [
                *self.graph.trace_path(from_source, int(self.graph.tail[arc])),
                arc,
                *self.graph.trace_path(to_sink, int(self.graph.head[arc]), backward=True),
            ]
        else:
            path = self.graph.find_shortest_path(self.graph.find_open_arcs(failed)) or []
        return FailureLeak(tuple(sorted(failed)), float(self.graph.length_m[path].sum()), path)

    def _find_newly_open(self, failed: FailureGroups, group: int) -> Ints:
        """Return the arcs that open when a group fails after the remaining groups of `failed`."""
        keys = [frozenset({group}), failed] if len(failed) > 1 else [failed]
        arcs = [self._arcs_by_groups[key] for key in keys if key in self._arcs_by_groups]
        return np.concatenate(arcs) if arcs else np.empty(0, np.int64)

    def find_pairs(self, max_count: int, rows: int) -> RankedPairs:
        """Return the pairs with the shortest leaks.

        Parameters
        ----------
        max_count : int
            Greatest number of pairs.
        rows : int
            Greatest number of first groups to search the graph for. Groups are taken in the order of the shortest path
            over their arcs if nothing were guarded, and the search ends when no further pair can be shorter than those
            it has.
        """
        if self.guarded.is_open or max_count < 1:
            return RankedPairs([], True)
        best: dict[FailureGroups, FailureLeak] = {}
        done: set[int] = set()
        for bound, group in self._list_first_groups():
            if len(best) == max_count and bound >= max(leak.length_m for leak in best.values()):
                break
            if len(done) == rows:
                return RankedPairs(_rank_leaks(best.values()), False)
            self._add_pairs_of(group, done, best, max_count)
            done.add(group)
        return RankedPairs(_rank_leaks(best.values()), True)

    def _list_first_groups(self) -> list[tuple[float, int]]:
        """Return the groups that can belong to a pair, each with a lower bound of the length of its leaks."""
        graph = self.graph
        every = np.ones(len(graph.tail), np.bool_)
        from_source = graph.build_tree(every).distance
        to_sink = graph.build_tree(every, backward=True).distance
        bounds: dict[int, float] = {}
        critical = frozenset(self.critical)
        for groups, arcs in self._arcs_by_groups.items():
            if len(groups) <= 2 and not groups & critical:
                tail, head = graph.tail[arcs], graph.head[arcs]
                bound = float((from_source[tail] + graph.length_m[arcs] + to_sink[head]).min())
                for group in groups:
                    bounds[group] = min(bound, bounds.get(group, np.inf))
        return sorted((bound, group) for group, bound in bounds.items() if group in self.guarded.by_group)

    def _add_pairs_of(self, group: int, done: set[int], best: dict[FailureGroups, FailureLeak], max_count: int) -> None:
        """Add the pairs of one group with all groups that are not done to `best`."""
        graph = self.graph
        is_open = graph.find_open_arcs(frozenset({group}))
        from_source, to_sink = graph.build_tree(is_open), graph.build_tree(is_open, backward=True)
        for bound, second in self._list_second_groups(group, done, from_source, to_sink):
            if len(best) == max_count and bound >= max(leak.length_m for leak in best.values()):
                break
            pair = frozenset({group, second})
            leak = self._find_leak(from_source, to_sink, pair, second)
            if not leak.path:
                continue
            best[pair] = leak
            if len(best) > max_count:
                del best[max(best, key=lambda groups: (best[groups].length_m, sorted(groups)))]

    def _list_second_groups(
        self, group: int, done: set[int], from_source: ShortestPathTree, to_sink: ShortestPathTree
    ) -> list[tuple[float, int]]:
        """Return the groups that may complete a pair, each with a lower bound of the length of its leak."""
        graph = self.graph
        reached = np.isfinite(from_source.distance[graph.tail[graph.observed]])
        missing = {graph.guard_groups[index] - {group} for index in np.flatnonzero(reached).tolist()}
        excluded = {*self.critical, *done}
        bounds = []
        for second in [next(iter(groups)) for groups in missing if len(groups) == 1 and not groups & excluded]:
            arcs = self._find_newly_open(frozenset({group, second}), second)
            bound, length, _ = _measure_paths(graph, from_source, to_sink, arcs)
            if np.isfinite(min(bound, length)):
                bounds.append((min(bound, length), second))
        return sorted(bounds)


def _rank_leaks(leaks: Iterable[FailureLeak]) -> list[FailureLeak]:
    """Return leaks sorted by length, then by groups."""
    return sorted(leaks, key=lambda leak: (leak.length_m, leak.groups))


def _measure_paths(
    graph: FlowGraph, from_source: ShortestPathTree, to_sink: ShortestPathTree, arcs: Ints
) -> tuple[float, float, int]:
    """Return a lower bound of paths over several of the arcs, the length of the shortest path over one, and the arc."""
    if not len(arcs):
        return np.inf, np.inf, -1
    up_to = from_source.distance[graph.tail[arcs]] + graph.length_m[arcs]
    onward: Floats = graph.length_m[arcs] + to_sink.distance[graph.head[arcs]]
    whole = up_to + to_sink.distance[graph.head[arcs]]
    first, last = int(np.argmin(up_to)), int(np.argmin(onward))
    bound = up_to[first] + onward[last]
    if first == last:
        others = np.arange(len(arcs)) != first
        bound = min(up_to[first] + onward[others].min(initial=np.inf), up_to[others].min(initial=np.inf) + onward[last])
    best = int(np.argmin(whole))
    return float(bound), float(whole[best]), int(arcs[best])

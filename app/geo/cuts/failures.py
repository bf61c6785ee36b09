"""Which failures open a sealed cordon, and the leak each would open.

Promises exact lengths: a leak may pass several gates of the group that failed, and where that could
be shorter than passing one, the way is searched in full.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from app.geo.arrays import Bools, Floats, Ints
from app.geo.cuts.flow_graph import SINK, Passage, Tree

# What opens when guards fail: observed arcs as gates between what is joined freely.
#
# Promises exact answers on the few arcs that guards observe, however large the free rest is: the rest
# is searched once, and from then on a set of gates is the bits of one number. A failure group fails as
# a whole: all its gates open at once, and a gate of several groups opens when the last of them fails.

Groups = frozenset[int]


@dataclass(frozen=True, eq=False)
class Gates:
    """Observed arcs that lead on, numbered; sets of them are bits of whole numbers."""

    guards: list[Groups]
    """The failure groups of each gate."""
    entry: int
    """Gates that can be reached freely from the source."""
    goal: int
    """Gates behind which the sink can be reached freely."""
    onward: list[int]
    """For each gate, the gates that can be reached freely behind it."""
    alike: dict[Groups, int]
    """The gates of each distinct set of groups."""
    having: dict[int, int]
    """The gates of each group."""
    open: bool
    """Whether the sink can be reached through no gate at all."""

    @classmethod
    def of(cls, passage: Passage) -> "Gates":
        """Return the gates of a passage under its guards."""
        ahead, behind = passage.ahead, passage.behind
        tail, head = passage.tail[passage.observed], passage.head[passage.observed]
        leads = np.flatnonzero(~ahead[head] & ~behind[tail])
        tail, head = tail[leads], head[leads]
        guards = [passage.guards[row] for row in leads.tolist()]
        alike: dict[Groups, int] = {}
        having: dict[int, int] = {}
        for number, groups in enumerate(guards):
            alike[groups] = alike.get(groups, 0) | 1 << number
            for group in groups:
                having[group] = having.get(group, 0) | 1 << number
        middle = ~ahead & ~behind
        return cls(
            guards,
            _bits(np.flatnonzero(ahead[tail])),
            _bits(np.flatnonzero(behind[head])),
            _onward(passage, middle, tail, head),
            alike,
            having,
            bool(ahead[SINK]),
        )

    def opened_by(self, failed: Groups) -> int:
        """Return the gates that stand open when these groups have failed."""
        if len(failed) == 1:
            return self.alike.get(failed, 0)
        touched, found = 0, 0
        for group in failed:
            touched |= self.having.get(group, 0)
        for gate in places(touched):
            if self.guards[gate] <= failed:
                found |= 1 << gate
        return found

    def reach(self, failed: Groups) -> tuple[int, int, bool]:
        """Return the gates that can be reached, those of them passed, and whether it is a leak."""
        standing_open = self.opened_by(failed)
        reached, passed = self.entry, 0
        while fresh := reached & standing_open & ~passed:
            passed |= fresh
            if fresh & self.goal:
                return reached, passed, True
            for gate in places(fresh):
                reached |= self.onward[gate]
        return reached, passed, self.open

    def critical(self) -> list[int]:
        """Return the groups whose failure alone makes a leak, in order; none where there is one."""
        if self.open:
            return []
        firsts = sorted(
            next(iter(groups)) for groups, gates in self.alike.items() if len(groups) == 1 and gates & self.entry
        )
        return [group for group in firsts if self.reach(frozenset({group}))[2]]

    def pairs(self, critical: Groups, work: int) -> tuple[set[Groups], bool]:
        """Return the pairs whose common failure makes a leak though neither alone does.

        Parameters
        ----------
        critical : frozenset of int
            Groups that make a leak alone.
        work : int
            How many pairs to try at most.

        Returns
        -------
        pairs : set of frozenset
        complete : bool
            Whether all pairs were tried that could make a leak.
        """
        found: set[Groups] = set()
        tried: set[Groups] = set()
        for pair in self._promising(critical):
            if pair in tried:
                continue
            if len(tried) == work:
                return found, False
            tried.add(pair)
            if self.reach(pair)[2]:
                found.add(pair)
        return found, True

    def _promising(self, critical: Groups) -> Iterator[Groups]:
        """Yield the pairs that take a way on: gates of both, or of one and behind them of the other.

        A way through may be taken to start where it leaves what is reached freely for the last time.
        """
        if self.open:
            return
        for groups, gates in self.alike.items():
            if not gates & self.entry or len(groups) > 2 or groups & critical:
                continue
            if len(groups) == 2:
                yield groups
                continue
            reached, passed, _ = self.reach(groups)
            for gate in places(reached & ~passed & ~self.entry):
                missing = self.guards[gate] - groups
                if len(missing) == 1 and not missing & critical:
                    yield groups | missing

    def fewest(self, work: int) -> tuple[int, Groups | None, bool]:
        """Return the least number of groups whose common failure makes a leak.

        Returns
        -------
        number : int
            The least number; where the work was not done, a number it is not below.
        groups : frozenset of int or None
            Such groups; None where the work was not done, or where nothing makes a leak.
        complete : bool
            Whether the number is exact.

        Notes
        -----
        Sets of failed groups are tried by size, each made from a smaller one by what a gate within
        reach still lacks. Two sets count as one where the same gates are within reach and the same
        groups of them guard gates not yet passed. The number of sets can grow exponentially (this is
        the path of fewest labels, which is NP-hard), hence the limit.
        """
        waiting: dict[int, set[Groups]] = {0: {frozenset()}}
        seen: set[tuple[int, Groups]] = set()
        size = 0
        while waiting:
            size = min(waiting)
            for failed in sorted(waiting.pop(size), key=sorted):
                reached, passed, leak = self.reach(failed)
                if leak:
                    return size, failed, True
                live = frozenset(one for one in failed if self.having[one] & ~passed)
                if (reached, live) in seen:
                    continue
                seen.add((reached, live))
                for gate in places(reached & ~passed):
                    if not self.onward[gate] & ~reached and not self.goal >> gate & 1:
                        continue
                    work -= 1
                    if work < 0:
                        return size, None, False
                    more = failed | self.guards[gate]
                    waiting.setdefault(len(more), set()).add(more)
        return size, None, True


def places(bits: int) -> Iterator[int]:
    """Yield the places of the bits that are set, lowest first.

    Examples
    --------
    >>> list(places(0b1011))
    [0, 1, 3]
    """
    while bits:
        low = bits & -bits
        yield low.bit_length() - 1
        bits ^= low


def _bits(numbers: Ints) -> int:
    found = 0
    for number in numbers.tolist():
        found |= 1 << number
    return found


def _onward(passage: Passage, middle: Bools, tail: Ints, head: Ints) -> list[int]:
    """Return for each gate the gates within free reach behind it, while that is in the middle.

    The middle is neither reached from the source nor reaches the sink, freely.
    """
    onward = [0] * len(tail)
    starting = np.flatnonzero(middle[head])
    if not len(starting):
        return onward
    place = np.cumsum(middle) - 1
    rows = np.flatnonzero(passage.free & middle[passage.tail] & middle[passage.head])
    n = int(middle.sum())
    start, end = place[passage.tail[rows]], place[passage.head[rows]]
    graph = csr_array((np.ones(len(rows), np.int8), (start, end)), shape=(n, n))
    _, label = connected_components(graph, connection="strong")
    own: dict[int, int] = {}
    for gate in np.flatnonzero(middle[tail]).tolist():
        part = int(label[place[tail[gate]]])
        own[part] = own.get(part, 0) | 1 << gate
    between = np.unique(np.column_stack([label[start], label[end]]), axis=0)
    between = between[between[:, 0] != between[:, 1]]
    after: dict[int, list[int]] = {}
    for one, other in between.tolist():
        after.setdefault(one, []).append(other)
    known: dict[int, int] = {}
    for gate in starting.tolist():
        onward[gate] = _gathered(int(label[place[head[gate]]]), after, own, known)
    return onward


def _gathered(part: int, after: dict[int, list[int]], own: dict[int, int], known: dict[int, int]) -> int:
    """Return the gates of a part and of all parts after it; parts have no cycles."""
    waiting = [part]
    while waiting:
        top = waiting[-1]
        missing = [other for other in after.get(top, ()) if other not in known]
        if missing:
            waiting += missing
            continue
        bits = own.get(top, 0)
        for other in after.get(top, ()):
            bits |= known[other]
        known[waiting.pop()] = bits
    return known[part]


@dataclass(frozen=True, eq=False)
class Opening:
    """Groups whose common failure opens a way, and the shortest way it opens."""

    groups: tuple[int, ...]
    length_m: float
    way: list[int]
    """Arcs of the passage in driving order."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of groups whose common failure opens what neither opens alone."""

    ranked: list[Opening]
    """The shortest leaks first."""
    complete: bool
    """Whether no pair is missing that belongs among them; False where the work ran out."""


@dataclass(frozen=True, eq=False)
class Failures:
    """The failures of one passage under its guards."""

    passage: Passage
    gates: Gates
    critical: list[int] = field(init=False)
    """Groups whose failure alone makes a leak, in order."""

    def __post_init__(self) -> None:
        """Find the critical groups: everything else asks for them."""
        object.__setattr__(self, "critical", self.gates.critical())

    @cached_property
    def _arcs_of(self) -> dict[Groups, Ints]:
        """Observed arcs by their exact set of groups."""
        found: dict[Groups, list[int]] = {}
        observed = self.passage.observed.tolist()
        for arc, groups in zip(observed, self.passage.guards, strict=True):
            found.setdefault(groups, []).append(arc)
        return {groups: np.array(arcs, np.int64) for groups, arcs in found.items()}

    @cached_property
    def _free(self) -> tuple[Tree, Tree]:
        """Shortest free ways from the source and to the sink."""
        passage = self.passage
        return passage.tree(passage.free), passage.tree(passage.free, backward=True)

    def openings(self, groups: Iterable[int] | None = None) -> list[Opening]:
        """Return the leak that each critical group, or each of those given, would open."""
        wanted = self.critical if groups is None else groups
        found = [self._opening(*self._free, frozenset({group}), group) for group in wanted]
        return sorted(found, key=lambda one: (one.length_m, one.groups))

    def _opening(self, ahead: Tree, behind: Tree, failed: Groups, group: int) -> Opening:
        """Return the shortest way that one more failed group opens, given the trees without it."""
        arcs = self._newly_open(failed, group)
        lower, best, arc = _through(self.passage, ahead, behind, arcs)
        if best <= lower:
            way = [
                *self.passage.walked(ahead, int(self.passage.tail[arc])),
                arc,
                *self.passage.walked(behind, int(self.passage.head[arc]), backward=True),
            ]
        else:
            way = self.passage.shortest(self.passage.opened_by(failed)) or []
        return Opening(tuple(sorted(failed)), float(self.passage.length_m[way].sum()), way)

    def _newly_open(self, failed: Groups, group: int) -> Ints:
        """Return the arcs that open when a group fails after the rest of `failed`."""
        kinds = [frozenset({group}), failed] if len(failed) > 1 else [failed]
        found = [self._arcs_of[kind] for kind in kinds if kind in self._arcs_of]
        return np.concatenate(found) if found else np.empty(0, np.int64)

    def pairs(self, most: int, rows: int) -> Pairs:
        """Return the pairs with the shortest leaks.

        Parameters
        ----------
        most : int
            How many pairs at most.
        rows : int
            For how many first groups to search the passage at most. Groups are taken in the order of
            the shortest way through them if nothing were guarded, and the search ends by itself once
            no further pair can be shorter than those found.
        """
        if self.gates.open or most < 1:
            return Pairs([], True)
        best: dict[Groups, Opening] = {}
        done: set[int] = set()
        for lower, group in self._firsts():
            if len(best) == most and lower >= max(one.length_m for one in best.values()):
                break
            if len(done) == rows:
                return Pairs(_ranked(best.values()), False)
            self._with(group, done, best, most)
            done.add(group)
        return Pairs(_ranked(best.values()), True)

    def _firsts(self) -> list[tuple[float, int]]:
        """Return the groups that can be part of a pair, each with a lower bound of its leaks."""
        passage = self.passage
        everything = np.ones(len(passage.tail), np.bool_)
        ahead = passage.tree(everything).distance
        behind = passage.tree(everything, backward=True).distance
        lower: dict[int, float] = {}
        critical = frozenset(self.critical)
        for groups, arcs in self._arcs_of.items():
            if len(groups) <= 2 and not groups & critical:
                tail, head = passage.tail[arcs], passage.head[arcs]
                least = float((ahead[tail] + passage.length_m[arcs] + behind[head]).min())
                for group in groups:
                    lower[group] = min(least, lower.get(group, np.inf))
        return sorted((least, group) for group, least in lower.items() if group in self.gates.having)

    def _with(self, group: int, done: set[int], best: dict[Groups, Opening], most: int) -> None:
        """Take in the pairs of one group with all others that are not done."""
        passage = self.passage
        alone = passage.opened_by(frozenset({group}))
        ahead, behind = passage.tree(alone), passage.tree(alone, backward=True)
        for least, other in self._seconds(group, done, ahead, behind):
            if len(best) == most and least >= max(one.length_m for one in best.values()):
                break
            pair = frozenset({group, other})
            opening = self._opening(ahead, behind, pair, other)
            if not opening.way:
                continue
            best[pair] = opening
            if len(best) > most:
                del best[max(best, key=lambda one: (best[one].length_m, sorted(one)))]

    def _seconds(self, group: int, done: set[int], ahead: Tree, behind: Tree) -> list[tuple[float, int]]:
        """Return the groups that may complete a pair, each with a lower bound of its leak."""
        passage = self.passage
        reached = np.isfinite(ahead.distance[passage.tail[passage.observed]])
        guards = {passage.guards[place] - {group} for place in np.flatnonzero(reached).tolist()}
        excluded = {*self.critical, *done}
        others = [next(iter(one)) for one in guards if len(one) == 1 and not one & excluded]
        found = []
        for other in others:
            arcs = self._newly_open(frozenset({group, other}), other)
            lower, through, _ = _through(passage, ahead, behind, arcs)
            if np.isfinite(min(lower, through)):
                found.append((min(lower, through), other))
        return sorted(found)


def _ranked(openings: Iterable[Opening]) -> list[Opening]:
    return sorted(openings, key=lambda one: (one.length_m, one.groups))


def _through(passage: Passage, ahead: Tree, behind: Tree, arcs: Ints) -> tuple[float, float, int]:
    """Return how long a way through several of the arcs is at least, and through one, and which."""
    if not len(arcs):
        return np.inf, np.inf, -1
    up_to = ahead.distance[passage.tail[arcs]] + passage.length_m[arcs]
    on: Floats = passage.length_m[arcs] + behind.distance[passage.head[arcs]]
    whole = up_to + behind.distance[passage.head[arcs]]
    first, last = int(np.argmin(up_to)), int(np.argmin(on))
    several = up_to[first] + on[last]
    if first == last:
        rest = np.arange(len(arcs)) != first
        several = min(up_to[first] + on[rest].min(initial=np.inf), up_to[rest].min(initial=np.inf) + on[last])
    best = int(np.argmin(whole))
    return float(several), float(whole[best]), int(arcs[best])

"""Which failures open a sealed cordon, and the leak each would open.

Promises exact lengths: a leak may pass several gates of the group that failed, and where that could
be shorter than passing one, the way is searched in full.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from app.geo.arrays import Floats, Ints
from app.geo.gates import Gates, Groups
from app.geo.passage import Passage, Tree


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
        return sorted(
            (least, group) for group, least in lower.items() if group in self.gates.having
        )

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

    def _seconds(
        self, group: int, done: set[int], ahead: Tree, behind: Tree
    ) -> list[tuple[float, int]]:
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
        several = min(
            up_to[first] + on[rest].min(initial=np.inf), up_to[rest].min(initial=np.inf) + on[last]
        )
    best = int(np.argmin(whole))
    return float(several), float(whole[best]), int(arcs[best])

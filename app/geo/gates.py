"""What opens when guards fail: observed arcs as gates between what is joined freely.

Promises exact answers on the few arcs that guards observe, however large the free rest is: the rest
is searched once, and from then on a set of gates is the bits of one number. A failure group fails as
a whole: all its gates open at once, and a gate of several groups opens when the last of them fails.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from app.geo.arrays import Bools, Ints
from app.geo.passage import SINK, Passage

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
            next(iter(groups))
            for groups, gates in self.alike.items()
            if len(groups) == 1 and gates & self.entry
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


def _gathered(
    part: int, after: dict[int, list[int]], own: dict[int, int], known: dict[int, int]
) -> int:
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

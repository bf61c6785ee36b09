"""Stretches of road between junctions: what a vehicle that enters at one end must run through.

Promises that whoever watches any part of a chain in a direction watches all that passes along it in
that direction, for there is no way off between its ends. Vehicles appear and stay at the ends of
chains: junctions, dead ends, and one stop on every road that leaves a ring and comes back without any.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from app.geo.arrays import Bools, Ints
from app.geo.rings.ring_partition import Pieces, Side


@dataclass(frozen=True, eq=False)
class Chains:
    """c chains of pieces of road, by their pieces in order from tail to head."""

    tail: Ints
    """Shape (c,): node at which the chain starts: a junction or a dead end."""
    head: Ints
    """Shape (c,)."""
    forward: Bools
    """Shape (c,): may be driven from tail to head, over all its pieces."""
    backward: Bools
    start: Ints
    """Shape (c + 1,): pieces of chain i are ``piece[start[i]:start[i + 1]]``."""
    piece: Ints
    """Shape (p,): rows of pieces."""
    turned: Bools
    """Shape (p,): the piece runs from head to tail of its chain."""
    chain_of: Ints
    """Shape (m,): chain of each piece; -1 for what cannot be driven, or leads only to itself."""
    turned_of: Bools
    """Shape (m,): the piece runs against its chain."""

    def __len__(self) -> int:
        """Return the number of chains."""
        return len(self.tail)


def chains(pieces: Pieces, sides: Sequence[Side] = ()) -> Chains:
    """Return the chains of all pieces that may be driven.

    Parameters
    ----------
    pieces : Pieces
    sides : sequence of Side
        What rings see of them: every stretch off their lines gets a stop.

    Returns
    -------
    Chains

    Examples
    --------
    >>> from app.geo.rings.ring_partition import Pieces
    >>> row, yes = np.arange(3), np.ones(3, bool)
    >>> road = Pieces(np.zeros((4, 2)), row, np.array([1, 2, 3]), yes, yes, row, row * 0.0, row + 1.0, row)
    >>> found = chains(road)
    >>> found.tail.tolist(), found.head.tolist(), found.piece.tolist()
    ([0], [3], [0, 1, 2])
    """
    n, m = len(pieces.node_xy), len(pieces.tail)
    used = np.flatnonzero(pieces.drivable)
    ends = np.concatenate([pieces.tail[used], pieces.head[used]])
    through = np.bincount(ends, minlength=n) == 2
    for side in sides:
        through[_stops(pieces, used, side, through)] = False
    single = used[~through[pieces.tail[used]] & ~through[pieces.head[used]]]
    at = _at_nodes(pieces, used, n)
    walks: list[tuple[list[int], list[bool]]] = []
    done = np.zeros(m, np.bool_)
    done[single] = True
    starting = used[~through[pieces.tail[used]] ^ ~through[pieces.head[used]]]
    for row in starting.tolist():
        if not done[row]:
            walks.append(_walk(pieces, row, through, at))
            done[walks[-1][0]] = True
    return _gathered(pieces, single, walks, m)


def _stops(pieces: Pieces, used: Ints, side: Side, through: Bools) -> Ints:
    """Return one node of every stretch off the line that has no end of a chain."""
    n = len(pieces.node_xy)
    tail, head = pieces.tail[used], pieces.head[used]
    off = ~side.on_line[tail] & ~side.on_line[head]
    graph = coo_matrix((np.ones(int(off.sum()), np.int8), (tail[off], head[off])), shape=(n, n))
    count, stretch = connected_components(graph, directed=False)
    has_end = np.zeros(count, np.bool_)
    has_end[stretch[~through]] = True
    x, y = pieces.node_xy.T
    nodes = np.flatnonzero(through & ~side.on_line & ~has_end[stretch])
    nodes = nodes[np.lexsort((y[nodes], x[nodes], stretch[nodes]))]
    return np.asarray(nodes[np.append(True, np.diff(stretch[nodes]) != 0)[: len(nodes)]])


def _at_nodes(pieces: Pieces, used: Ints, n: int) -> tuple[list[int], list[int]]:
    """Return two pieces of each node; of a node with two, all of them."""
    low, high = np.full(n, len(pieces.tail)), np.full(n, -1)
    for ends in (pieces.tail[used], pieces.head[used]):
        np.minimum.at(low, ends, used)
        np.maximum.at(high, ends, used)
    return low.tolist(), high.tolist()


def _walk(pieces: Pieces, row: int, through: Bools, at: tuple[list[int], list[int]]) -> tuple[list[int], list[bool]]:
    """Return the pieces of a chain from the end that `row` has, and which run against it."""
    walk, turned = [row], [bool(through[pieces.tail[row]])]
    node = int(pieces.tail[row] if turned[0] else pieces.head[row])
    while through[node]:
        here = walk[-1]
        low, high = at[0][node], at[1][node]
        following = high if low == here else low
        if following == here:
            break  # a loop at the end of the chain
        walk.append(following)
        turned.append(int(pieces.tail[following]) != node)
        node = int(pieces.tail[following] if turned[-1] else pieces.head[following])
    return walk, turned


def _gathered(pieces: Pieces, single: Ints, walks: list[tuple[list[int], list[bool]]], m: int) -> Chains:
    size = np.concatenate([np.ones(len(single), np.int64), np.array([len(walk) for walk, _ in walks], np.int64)])
    start = np.concatenate([[0], np.cumsum(size)])
    piece = np.concatenate([single, *(np.array(walk, np.int64) for walk, _ in walks)])
    turned = np.concatenate([np.zeros(len(single), np.bool_), *(np.array(turns, np.bool_) for _, turns in walks)])
    chain = np.repeat(np.arange(len(size)), size)
    ahead = np.where(turned, pieces.backward[piece], pieces.forward[piece])
    back = np.where(turned, pieces.forward[piece], pieces.backward[piece])
    first, last = start[:-1], start[1:] - 1
    chain_of, turned_of = np.full(m, -1, np.int64), np.zeros(m, np.bool_)
    chain_of[piece], turned_of[piece] = chain, turned
    return Chains(
        np.where(turned[first], pieces.head[piece[first]], pieces.tail[piece[first]]),
        np.where(turned[last], pieces.tail[piece[last]], pieces.head[piece[last]]),
        np.logical_and.reduceat(ahead, first) if len(first) else ahead,
        np.logical_and.reduceat(back, first) if len(first) else back,
        start,
        piece,
        turned,
        chain_of,
        turned_of,
    )

"""Chains: roads between two junctions, without an exit between them.

Who observes one point of a chain in a direction observes all traffic along the chain in that direction. Vehicles start
and end only at the ends of chains: at junctions, at dead ends, and at one stop on every road that leaves a ring and
comes back to it without a junction.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.geo.arrays import Bools, Ints, label_components, mark_first
from app.geo.rings.ring_partition import Pieces, RingSide

_Walk = tuple[list[int], list[bool]]
"""The pieces of a chain in order, and which of them run against it."""


@dataclass(frozen=True, eq=False)
class Chains:
    """c chains of pieces of road; the pieces are listed in order from tail to head."""

    tail: Ints
    """Shape (c,): node at which the chain starts: a junction or a dead end."""
    head: Ints
    """Shape (c,): node at which the chain ends."""
    forward: Bools
    """Shape (c,): all its pieces may be driven from tail to head."""
    backward: Bools
    """Shape (c,): all its pieces may be driven from head to tail."""
    start: Ints
    """Shape (c + 1,): the pieces of chain i are ``piece[start[i]:start[i + 1]]``."""
    piece: Ints
    """Shape (p,): rows of pieces."""
    is_reversed: Bools
    """Shape (p,): the piece runs from head to tail of its chain."""
    chain_of: Ints
    """Shape (m,): chain of each piece; -1 if it cannot be driven, or leads only to itself."""
    reversed_of: Bools
    """Shape (m,): the piece runs from head to tail of its chain."""

    def __len__(self) -> int:
        """Return the number of chains."""
        return len(self.tail)


def build_chains(pieces: Pieces, sides: Sequence[RingSide] = ()) -> Chains:
    """Return the chains of all pieces that may be driven.

    Parameters
    ----------
    pieces : Pieces
    sides : sequence of RingSide
        The partitions of the pieces by rings: connected roads off the line of a ring get a stop if they have no end.

    Returns
    -------
    Chains

    Examples
    --------
    >>> from app.geo.rings.ring_partition import Pieces
    >>> row, yes = np.arange(3), np.ones(3, bool)
    >>> road = Pieces(np.zeros((4, 2)), row, np.array([1, 2, 3]), yes, yes, row, row * 0.0, row + 1.0, row)
    >>> chains = build_chains(road)
    >>> chains.tail.tolist(), chains.head.tolist(), chains.piece.tolist()
    ([0], [3], [0, 1, 2])
    """
    n, m = len(pieces.node_xy), len(pieces.tail)
    used = np.flatnonzero(pieces.drivable)
    ends = np.concatenate([pieces.tail[used], pieces.head[used]])
    is_inner = np.bincount(ends, minlength=n) == 2
    for side in sides:
        is_inner[_find_stops(pieces, used, side, is_inner)] = False
    single = used[~is_inner[pieces.tail[used]] & ~is_inner[pieces.head[used]]]
    node_pieces = _find_node_pieces(pieces, used, n)
    walks: list[_Walk] = []
    done = np.zeros(m, np.bool_)
    done[single] = True
    starting = used[~is_inner[pieces.tail[used]] ^ ~is_inner[pieces.head[used]]]
    for row in starting.tolist():
        if not done[row]:
            walks.append(_walk_chain(pieces, row, is_inner, node_pieces))
            done[walks[-1][0]] = True
    return _collect_chains(pieces, single, walks, m)


def _find_stops(pieces: Pieces, used: Ints, side: RingSide, is_inner: Bools) -> Ints:
    """Return one node of every connected component of roads off the line that has no end of a chain."""
    tail, head = pieces.tail[used], pieces.head[used]
    off = ~side.on_line[tail] & ~side.on_line[head]
    count, component = label_components(len(pieces.node_xy), tail[off], head[off])
    has_end = np.zeros(count, np.bool_)
    has_end[component[~is_inner]] = True
    x, y = pieces.node_xy.T
    nodes = np.flatnonzero(is_inner & ~side.on_line & ~has_end[component])
    nodes = nodes[np.lexsort((y[nodes], x[nodes], component[nodes]))]
    return np.asarray(nodes[mark_first(component[nodes])])


def _find_node_pieces(pieces: Pieces, used: Ints, n: int) -> tuple[list[int], list[int]]:
    """Return the lowest and the highest piece of each node; a node with two pieces has no others."""
    low, high = np.full(n, len(pieces.tail)), np.full(n, -1)
    for ends in (pieces.tail[used], pieces.head[used]):
        np.minimum.at(low, ends, used)
        np.maximum.at(high, ends, used)
    return low.tolist(), high.tolist()


def _walk_chain(pieces: Pieces, row: int, is_inner: Bools, node_pieces: tuple[list[int], list[int]]) -> _Walk:
    """Return the pieces of a chain, starting from its end at piece `row`, and which of them run against it."""
    walk, is_reversed = [row], [bool(is_inner[pieces.tail[row]])]
    node = int(pieces.tail[row] if is_reversed[0] else pieces.head[row])
    while is_inner[node]:
        low, high = node_pieces[0][node], node_pieces[1][node]
        following = high if low == walk[-1] else low
        if following == walk[-1]:
            break  # a loop at the end of the chain
        walk.append(following)
        is_reversed.append(int(pieces.tail[following]) != node)
        node = int(pieces.tail[following] if is_reversed[-1] else pieces.head[following])
    return walk, is_reversed


def _collect_chains(pieces: Pieces, single: Ints, walks: list[_Walk], m: int) -> Chains:
    """Return the chains of one piece, followed by the walked ones."""
    size = np.concatenate([np.ones(len(single), np.int64), np.array([len(walk) for walk, _ in walks], np.int64)])
    start = np.concatenate([[0], np.cumsum(size)])
    piece = np.concatenate([single, *(np.array(walk, np.int64) for walk, _ in walks)])
    is_reversed = np.concatenate([np.zeros(len(single), np.bool_), *(np.array(flags, np.bool_) for _, flags in walks)])
    chain = np.repeat(np.arange(len(size)), size)
    ahead = np.where(is_reversed, pieces.backward[piece], pieces.forward[piece])
    back = np.where(is_reversed, pieces.forward[piece], pieces.backward[piece])
    first, last = start[:-1], start[1:] - 1
    chain_of, reversed_of = np.full(m, -1, np.int64), np.zeros(m, np.bool_)
    chain_of[piece], reversed_of[piece] = chain, is_reversed
    return Chains(
        tail=np.where(is_reversed[first], pieces.head[piece[first]], pieces.tail[piece[first]]),
        head=np.where(is_reversed[last], pieces.tail[piece[last]], pieces.head[piece[last]]),
        forward=np.logical_and.reduceat(ahead, first) if len(first) else ahead,
        backward=np.logical_and.reduceat(back, first) if len(first) else back,
        start=start,
        piece=piece,
        is_reversed=is_reversed,
        chain_of=chain_of,
        reversed_of=reversed_of,
    )

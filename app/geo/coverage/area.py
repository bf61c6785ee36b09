"""Area covered by fields of view: per zone, once and k times, gaps, and what each device adds.

Promises that covered ground and gaps make up the zone, and that recomputing after a change gives
what computing everything gives: zones are cut along a grid, and a parcel whose fields of view are
the same as before keeps its result. Metres of one frame throughout.
"""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import MultiPolygon, Polygon

from app.errors import TooLarge
from app.geo.arrays import Bools, Floats, Ints, spread
from app.geo.coverage.layers import areas, collected, layers, uncovered

CELL_M: Final = 500.0
"""Side of a grid cell; what changes in one is recomputed there and nowhere else."""
MOST_CELLS: Final = 20_000
"""Cells are larger where a zone would need more than these."""
MAX_PIECES: Final = 2_000_000
"""More pieces of fields of view than this are refused; a city of 100,000 cameras has 150,000."""

_FEW: Final = 1_000
"""Changed fields of view up to which only the parcels they touch are looked at."""
_FEW_CELLS: Final = 32
SHARE: Final = 10_000
"""Pieces of fields of view that are looked at together, by one of the threads."""
_SPECK_M2: Final = 1e-6
"""A piece smaller than this is what rounding leaves, not a gap."""


@dataclass(frozen=True, eq=False)
class Parcels:
    """Zones cut along a grid; one row for each piece of a zone in a cell.

    Parameters
    ----------
    zones : ndarray of Polygon or MultiPolygon
    origin, cell_m, width, height
        The grid: its south-west corner, the side of a cell, and how many cells it has.
    zone : ndarray of int, shape (p,)
        The zone each parcel is of.
    shape : ndarray of Polygon or MultiPolygon, shape (p,)
    whole : ndarray of bool, shape (p,)
        Which fill their cell.
    first : ndarray of int, shape (width * height + 1,)
        Rows ``first[c]:first[c + 1]`` lie in cell c.
    """

    zones: NDArray[np.object_]
    origin: Floats
    cell_m: float
    width: int
    height: int
    zone: Ints
    shape: NDArray[np.object_]
    whole: Bools
    first: Ints

    @classmethod
    def of(cls, zones: Sequence[Polygon | MultiPolygon], cell_m: float = CELL_M) -> "Parcels":
        """Return the parcels of zones that do not overlap, in metres.

        Raises
        ------
        ValueError
            No zone, or one that is empty.
        """
        shapes = np.array(zones, dtype=object)
        if not len(shapes) or shapely.is_empty(shapes).any():
            raise ValueError("a zone is needed, and none may be empty")
        low = shapely.total_bounds(shapes)[:2]
        size = shapely.total_bounds(shapes)[2:] - low
        side = max(cell_m, float(np.sqrt(size.prod() / MOST_CELLS)), float(size.max()) / 5000)
        low = np.floor(low / side) * side  # the same lines for whatever zones are asked for
        width, height = (np.floor((size + side) / side) + 1).astype(int).tolist()
        row, column = np.divmod(np.arange(width * height), width)
        west, south = low[0] + column * side, low[1] + row * side
        boxes = shapely.box(west, south, west + side, south + side)
        shapely.prepare(shapes)
        cell, zone, parts, whole = [], [], [], []
        for number, shape in enumerate(shapes):
            filled = shapely.contains(shape, boxes)
            crossed = np.flatnonzero(shapely.intersects(shape, boxes) & ~filled)
            pieces = areas(shapely.intersection(shape, boxes[crossed]))
            some = ~shapely.is_empty(pieces)
            full = np.flatnonzero(filled)
            cell.append(np.concatenate([full, crossed[some]]))
            parts.append(np.concatenate([boxes[full], pieces[some]]))
            whole.append(np.arange(len(full) + int(some.sum())) < len(full))
            zone.append(np.full(len(cell[-1]), number))
        cells = np.concatenate(cell)
        order = np.argsort(cells, kind="stable")
        counts = np.bincount(cells, minlength=width * height)
        return cls(
            shapes,
            low,
            side,
            width,
            height,
            np.concatenate(zone)[order],
            np.concatenate(parts)[order],
            np.concatenate(whole)[order],
            np.concatenate([[0], np.cumsum(counts)]),
        )

    def __len__(self) -> int:
        """Return the number of parcels."""
        return len(self.zone)

    @cached_property
    def area_m2(self) -> Floats:
        """Area of each parcel, shape (p,)."""
        return np.asarray(shapely.area(self.shape))

    def corners(self, cells: Ints) -> Floats:
        """Return the south-west corners of cells, shape (c, 2)."""
        row, column = np.divmod(cells, self.width)
        return np.asarray(self.origin + np.column_stack([column, row]) * self.cell_m)

    def met(self, bounds: Floats) -> tuple[Ints, Ints]:
        """Return row and parcel of all pairs whose cell the bounds of the row enter.

        Raises
        ------
        TooLarge
            More than `MAX_PIECES` pairs.
        """
        if not len(bounds):
            return np.empty(0, np.int64), np.empty(0, np.int64)
        limit = np.array([self.width, self.height])
        low = np.floor((bounds[:, :2] - self.origin) / self.cell_m)
        high = np.floor((bounds[:, 2:] - self.origin) / self.cell_m)
        beside = (high < 0).any(axis=1) | (low >= limit).any(axis=1)
        low = np.clip(low, 0, limit - 1).astype(np.int64)
        high = np.clip(high, 0, limit - 1).astype(np.int64)
        across, up = np.where(beside, 0, (high - low + 1).T)
        if (across * up).sum() > MAX_PIECES:
            raise TooLarge(
                f"The fields of view reach too far for their area to be computed: more than {MAX_PIECES:,} pieces.",
                MAX_PIECES,
            )
        row, within, _ = spread(across * up, np.zeros(len(low), np.int64))
        cell = (low[row, 1] + within // across[row]) * self.width + low[row, 0]
        cell += within % across[row]
        pair, _, parcel = spread(np.diff(self.first)[cell], self.first[cell])
        return row[pair], parcel


@dataclass(frozen=True, eq=False)
class _Found:
    """What was found out about one parcel."""

    key: bytes
    stamp: Ints
    seen_m2: Floats
    alone_m2: Floats
    at_least: tuple[NDArray[np.object_], ...]
    area_m2: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Cover:
    """How parcels are covered by the fields of view of some devices."""

    parcels: Parcels
    most: int
    found: dict[int, _Found]
    """By parcel; those nothing reaches into are left out."""
    renewed: int
    """How many parcels were computed for this and not taken over."""
    stamp: Ints
    """Names of all fields of view, ascending, shape (n,)."""
    bounds: Floats
    """Where they reach, shape (n, 4), NaN where they are empty."""

    def covered_m2(self, k: int = 1) -> Floats:
        """Return the area of each parcel that at least k devices cover, shape (p,).

        Raises
        ------
        ValueError
            k beyond what was computed.
        """
        if not 1 <= k <= self.most:
            raise ValueError(f"k must lie in 1..{self.most}")
        area = np.zeros(len(self.parcels))
        for parcel, found in self.found.items():
            area[parcel] = found.area_m2[k - 1]
        return np.minimum(area, self.parcels.area_m2)

    def shares(self, stamps: Ints) -> tuple[Floats, Floats]:
        """Return what each device sees of the zones, and how much of it no other one sees, in m2.

        Parameters
        ----------
        stamps : ndarray of int, shape (n,)
            As given to `cover`.
        """
        order = np.argsort(stamps)
        seen, alone = np.zeros(len(stamps)), np.zeros(len(stamps))
        if self.found and len(stamps):
            every = list(self.found.values())
            place = order[np.searchsorted(stamps[order], np.concatenate([f.stamp for f in every]))]
            np.add.at(seen, place, np.concatenate([found.seen_m2 for found in every]))
            np.add.at(alone, place, np.concatenate([found.alone_m2 for found in every]))
        return seen, alone

    def ground(self, k: int = 1) -> NDArray[np.object_]:
        """Return what at least k devices cover in each parcel, shape (p,)."""
        if not 1 <= k <= self.most:
            raise ValueError(f"k must lie in 1..{self.most}")
        parts = [found.at_least[k - 1] for found in self.found.values()]
        row = np.repeat(np.array(list(self.found), np.int64), [len(part) for part in parts])
        flat = np.concatenate([np.empty(0, dtype=object), *parts])
        return collected(flat, row, len(self.parcels))

    def gaps(self, zones: Ints, k: int = 1, least_m2: float = 0.0) -> tuple[NDArray[np.object_], Ints]:
        """Return the connected pieces of zones that fewer than k devices cover, largest first.

        Parameters
        ----------
        zones : ndarray of int
            Zones asked for; a gap lies in one zone.
        k : int, optional
        least_m2 : float, optional
            Smaller pieces are left out.

        Returns
        -------
        tuple of ndarray
            Polygons, and the zone of each.
        """
        pieces, zone = [np.empty(0, dtype=object)], [np.empty(0, np.int64)]
        ground = self.ground(k)
        for number in zones.tolist():
            covered = ground[(self.parcels.zone == number) & ~shapely.is_empty(ground)]
            found = uncovered(self.parcels.zones[number], covered)
            found = found[shapely.area(found) >= max(least_m2, _SPECK_M2)]
            pieces.append(found)
            zone.append(np.full(len(found), number))
        flat, of = np.concatenate(pieces), np.concatenate(zone)
        order = np.argsort(-shapely.area(flat), kind="stable")
        return flat[order], of[order]


def cover(
    parcels: Parcels,
    shape: NDArray[np.object_],
    stamp: Ints,
    most: int = 2,
    before: Cover | None = None,
) -> Cover:
    """Return how fields of view cover parcels.

    Parameters
    ----------
    parcels : Parcels
    shape : ndarray of Polygon or MultiPolygon, shape (n,)
        Valid fields of view, in metres; empty ones cover nothing.
    stamp : ndarray of int, shape (n,)
        Names of the fields of view, all different: a shape that differs has another stamp.
    most : int, optional
        Up to how many times ground is counted, at least 2.
    before : Cover, optional
        An earlier answer for the same parcels: what is the same as there is not computed again.

    Raises
    ------
    TooLarge
        The shapes reach into more than `MAX_PIECES` parcels.
    ValueError
        `most` below 2.
    """
    if most < 2:
        raise ValueError("most must be at least 2")
    kept = before if before and before.parcels is parcels and before.most == most else None
    bounds = _bounds(shape, stamp, kept)
    known = kept.found if kept else {}
    touched = None if kept is None else _touched(kept, stamp, bounds)
    row, parcel = _reached(parcels, bounds, touched)
    order = np.lexsort((stamp[row], parcel))
    row, parcel = row[order], parcel[order]
    first = np.flatnonzero(np.diff(parcel, prepend=-1))
    names, limits = stamp[row], np.append(first, len(row)).tolist()
    found: dict[int, _Found] = {}
    if touched is not None:
        again = set(touched.tolist())
        found = {number: one for number, one in known.items() if number not in again}
    keys: dict[int, bytes] = {}
    for at, number in enumerate(parcel[first].tolist()):
        key = names[limits[at] : limits[at + 1]].tobytes()
        if number in known and known[number].key == key:
            found[number] = known[number]
        else:
            keys[number] = key
    new = np.isin(parcel, np.array(list(keys), np.int64))
    for part in _shared_out(parcels, shape[row[new]], stamp[row[new]], parcel[new], most, keys):
        found |= part
    # In the order of parcels, so that sums do not depend on what was known before.
    order = np.argsort(stamp, kind="stable")
    return Cover(parcels, most, dict(sorted(found.items())), len(keys), stamp[order], bounds[order])


def _bounds(shape: NDArray[np.object_], stamp: Ints, kept: Cover | None) -> Floats:
    """Return where shapes reach, asking only those that are not known from before."""
    if kept is None or not len(kept.stamp):
        return np.asarray(shapely.bounds(shape)).reshape(-1, 4)
    place = np.minimum(np.searchsorted(kept.stamp, stamp), len(kept.stamp) - 1)
    found = kept.bounds[place]
    new = np.flatnonzero(kept.stamp[place] != stamp)
    found[new] = np.asarray(shapely.bounds(shape[new])).reshape(-1, 4)
    return found


def _touched(kept: Cover, stamp: Ints, bounds: Floats) -> Ints | None:
    """Return the parcels that a field of view has come to or gone from; None for many."""
    come = ~np.isin(stamp, kept.stamp)
    gone = ~np.isin(kept.stamp, stamp)
    if come.sum() + gone.sum() > _FEW:
        return None
    moved = np.concatenate([bounds[come], kept.bounds[gone]])
    return np.unique(kept.parcels.met(moved[~np.isnan(moved[:, 0])])[1])


def _reached(parcels: Parcels, bounds: Floats, touched: Ints | None) -> tuple[Ints, Ints]:
    """Return row and parcel of all pairs, or of those with the parcels touched."""
    rows = np.flatnonzero(~np.isnan(bounds[:, 0]))
    if touched is None:
        row, parcel = parcels.met(bounds[rows])
        return rows[row], parcel
    cells = np.unique(np.searchsorted(parcels.first, touched, side="right") - 1)
    if len(cells) <= _FEW_CELLS:
        near = np.zeros(len(rows), np.bool_)
        for west, south in parcels.corners(cells).tolist():
            # A little more than the cell: which cells are entered is decided below.
            side = parcels.cell_m + 1.0
            near |= (
                (bounds[rows, 0] <= west + side)
                & (bounds[rows, 2] >= west - 1.0)
                & (bounds[rows, 1] <= south + side)
                & (bounds[rows, 3] >= south - 1.0)
            )
        rows = rows[near]
    row, parcel = parcels.met(bounds[rows])
    wanted = np.isin(parcel, touched)
    return rows[row[wanted]], parcel[wanted]


def _shared_out(
    parcels: Parcels,
    shape: NDArray[np.object_],
    stamp: Ints,
    parcel: Ints,
    most: int,
    keys: dict[int, bytes],
) -> Iterator[dict[int, _Found]]:
    """Yield what is found out about the parcels in `keys`, some parcels at a time on every core.

    GEOS works without Python's lock, so threads do.
    """
    starts = np.arange(0, len(parcel), SHARE)
    starts = np.unique(np.searchsorted(parcel, parcel[starts]))  # parcels stay whole
    ends = np.append(starts[1:], len(parcel))

    def work(first: int, last: int) -> dict[int, _Found]:
        own = {number: keys[number] for number in np.unique(parcel[first:last]).tolist()}
        rows = slice(first, last)
        return _computed(parcels, shape[rows], stamp[rows], parcel[rows], most, own)

    if len(starts) < 2:
        yield work(0, len(parcel))
        return
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from pool.map(work, starts.tolist(), ends.tolist())


def _computed(
    parcels: Parcels,
    shape: NDArray[np.object_],
    stamp: Ints,
    parcel: Ints,
    most: int,
    keys: dict[int, bytes],
) -> dict[int, _Found]:
    """Return what is found out about the parcels in `keys`; rows are sorted by parcel."""
    pieces = _clipped(parcels, shape, parcel)
    some = ~shapely.is_empty(pieces)
    inside = layers(pieces[some], parcel[some], most)
    seen, alone = shapely.area(pieces), np.zeros(len(pieces))
    alone[some] = inside.alone_m2
    measured = [shapely.area(level) for level in inside.at_least]
    numbers = np.array(list(keys), np.int64)
    rows = np.searchsorted(parcel, numbers), np.searchsorted(parcel, numbers, "right")
    clusters = (
        np.searchsorted(inside.group, numbers),
        np.searchsorted(inside.group, numbers, "right"),
    )
    found = {}
    for number, a, b, c, d in zip(numbers.tolist(), *(part.tolist() for part in (*rows, *clusters)), strict=True):
        found[number] = _Found(
            keys[number],
            stamp[a:b],
            seen[a:b],
            alone[a:b],
            tuple(level[c:d] for level in inside.at_least),
            tuple(float(area[c:d].sum()) for area in measured),
        )
    return found


def _clipped(parcels: Parcels, shape: NDArray[np.object_], parcel: Ints) -> NDArray[np.object_]:
    """Return what lies of each shape in its parcel."""
    pieces = shape.copy()
    bounds = shapely.bounds(shape).reshape(-1, 4)
    limits = shapely.bounds(parcels.shape[parcel]).reshape(-1, 4)
    within = (bounds[:, :2] >= limits[:, :2]).all(axis=1) & (bounds[:, 2:] <= limits[:, 2:]).all(axis=1)
    cut = np.flatnonzero(~(within & parcels.whole[parcel]))
    pieces[cut] = areas(shapely.intersection(shape[cut], parcels.shape[parcel[cut]]))
    return pieces

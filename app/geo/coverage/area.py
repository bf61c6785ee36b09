"""Area coverage: the area of zones that fields of view cover, once and k times, the gaps, and the share of each device.

Zones are cut along a grid into sections. A section whose fields of view have not changed keeps its result, and the
result after a change equals a full computation. Covered areas and gaps together make up the zone. All coordinates are
metres of one local projection.
"""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import shapely
from shapely.geometry import MultiPolygon, Polygon

from app.errors import TooLarge
from app.geo.arrays import Bools, Floats, Ints, Shapes, expand_ranges
from app.geo.coverage.overlap import collect_multipolygons, compute_overlap_levels, keep_areas, subtract_covered
from app.messages import Message

CELL_M: Final = 500.0
"""Side of a grid cell; a change affects only the cells that it touches."""
MAX_CELLS: Final = 20_000
"""Cells are larger if a zone would need more than this number."""
MAX_PIECES: Final = 2_000_000
"""Greatest number of pieces of fields of view; a city of 100,000 cameras has 150,000."""
BATCH_PIECES: Final = 10_000
"""Pieces of fields of view that one thread computes together."""
_FEW_CHANGES: Final = 1_000
"""Changed fields of view up to which only the sections that they touch are computed."""
_FEW_CELLS: Final = 32
_SPECK_M2: Final = 1e-6
"""A smaller piece comes from rounding and is not a gap."""


@dataclass(frozen=True, eq=False)
class ZoneSections:
    """Zones cut along a grid; p rows, one for each piece of a zone in a cell.

    Parameters
    ----------
    zones : ndarray of Polygon or MultiPolygon
    origin, cell_m, width, height
        The grid: its south-west corner, the side of a cell, and the number of cells.
    zone : ndarray of int, shape (p,)
        Zone of each section.
    shape : ndarray of Polygon or MultiPolygon, shape (p,)
    whole : ndarray of bool, shape (p,)
        Which sections fill their cell.
    first : ndarray of int, shape (width * height + 1,)
        Rows ``first[c]:first[c + 1]`` are in cell c.
    """

    zones: Shapes
    origin: Floats
    cell_m: float
    width: int
    height: int
    zone: Ints
    shape: Shapes
    whole: Bools
    first: Ints

    @classmethod
    def from_zones(cls, zones: Sequence[Polygon | MultiPolygon], cell_m: float = CELL_M) -> "ZoneSections":
        """Return the sections of zones that do not overlap; raise ValueError without zones or if one is empty."""
        shapes = np.array(zones, dtype=object)
        if not len(shapes) or shapely.is_empty(shapes).any():
            raise ValueError("at least one zone is needed, and none may be empty")
        low = shapely.total_bounds(shapes)[:2]
        size = shapely.total_bounds(shapes)[2:] - low
        side = max(cell_m, float(np.sqrt(size.prod() / MAX_CELLS)), float(size.max()) / 5000)
        low = np.floor(low / side) * side  # the same grid lines for any set of zones
        width, height = (np.floor((size + side) / side) + 1).astype(int).tolist()
        row, column = np.divmod(np.arange(width * height), width)
        west, south = low[0] + column * side, low[1] + row * side
        boxes = shapely.box(west, south, west + side, south + side)
        shapely.prepare(shapes)
        cells, zone_rows, pieces, whole = [], [], [], []
        for zone, shape in enumerate(shapes):
            contained = shapely.contains(shape, boxes)
            filled = np.flatnonzero(contained)
            crossed = np.flatnonzero(shapely.intersects(shape, boxes) & ~contained)
            cut = keep_areas(shapely.intersection(shape, boxes[crossed]))
            has_area = ~shapely.is_empty(cut)
            cells.append(np.concatenate([filled, crossed[has_area]]))
            pieces.append(np.concatenate([boxes[filled], cut[has_area]]))
            whole.append(np.arange(len(cells[-1])) < len(filled))
            zone_rows.append(np.full(len(cells[-1]), zone))
        cell = np.concatenate(cells)
        order = np.argsort(cell, kind="stable")
        counts = np.bincount(cell, minlength=width * height)
        return cls(
            zones=shapes,
            origin=low,
            cell_m=side,
            width=width,
            height=height,
            zone=np.concatenate(zone_rows)[order],
            shape=np.concatenate(pieces)[order],
            whole=np.concatenate(whole)[order],
            first=np.concatenate([[0], np.cumsum(counts)]),
        )

    def __len__(self) -> int:
        """Return the number of sections."""
        return len(self.zone)

    @cached_property
    def area_m2(self) -> Floats:
        """Area of each section, shape (p,)."""
        return np.asarray(shapely.area(self.shape))

    def compute_corners(self, cells: Ints) -> Floats:
        """Return the south-west corners of cells, shape (c, 2)."""
        row, column = np.divmod(cells, self.width)
        return np.asarray(self.origin + np.column_stack([column, row]) * self.cell_m)

    def find_entered(self, bounds: Floats) -> tuple[Ints, Ints]:
        """Return row and section of all pairs in which the bounds of the row enter the cell of the section.

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
        outside = (high < 0).any(axis=1) | (low >= limit).any(axis=1)
        low = np.clip(low, 0, limit - 1).astype(np.int64)
        high = np.clip(high, 0, limit - 1).astype(np.int64)
        columns, rows = np.where(outside, 0, (high - low + 1).T)
        if (columns * rows).sum() > MAX_PIECES:
            raise TooLarge(
                Message(
                    "The fields of view reach too far for their area to be computed: more than {limit:,} pieces.",
                    limit=MAX_PIECES,
                ),
                MAX_PIECES,
            )
        row, within, _ = expand_ranges(columns * rows, np.zeros(len(low), np.int64))
        cell = (low[row, 1] + within // columns[row]) * self.width + low[row, 0]
        cell += within % columns[row]
        pair, _, section = expand_ranges(np.diff(self.first)[cell], self.first[cell])
        return row[pair], section


@dataclass(frozen=True, eq=False)
class SectionCoverage:
    """The result for one section."""

    key: bytes
    """Identifiers of its fields of view as bytes: an equal key means an equal result."""
    view_id: Ints
    seen_m2: Floats
    """Area that each field of view covers."""
    exclusive_m2: Floats
    """Area that only this field of view covers."""
    at_least: tuple[Shapes, ...]
    """``at_least[t - 1]``: areas that t or more fields of view cover."""
    area_m2: tuple[float, ...]
    """The sums of these areas."""


@dataclass(frozen=True, eq=False)
class CoveredSections:
    """The coverage of sections by fields of view."""

    sections: ZoneSections
    max_count: int
    section_coverage: dict[int, SectionCoverage]
    """By section; sections that no field of view enters are left out."""
    recomputed_count: int
    """Number of sections that were computed and not taken over."""
    view_id: Ints
    """Identifiers of all fields of view, ascending, shape (n,)."""
    bounds: Floats
    """Their bounds, shape (n, 4), NaN if a field of view is empty."""

    def covered_m2(self, k: int = 1) -> Floats:
        """Return the area of each section that at least k devices cover, shape (p,).

        Raises
        ------
        ValueError
            k is greater than `max_count`.
        """
        self._check_count(k)
        area = np.zeros(len(self.sections))
        for section, coverage in self.section_coverage.items():
            area[section] = coverage.area_m2[k - 1]
        return np.minimum(area, self.sections.area_m2)

    def compute_view_areas(self, view_ids: Ints) -> tuple[Floats, Floats]:
        """Return the area of the zones that each field of view covers, and the part that no other one covers, in m2.

        Parameters
        ----------
        view_ids : ndarray of int, shape (n,)
            As passed to `compute_area_coverage`.
        """
        order = np.argsort(view_ids)
        seen, exclusive = np.zeros(len(view_ids)), np.zeros(len(view_ids))
        if self.section_coverage and len(view_ids):
            coverages = list(self.section_coverage.values())
            ids = np.concatenate([coverage.view_id for coverage in coverages])
            index = order[np.searchsorted(view_ids[order], ids)]
            np.add.at(seen, index, np.concatenate([coverage.seen_m2 for coverage in coverages]))
            np.add.at(exclusive, index, np.concatenate([coverage.exclusive_m2 for coverage in coverages]))
        return seen, exclusive

    def collect_covered(self, k: int = 1) -> Shapes:
        """Return the area of each section that at least k devices cover, as MultiPolygons, shape (p,)."""
        self._check_count(k)
        polygons = [coverage.at_least[k - 1] for coverage in self.section_coverage.values()]
        row = np.repeat(np.array(list(self.section_coverage), np.int64), [len(shapes) for shapes in polygons])
        return collect_multipolygons(np.concatenate([np.empty(0, dtype=object), *polygons]), row, len(self.sections))

    def find_gaps(self, zones: Ints, k: int = 1, min_m2: float = 0.0) -> tuple[Shapes, Ints]:
        """Return the connected areas that fewer than k devices cover, largest first.

        Parameters
        ----------
        zones : ndarray of int
            Zones to search; a gap is in one zone.
        k : int, optional
        min_m2 : float, optional
            Smaller gaps are left out.

        Returns
        -------
        tuple of ndarray
            Polygons, and the zone of each.
        """
        gaps, gap_zones = [np.empty(0, dtype=object)], [np.empty(0, np.int64)]
        covered = self.collect_covered(k)
        for zone in zones.tolist():
            covered_in_zone = covered[(self.sections.zone == zone) & ~shapely.is_empty(covered)]
            zone_gaps = subtract_covered(self.sections.zones[zone], covered_in_zone)
            zone_gaps = zone_gaps[shapely.area(zone_gaps) >= max(min_m2, _SPECK_M2)]
            gaps.append(zone_gaps)
            gap_zones.append(np.full(len(zone_gaps), zone))
        polygons, zone_of = np.concatenate(gaps), np.concatenate(gap_zones)
        order = np.argsort(-shapely.area(polygons), kind="stable")
        return polygons[order], zone_of[order]

    def _check_count(self, k: int) -> None:
        if not 1 <= k <= self.max_count:
            raise ValueError(f"k must lie in 1..{self.max_count}")


def compute_area_coverage(
    sections: ZoneSections,
    shape: Shapes,
    view_id: Ints,
    max_count: int = 2,
    before: CoveredSections | None = None,
) -> CoveredSections:
    """Return the coverage of sections by fields of view.

    Parameters
    ----------
    sections : ZoneSections
    shape : ndarray of Polygon or MultiPolygon, shape (n,)
        Valid fields of view, in metres; empty ones cover nothing.
    view_id : ndarray of int, shape (n,)
        Identifiers of the fields of view, all different: another shape has another identifier.
    max_count : int, optional
        Greatest number of times that an area is counted as covered, at least 2.
    before : CoveredSections, optional
        An earlier result for the same sections: what is the same there is not computed again.

    Raises
    ------
    TooLarge
        The shapes enter more than `MAX_PIECES` sections.
    ValueError
        `max_count` is below 2.
    """
    if max_count < 2:
        raise ValueError("max_count must be at least 2")
    earlier = before if before and before.sections is sections and before.max_count == max_count else None
    bounds = _compute_bounds(shape, view_id, earlier)
    earlier_results = earlier.section_coverage if earlier else {}
    touched = None if earlier is None else _find_touched_sections(earlier, view_id, bounds)
    row, section = _find_pieces(sections, bounds, touched)
    order = np.lexsort((view_id[row], section))
    row, section = row[order], section[order]
    first = np.flatnonzero(np.diff(section, prepend=-1))
    ids, limits = view_id[row], np.append(first, len(row)).tolist()
    coverage: dict[int, SectionCoverage] = {}
    if touched is not None:
        touched_set = set(touched.tolist())
        coverage = {number: result for number, result in earlier_results.items() if number not in touched_set}
    keys: dict[int, bytes] = {}
    for index, number in enumerate(section[first].tolist()):
        key = ids[limits[index] : limits[index + 1]].tobytes()
        if number in earlier_results and earlier_results[number].key == key:
            coverage[number] = earlier_results[number]
        else:
            keys[number] = key
    new = np.isin(section, np.array(list(keys), np.int64))
    for results in _iter_results(sections, shape[row[new]], view_id[row[new]], section[new], max_count, keys):
        coverage |= results
    # In the order of sections, so that sums do not depend on what was known before.
    order = np.argsort(view_id, kind="stable")
    return CoveredSections(
        sections, max_count, dict(sorted(coverage.items())), len(keys), view_id[order], bounds[order]
    )


def _compute_bounds(shape: Shapes, view_id: Ints, earlier: CoveredSections | None) -> Floats:
    """Return the bounds of shapes; those that an earlier result has are taken over."""
    if earlier is None or not len(earlier.view_id):
        return np.asarray(shapely.bounds(shape)).reshape(-1, 4)
    index = np.minimum(np.searchsorted(earlier.view_id, view_id), len(earlier.view_id) - 1)
    bounds = earlier.bounds[index]
    new = np.flatnonzero(earlier.view_id[index] != view_id)
    bounds[new] = np.asarray(shapely.bounds(shape[new])).reshape(-1, 4)
    return bounds


def _find_touched_sections(earlier: CoveredSections, view_id: Ints, bounds: Floats) -> Ints | None:
    """Return the sections that a new or a removed field of view enters; None if there are many changes."""
    added = ~np.isin(view_id, earlier.view_id)
    removed = ~np.isin(earlier.view_id, view_id)
    if added.sum() + removed.sum() > _FEW_CHANGES:
        return None
    changed = np.concatenate([bounds[added], earlier.bounds[removed]])
    return np.unique(earlier.sections.find_entered(changed[~np.isnan(changed[:, 0])])[1])


def _find_pieces(sections: ZoneSections, bounds: Floats, touched: Ints | None) -> tuple[Ints, Ints]:
    """Return row and section of all pairs, or of those with the touched sections."""
    rows = np.flatnonzero(~np.isnan(bounds[:, 0]))
    if touched is None:
        row, section = sections.find_entered(bounds[rows])
        return rows[row], section
    cells = np.unique(np.searchsorted(sections.first, touched, side="right") - 1)
    if len(cells) <= _FEW_CELLS:
        is_near = np.zeros(len(rows), np.bool_)
        for west, south in sections.compute_corners(cells).tolist():
            # A little more than the cell: `find_entered` decides below which cells are entered.
            side = sections.cell_m + 1.0
            is_near |= (
                (bounds[rows, 0] <= west + side)
                & (bounds[rows, 2] >= west - 1.0)
                & (bounds[rows, 1] <= south + side)
                & (bounds[rows, 3] >= south - 1.0)
            )
        rows = rows[is_near]
    row, section = sections.find_entered(bounds[rows])
    is_touched = np.isin(section, touched)
    return rows[row[is_touched]], section[is_touched]


def _iter_results(
    sections: ZoneSections, shape: Shapes, view_id: Ints, section: Ints, max_count: int, keys: dict[int, bytes]
) -> Iterator[dict[int, SectionCoverage]]:
    """Yield the results for the sections in `keys`, some sections at a time, computed on every core.

    GEOS releases the lock of the interpreter, so threads run in parallel.
    """
    starts = np.arange(0, len(section), BATCH_PIECES)
    starts = np.unique(np.searchsorted(section, section[starts]))  # a section is in one batch
    ends = np.append(starts[1:], len(section))

    def compute_batch(first: int, last: int) -> dict[int, SectionCoverage]:
        batch_keys = {number: keys[number] for number in np.unique(section[first:last]).tolist()}
        rows = slice(first, last)
        return _compute_sections(sections, shape[rows], view_id[rows], section[rows], max_count, batch_keys)

    if len(starts) < 2:
        yield compute_batch(0, len(section))
        return
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from pool.map(compute_batch, starts.tolist(), ends.tolist())


def _compute_sections(
    sections: ZoneSections, shape: Shapes, view_id: Ints, section: Ints, max_count: int, keys: dict[int, bytes]
) -> dict[int, SectionCoverage]:
    """Return the results for the sections in `keys`; rows are sorted by section."""
    pieces = _clip_to_sections(sections, shape, section)
    has_area = ~shapely.is_empty(pieces)
    levels = compute_overlap_levels(pieces[has_area], section[has_area], max_count)
    seen, exclusive = shapely.area(pieces), np.zeros(len(pieces))
    exclusive[has_area] = levels.exclusive_m2
    level_areas = [shapely.area(level) for level in levels.at_least]
    numbers = np.array(list(keys), np.int64)
    rows = np.searchsorted(section, numbers), np.searchsorted(section, numbers, "right")
    clusters = np.searchsorted(levels.group, numbers), np.searchsorted(levels.group, numbers, "right")
    columns = (column.tolist() for column in (numbers, *rows, *clusters))
    results = {}
    for number, row_start, row_end, start, end in zip(*columns, strict=True):
        results[number] = SectionCoverage(
            keys[number],
            view_id[row_start:row_end],
            seen[row_start:row_end],
            exclusive[row_start:row_end],
            tuple(level[start:end] for level in levels.at_least),
            tuple(float(areas[start:end].sum()) for areas in level_areas),
        )
    return results


def _clip_to_sections(sections: ZoneSections, shape: Shapes, section: Ints) -> Shapes:
    """Return the intersection of each shape with its section."""
    pieces = shape.copy()
    bounds = shapely.bounds(shape).reshape(-1, 4)
    limits = shapely.bounds(sections.shape[section]).reshape(-1, 4)
    within = (bounds[:, :2] >= limits[:, :2]).all(axis=1) & (bounds[:, 2:] <= limits[:, 2:]).all(axis=1)
    cut = np.flatnonzero(~(within & sections.whole[section]))
    pieces[cut] = keep_areas(shapely.intersection(shape[cut], sections.shape[section[cut]]))
    return pieces

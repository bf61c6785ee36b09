"""Valid rows of a batch as CSV for COPY: without duplicates, inside a jurisdiction, with zone and distances.

Works on whole columns, in a thread. Each staged row is in a jurisdiction that the sender may write,
inside its extent, and is the only row of the file with its code.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import shapely
from shapely.geometry.base import BaseGeometry

from app.geo.arrays import Bools, Floats, Ints, Shapes
from app.geo.rings.membership import RingIndex
from app.imports import row_errors
from app.imports.queries.staging import list_staged_columns
from app.ingest.validation.issues import RowIssue
from app.ingest.validation.location import SWAP_HINTS
from app.ingest.values import copy_text
from app.records import ring_membership
from app.records.kinds import Kind
from app.records.ring_membership import JurisdictionRings

_WITHOUT_HEADER: Final = pa_csv.WriteOptions(include_header=False)
_SAMPLE_ROWS: Final = 200
_MEMBERSHIP_COLUMNS: Final = ("zone", "rings", "on_boundary", "distance_m")


class DuplicateIndex:
    """Finds texts that occur more than once in a file of any length: stores two hashes of each, 16 bytes."""

    def __init__(self) -> None:
        self._segments: list[tuple[Ints, Ints, Ints]] = []
        """Sorted first hashes, second hashes and row numbers."""

    def add_texts(self, texts: list[str], rows: Ints) -> list[tuple[int, int]]:
        """Add texts; return (index, row of its first occurrence) of those that occurred before."""
        hashes = np.fromiter(map(hash, texts), np.int64, len(texts))
        order = np.argsort(hashes, kind="stable")
        duplicates = _find_duplicates(texts, rows, hashes, order)
        for segment in self._segments:
            duplicates |= _find_in_segment(texts, hashes, segment)
        new = order[~np.isin(order, list(duplicates))] if duplicates else order
        second_hashes = np.fromiter((_hash_again(texts[index]) for index in new.tolist()), np.int64, len(new))
        self._segments.append((hashes[new], second_hashes, rows[new]))
        self._merge_segments()
        return sorted(duplicates.items())

    def _merge_segments(self) -> None:
        """Merge the last two segments while they have about the same size, so that few remain."""
        while len(self._segments) > 1 and len(self._segments[-2][0]) <= 2 * len(self._segments[-1][0]):
            joined = [np.concatenate(pair) for pair in zip(*self._segments[-2:], strict=True)]
            order = np.argsort(joined[0], kind="stable")
            self._segments[-2:] = [(joined[0][order], joined[1][order], joined[2][order])]


def _hash_again(text: str) -> int:
    """Return a second hash: two texts are taken as equal only if both hashes are equal."""
    return hash(text + "\0")


def _find_duplicates(texts: list[str], rows: Ints, hashes: Ints, order: Ints) -> dict[int, int]:
    """Return the row of the first occurrence by index, for texts that repeat one of the same batch."""
    same = np.flatnonzero(hashes[order][1:] == hashes[order][:-1])
    candidates = set(order[same].tolist()) | set(order[same + 1].tolist())
    first_rows: dict[str, int] = {}
    duplicates: dict[int, int] = {}
    for index in sorted(candidates):
        if texts[index] in first_rows:
            duplicates[index] = first_rows[texts[index]]
        else:
            first_rows[texts[index]] = int(rows[index])
    return duplicates


def _find_in_segment(texts: list[str], hashes: Ints, segment: tuple[Ints, Ints, Ints]) -> dict[int, int]:
    """Return the row of the first occurrence by index, for texts of an earlier batch."""
    first_hashes, second_hashes, rows = segment
    if not len(first_hashes):
        return {}
    positions = np.searchsorted(first_hashes, hashes)
    positions[positions == len(first_hashes)] = 0
    return {
        index: int(rows[positions[index]])
        for index in np.flatnonzero(first_hashes[positions] == hashes).tolist()
        if second_hashes[positions[index]] == _hash_again(texts[index])
    }


@dataclass(eq=False)
class StagedBatch:
    """The rows of one batch that are ready for COPY, and the issues of the rows that are left out."""

    csv: bytes
    columns: tuple[str, ...]
    rows: Ints
    codes: Any
    """Codes of the rows, an Arrow array."""
    issues: list[RowIssue]
    sample: Floats
    """Some of the locations, lon and lat, shape (n, 2), all in jurisdiction ``owner``."""
    owner: str | None


@dataclass(eq=False)
class BatchStager:
    """Stages the batches of one file."""

    kind: Kind
    swap_hint: str = SWAP_HINTS["pair"]
    """Hint for swapped axes; depends on the columns of the location."""
    jurisdictions: dict[str, JurisdictionRings] = field(default_factory=dict)
    """Jurisdictions that the sender may write; rows of others are refused."""
    codes: DuplicateIndex = field(default_factory=DuplicateIndex)
    references: DuplicateIndex = field(default_factory=DuplicateIndex)

    def stage_batch(self, records: Any) -> StagedBatch:
        """Return the valid rows of a batch, an Arrow table, for COPY."""
        selection = _RowSelection(self, records)
        selection.reject_unknown_jurisdictions()
        selection.reject_duplicates()
        selection.reject_locations_outside()
        records, rows, owners, locations = selection.select_rows()
        lonlat = None if locations is None or not self.kind.has_zone else locations.lonlat
        if lonlat is not None:
            records = self._add_memberships(records, owners, lonlat)
        names = ("row", *list_staged_columns(self.kind))
        columns = [n for n in names if n in records.column_names and records[n].null_count < len(records)]
        sink = BytesIO()
        pa_csv.write_csv(records.select(columns), sink, _WITHOUT_HEADER)
        codes = records["code"].combine_chunks()
        owner = owners[0] if lonlat is not None and len(owners) else None
        sampled = np.flatnonzero(owners == owner)[:: max(1, len(owners) // _SAMPLE_ROWS)][:_SAMPLE_ROWS]
        sample = np.empty((0, 2)) if lonlat is None else lonlat[sampled]
        return StagedBatch(sink.getvalue(), tuple(columns), rows, codes, selection.issues, sample, owner)

    def _add_memberships(self, records: Any, owners: Shapes, lonlat: Floats) -> Any:
        """Return the table with zone, rings, on_boundary and distance_m of every row."""
        indexes = {owner: rings.index for owner, rings in self.jurisdictions.items()}
        present = sorted(set(owners.tolist()))
        if len(present) == 1:
            columns = compute_memberships(indexes[present[0]], lonlat)
        else:
            columns = _compute_memberships_by_owner(indexes, owners, lonlat)
        for name in _MEMBERSHIP_COLUMNS:
            records = records.append_column(name, columns[name])
        return records


class _Locations:
    """Valid geometries, given as EWKB in hexadecimal; points are read without Shapely objects."""

    def __init__(self, ewkb: Any) -> None:
        self._ewkb = ewkb
        self._points = copy_text.parse_points(ewkb)
        self._shapes: Shapes = np.empty(0, dtype=object)
        if self._points is None:
            self._shapes = np.array(shapely.from_wkb(ewkb.to_numpy()), dtype=object)

    @property
    def bounds(self) -> Floats:
        """West, south, east and north of each geometry, shape (n, 4)."""
        if self._points is not None:
            return np.hstack([self._points, self._points])
        return shapely.bounds(self._shapes).reshape(-1, 4)

    @property
    def lonlat(self) -> Floats:
        """One location for each geometry, shape (n, 2): the point itself, or a point inside the area."""
        if self._points is not None:
            return self._points
        return ring_membership.to_representative_points(list(self._shapes))

    def __getitem__(self, index: int) -> BaseGeometry:
        shape: BaseGeometry | None = shapely.from_wkb(self._ewkb[index].as_py())
        assert shape is not None  # noqa: S101  # validated before
        return shape


def _read_locations(records: Any) -> _Locations | None:
    """Return the locations of rows; None if the file has none, so that the registered ones stay."""
    return _Locations(records["geometry"]) if "geometry" in records.column_names else None


class _RowSelection:
    """The rows of one batch, without those that are refused."""

    def __init__(self, stager: BatchStager, records: Any) -> None:
        self.stager, self.records = stager, records
        self.rows = records["row"].to_numpy().astype(np.int64)
        self.owners: Shapes = np.array(records["jurisdiction"].to_pylist(), dtype=object)
        self.locations = _read_locations(records)
        self.selected: Bools = np.ones(len(self.rows), dtype=bool)
        self.issues: list[RowIssue] = []

    def select_rows(self) -> tuple[Any, Ints, Shapes, _Locations | None]:
        """Return table, row numbers, jurisdictions and locations of the rows that are not refused."""
        if self.selected.all():
            return self.records, self.rows, self.owners, self.locations
        records = self.records.filter(pa.array(self.selected))
        return records, self.rows[self.selected], self.owners[self.selected], _read_locations(records)

    def reject_unknown_jurisdictions(self) -> None:
        """Refuse rows of jurisdictions that do not exist or are outside the sender's scope."""
        for owner in sorted(set(self.owners.tolist()) - set(self.stager.jurisdictions)):
            refused = self.owners == owner
            self.selected &= ~refused
            self.issues += [row_errors.UNKNOWN_JURISDICTION.to_issue(int(row), owner) for row in self.rows[refused]]

    def reject_duplicates(self) -> None:
        """Refuse rows with the code or the owner reference of an earlier row."""
        codes = self.records["code"].to_pylist()
        for index, first in self.stager.codes.add_texts(codes, self.rows):
            self.selected[index] = False
            self.issues.append(row_errors.DUPLICATE_CODE.to_issue(int(self.rows[index]), codes[index], first=first))
        if "owner_reference" not in self.records.column_names:
            return
        has_reference, has_unit = (~self.records[n].is_null().to_numpy() for n in ("owner_reference", "owner_unit"))
        indices = np.flatnonzero(has_reference & has_unit & self.selected)
        if not len(indices):
            return
        records = self.records.take(pa.array(indices))
        references = records["owner_reference"].to_pylist()
        units = records["owner_unit"].to_pylist()
        keys = [
            f"{owner}\0{unit}\0{ref}" for owner, unit, ref in zip(self.owners[indices], units, references, strict=True)
        ]
        for index, first in self.stager.references.add_texts(keys, self.rows[indices]):
            self.selected[indices[index]] = False
            row = int(self.rows[indices[index]])
            self.issues.append(row_errors.DUPLICATE_REFERENCE.to_issue(row, references[index], first=first))

    def reject_locations_outside(self) -> None:
        """Refuse rows outside the extent of their jurisdiction."""
        if self.locations is None:
            return
        bounds = self.locations.bounds
        for owner, rings in self.stager.jurisdictions.items():
            if rings.extent is None:
                continue
            west, south, east, north = rings.extent
            inside = (bounds >= (west, south, west, south)) & (bounds <= (east, north, east, north))
            outside = ~inside.all(axis=1) & (self.owners == owner) & self.selected
            for index in np.flatnonzero(outside).tolist():
                issue = ring_membership.find_location_issue(rings, self.locations[index])
                if issue is not None:
                    self.selected[index] = False
                    row = int(self.rows[index])
                    self.issues.append(row_errors.wrong_location(row, issue, self.stager.swap_hint))


def _compute_memberships_by_owner(
    indexes: Mapping[str, RingIndex | None], owners: Shapes, lonlat: Floats
) -> dict[str, Any]:
    """Return the membership columns of rows of several jurisdictions."""
    chunks: dict[str, list[Any]] = {name: [pa.array([], pa.string())] for name in _MEMBERSHIP_COLUMNS}
    positions = [np.empty(0, np.int64)]
    for owner in sorted(set(owners.tolist())):
        of_owner = np.flatnonzero(owners == owner)
        positions.append(of_owner)
        for name, values in compute_memberships(indexes[owner], lonlat[of_owner]).items():
            chunks[name].append(values)
    original_order = pa.array(np.argsort(np.concatenate(positions), kind="stable"))
    return {name: pa.concat_arrays(values).take(original_order) for name, values in chunks.items()}


def compute_memberships(index: RingIndex | None, lonlat: Floats) -> dict[str, Any]:
    """Return the membership columns of locations, as text that PostgreSQL reads."""
    if index is None or not len(lonlat):
        return dict.fromkeys(_MEMBERSHIP_COLUMNS, pa.nulls(len(lonlat), pa.string()))
    membership = index.locate_points(lonlat)
    levels = [boundary.level for boundary in index.boundaries]
    distances = np.round(membership.distance_m, 2)
    texts: list[Any] = []
    for column, level in enumerate(levels):
        key = f'{"," if column else "{"}"{level}":'
        texts += [key, pc.cast(pa.array(distances[:, column]), pa.string())]
    return {
        "zone": pa.array(membership.zone, pa.string()),
        "rings": _format_levels(membership.inside, levels),
        "on_boundary": _format_levels(membership.on_boundary, levels),
        "distance_m": pc.binary_join_element_wise(*texts, "}", ""),
    }


def _format_levels(flags: Bools, levels: list[Any]) -> Any:
    """Return PostgreSQL array literals of the levels that are set; few of them differ."""
    literals = [
        "{" + ",".join(level for bit, level in enumerate(levels) if code >> bit & 1) + "}"
        for code in range(1 << len(levels))
    ]
    codes = flags @ (1 << np.arange(len(levels)))
    return pa.array(literals).take(pa.array(codes))

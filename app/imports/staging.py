"""Judged rows made ready for COPY: duplicates found, places checked, zones and distances added.

Works on whole columns and runs in a thread. Promises that what it hands on lies in a jurisdiction the
sender may write, inside its extent, once per code in the file.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import shapely
from shapely.geometry.base import BaseGeometry

from app.geo.arrays import Bools, Floats, Ints, Shapes
from app.geo.rings.membership import RingIndex
from app.imports import row_errors
from app.imports.queries.staging import staged_columns
from app.ingest.validation.issues import RowFault
from app.ingest.validation.location import TURN
from app.ingest.values import copy_text
from app.records.kinds import Kind
from app.rings import territory
from app.rings.territory import Territory

# Words that came before in a file of any length, in sixteen bytes each.


class Seen:
    """Words taken in so far, each with the row it came in first: two hashes of it, not the word."""

    def __init__(self) -> None:
        self._parts: list[tuple[Ints, Ints, Ints]] = []

    def repeats(self, words: list[str], rows: Ints) -> list[tuple[int, int]]:
        """Return (position, row of the first) of words that came before; take in the others."""
        first = np.fromiter(map(hash, words), np.int64, len(words))
        order = np.argsort(first, kind="stable")
        found = _within(words, rows, first, order)
        for part in self._parts:
            _before(words, first, part, found)
        kept = order[~np.isin(order, list(found))] if found else order
        second = np.fromiter((_other(words[at]) for at in kept.tolist()), np.int64, len(kept))
        self._parts.append((first[kept], second, rows[kept]))
        self._merge()
        return sorted(found.items())

    def _merge(self) -> None:
        """Keep few sorted parts: two of like size become one."""
        while len(self._parts) > 1 and len(self._parts[-2][0]) <= 2 * len(self._parts[-1][0]):
            joined = [np.concatenate(pair) for pair in zip(*self._parts[-2:], strict=True)]
            order = np.argsort(joined[0], kind="stable")
            self._parts[-2:] = [(joined[0][order], joined[1][order], joined[2][order])]


def _other(word: str) -> int:
    """Return a second hash, so that two words are taken for one only when both agree."""
    return hash(word + "\0")


def _within(words: list[str], rows: Ints, first: Ints, order: Ints) -> dict[int, int]:
    """Return the words that repeat one of the same batch."""
    same = np.flatnonzero(first[order][1:] == first[order][:-1])
    suspects = set(order[same].tolist()) | set(order[same + 1].tolist())
    known: dict[str, int] = {}
    found: dict[int, int] = {}
    for at in sorted(suspects):
        if words[at] in known:
            found[at] = known[words[at]]
        else:
            known[words[at]] = int(rows[at])
    return found


def _before(words: list[str], first: Ints, part: tuple[Ints, Ints, Ints], found: dict[int, int]) -> None:
    """Add the words that repeat one of an earlier batch."""
    hashes, others, numbers = part
    if not len(hashes):
        return
    places = np.searchsorted(hashes, first)
    places[places == len(hashes)] = 0
    for at in np.flatnonzero(hashes[places] == first).tolist():
        if others[places[at]] == _other(words[at]):
            found[at] = int(numbers[places[at]])


Objects = Shapes
_OPTIONS = pa_csv.WriteOptions(include_header=False)
_SAMPLE = 200
_NAMES = ("zone", "rings", "on_boundary", "distance_m")


@dataclass(eq=False)
class Ready:
    """One batch as COPY takes it, and what is wrong with the rows that are left out."""

    csv: bytes
    columns: tuple[str, ...]
    rows: Ints
    codes: Any
    """Codes of the rows, as an Arrow array."""
    faults: list[RowFault]
    sample: Floats
    """Some of the places, shape (n, 2), all of jurisdiction ``owner``."""
    owner: str | None


@dataclass(eq=False)
class Desk:
    """What is known while the batches of one file are made ready."""

    kind: Kind
    turn: str = TURN["pair"]
    """What helps against swapped axes, by where the places of the file come from."""
    territories: dict[str, Territory] = field(default_factory=dict)
    """Jurisdictions the sender may write; others are refused."""
    codes: Seen = field(default_factory=Seen)
    references: Seen = field(default_factory=Seen)

    def ready(self, good: Any) -> Ready:
        """Return the good rows of a batch, an Arrow table, for COPY."""
        sorting = _Sorting(self, good)
        sorting.refuse_strangers()
        sorting.refuse_repeats()
        sorting.refuse_misplaced()
        good, rows, owners, places = sorting.kept()
        lonlat = None if places is None or not self.kind.placed else places.lonlat
        if lonlat is not None:
            good = self._placed(good, owners, lonlat)
        names = ("row", *staged_columns(self.kind))
        filled = [n for n in names if n in good.column_names and good[n].null_count < len(good)]
        sink = BytesIO()
        pa_csv.write_csv(good.select(filled), sink, _OPTIONS)
        codes = good["code"].combine_chunks()
        owner = owners[0] if lonlat is not None and len(owners) else None
        some = np.flatnonzero(owners == owner)[:: max(1, len(owners) // _SAMPLE)][:_SAMPLE]
        sample = np.empty((0, 2)) if lonlat is None else lonlat[some]
        return Ready(sink.getvalue(), tuple(filled), rows, codes, sorting.faults, sample, owner)

    def _placed(self, good: Any, owners: Objects, lonlat: Floats) -> Any:
        """Return the table with zone, rings, on_boundary and distance_m of every row."""
        indexes = {owner: where.index for owner, where in self.territories.items()}
        present = sorted(set(owners.tolist()))
        if len(present) == 1:
            columns = memberships(indexes[present[0]], lonlat)
        else:
            columns = _of_several(indexes, owners, lonlat)
        for name in _NAMES:
            good = good.append_column(name, columns[name])
        return good


class Places:
    """Geometries as they are judged good, EWKB in hexadecimal; points are read without making shapes."""

    def __init__(self, hexed: Any) -> None:
        self._hexed = hexed
        self._points = copy_text.lonlat(hexed)
        self._shapes: Objects = np.empty(0, dtype=object)
        if self._points is None:
            self._shapes = np.array(shapely.from_wkb(hexed.to_numpy()), dtype=object)

    @property
    def bounds(self) -> Floats:
        """West, south, east and north of each, shape (n, 4)."""
        if self._points is not None:
            return np.hstack([self._points, self._points])
        return shapely.bounds(self._shapes).reshape(-1, 4)

    @property
    def lonlat(self) -> Floats:
        """One place for each, shape (n, 2): the point itself, or a point inside the area."""
        if self._points is not None:
            return self._points
        return territory.representatives(list(self._shapes))

    def __getitem__(self, at: int) -> BaseGeometry:
        shape: BaseGeometry | None = shapely.from_wkb(self._hexed[at].as_py())
        assert shape is not None  # noqa: S101  # it was read before
        return shape


def _places(good: Any) -> Places | None:
    """Return the places of rows; None where the file gives none, and those registered stay."""
    return Places(good["geometry"]) if "geometry" in good.column_names else None


class _Sorting:
    """One batch while bad rows are taken out."""

    def __init__(self, desk: Desk, good: Any) -> None:
        self.desk, self.good = desk, good
        self.rows = good["row"].to_numpy().astype(np.int64)
        self.owners: Objects = np.array(good["jurisdiction"].to_pylist(), dtype=object)
        self.places = _places(good)
        self.keep: Bools = np.ones(len(self.rows), dtype=bool)
        self.faults: list[RowFault] = []

    def kept(self) -> tuple[Any, Ints, Objects, Places | None]:
        """Return table, row numbers, jurisdictions and places of what is left; None: has no places."""
        if self.keep.all():
            return self.good, self.rows, self.owners, self.places
        good = self.good.filter(pa.array(self.keep))
        return good, self.rows[self.keep], self.owners[self.keep], _places(good)

    def refuse_strangers(self) -> None:
        """Refuse rows of jurisdictions that are not there, or not the sender's."""
        for owner in sorted(set(self.owners.tolist()) - set(self.desk.territories)):
            wrong = self.owners == owner
            self.keep &= ~wrong
            self.faults += [row_errors.no_jurisdiction(int(row), owner) for row in self.rows[wrong]]

    def refuse_repeats(self) -> None:
        """Refuse rows whose code, or whose owner's reference, an earlier row has."""
        codes = self.good["code"].to_pylist()
        for at, first in self.desk.codes.repeats(codes, self.rows):
            self.keep[at] = False
            self.faults.append(row_errors.duplicate(int(self.rows[at]), codes[at], first))
        if "owner_reference" not in self.good.column_names:
            return
        said = [~self.good[n].is_null().to_numpy() for n in ("owner_reference", "owner_unit")]
        given = np.flatnonzero(said[0] & said[1] & self.keep)
        some = self.good.take(pa.array(given))
        own = some["owner_reference"].to_pylist()
        words = [
            f"{owner}\0{unit}\0{word}"
            for owner, unit, word in zip(self.owners[given], some["owner_unit"].to_pylist(), own, strict=True)
        ]
        for at, first in self.desk.references.repeats(words, self.rows[given]) if words else ():
            self.keep[given[at]] = False
            row = int(self.rows[given[at]])
            self.faults.append(row_errors.duplicate_reference(row, own[at], first))

    def refuse_misplaced(self) -> None:
        """Refuse rows outside the extent of their jurisdiction."""
        if self.places is None:
            return
        bounds = self.places.bounds
        for owner, where in self.desk.territories.items():
            if where.extent is None:
                continue
            west, south, east, north = where.extent
            inside = (bounds >= (west, south, west, south)) & (bounds <= (east, north, east, north))
            outside = ~inside.all(axis=1) & (self.owners == owner) & self.keep
            for at in np.flatnonzero(outside).tolist():
                fault = territory.misplaced(where, self.places[at])
                if fault is not None:
                    self.keep[at] = False
                    row = int(self.rows[at])
                    self.faults.append(row_errors.misplaced(row, fault.code, fault.message, self.desk.turn))


def _of_several(indexes: Mapping[str, RingIndex | None], owners: Objects, lonlat: Floats) -> dict[str, Any]:
    parts: dict[str, list[Any]] = {name: [pa.array([], pa.string())] for name in _NAMES}
    places = [np.empty(0, np.int64)]
    for owner in sorted(set(owners.tolist())):
        mine = np.flatnonzero(owners == owner)
        places.append(mine)
        for name, values in memberships(indexes[owner], lonlat[mine]).items():
            parts[name].append(values)
    back = pa.array(np.argsort(np.concatenate(places), kind="stable"))
    return {name: pa.concat_arrays(values).take(back) for name, values in parts.items()}


def memberships(index: RingIndex | None, lonlat: Floats) -> dict[str, Any]:
    """Return the columns that say where places lie, as text that PostgreSQL reads."""
    if index is None or not len(lonlat):
        return dict.fromkeys(_NAMES, pa.nulls(len(lonlat), pa.string()))
    found = index.locate(lonlat)
    levels = [boundary.level for boundary in index.boundaries]
    distances = np.round(found.distance_m, 2)
    texts: list[Any] = []
    for place, level in enumerate(levels):
        key = f'{"," if place else "{"}"{level}":'
        texts += [key, pc.cast(pa.array(distances[:, place]), pa.string())]
    return {
        "zone": pa.array(found.zone, pa.string()),
        "rings": _listed(found.inside, levels),
        "on_boundary": _listed(found.on_boundary, levels),
        "distance_m": pc.binary_join_element_wise(*texts, "}", ""),
    }


def _listed(flags: Bools, levels: list[Any]) -> Any:
    """Return array literals of the levels that are flagged; there are few different ones."""
    words = [
        "{" + ",".join(level for bit, level in enumerate(levels) if code >> bit & 1) + "}"
        for code in range(1 << len(levels))
    ]
    codes = flags @ (1 << np.arange(len(levels)))
    return pa.array(words).take(pa.array(codes))

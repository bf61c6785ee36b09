"""The needs of all control points as rows: one unit for each need.

Promises rows in the order of points and their needs, every need in the numbers it is compared by,
and the density its function demands where it states none itself.
"""

from dataclasses import dataclass

import numpy as np

from app.geo.arrays import Bytes, Floats, Ints, spread
from app.geo.coverage.tables import DIRECTION_BITS, FUNCTION_BITS, Need, Parameters, PointTable


@dataclass(frozen=True, eq=False)
class Units:
    """Needs of all control points, one row each, in the order of points and their needs."""

    point: Ints
    need: Ints
    start: Ints
    function: Bytes
    direction: Bytes
    working: Ints
    density: Floats

    @classmethod
    def of(cls, points: PointTable, parameters: Parameters) -> "Units":
        """Return the needs of all points, each distinct set of needs read once."""
        # Most points share the very tuple of their category, so each is read once.
        places: dict[int, int] = {}
        distinct: list[tuple[Need, ...]] = []
        which = np.empty(len(points), dtype=np.int64)
        for at, needs in enumerate(points.needs):
            place = places.get(id(needs))
            if place is None:
                place = places[id(needs)] = len(distinct)
                distinct.append(needs)
            which[at] = place
        flat_needs = [need for needs in distinct for need in needs]
        sizes = np.array([len(needs) for needs in distinct], dtype=np.int64)
        counts = sizes[which]
        point, need, row = spread(counts, (np.cumsum(sizes) - sizes)[which])
        density = [
            parameters.density[found.function] if found.min_px_per_m is None else found.min_px_per_m
            for found in flat_needs
        ]
        return cls(
            point,
            need,
            np.concatenate([[0], np.cumsum(counts)]),
            np.array([FUNCTION_BITS[found.function] for found in flat_needs], np.uint8)[row],
            np.array([DIRECTION_BITS[found.direction] for found in flat_needs], np.uint8)[row],
            np.array([found.working for found in flat_needs], np.int64)[row],
            np.array(density, np.float64)[row],
        )

    def __len__(self) -> int:
        return len(self.point)

"""Strategies for rings and for points that lie in awkward places of them."""

import numpy as np
import shapely
from hypothesis import strategies as st
from shapely.geometry import MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry

from app.geo.projection.local_projection import LocalProjection

FRAME = LocalProjection(4547)
_QUARTER = 1 / 64  # a degree's part with an exact binary form, so that points can be on an edge


def multi(shape: BaseGeometry) -> MultiPolygon:
    """Return a polygonal result of an overlay as a MultiPolygon."""
    if isinstance(shape, MultiPolygon):
        return shape
    assert isinstance(shape, Polygon)
    return MultiPolygon([shape])


@st.composite
def stars(draw: st.DrawFn, longest_deg: float = 0.4) -> MultiPolygon:
    """Return a ring around Jiaozuo with 3 to 40 corners, sometimes with a hole or a second part."""
    corners = draw(st.integers(3, 40))
    size = draw(st.sampled_from([1e-4, 0.01, longest_deg]))
    radii = draw(st.lists(st.floats(0.2, 1), min_size=corners, max_size=corners).map(np.array))
    angle = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    shell = np.column_stack([np.cos(angle), np.sin(angle)]) * radii[:, np.newaxis] * size
    centre = np.array([113.2, 35.2])
    shape: BaseGeometry = Polygon(shell + centre)
    if draw(st.booleans()):
        shape = shape.difference(Polygon(shell * 0.3 + centre))
    if draw(st.booleans()):
        shape = shape.union(Polygon(shell * 0.2 + centre + (size * 3, 0)))
    return multi(shape)


@st.composite
def blocks(draw: st.DrawFn) -> MultiPolygon:
    """Return a union of boxes on an exact lattice, with holes, notches and touching corners."""
    cells = draw(st.sets(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=20))
    boxes = [
        shapely.box(113 + i * _QUARTER, 35 + j * _QUARTER, 113 + (i + 1) * _QUARTER, 35 + (j + 1) * _QUARTER)
        for i, j in sorted(cells)
    ]
    shape = shapely.union_all(boxes)
    return multi(shape)


polygons = stars() | blocks()


@st.composite
def places(draw: st.DrawFn, shape: BaseGeometry, count: int = 60) -> np.ndarray:
    """Return points in and around a shape, on its vertices and edges, and very close to them."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    west, south, east, north = shape.bounds
    wide, high = east - west, north - south
    scattered = np.column_stack(
        [
            rng.uniform(west - wide / 2, east + wide / 2, count),
            rng.uniform(south - high / 2, north + high / 2, count),
        ]
    )
    edges = shapely.get_coordinates(shape.boundary)
    at = rng.integers(0, len(edges) - 1, count)
    middles = (edges[at] + edges[at + 1]) / 2
    beside = edges[at] + rng.choice([-1e-4, -1e-9, 1e-15, 1e-9, 3e-5, 1e-4], (count, 2))
    lattice = 113 + np.arange(7) * _QUARTER, 35 + np.arange(7) * _QUARTER
    crossings = np.column_stack([rng.choice(axis, count) for axis in lattice])
    return np.concatenate([scattered, edges[at], middles, beside, crossings])

"""PostGIS as the second opinion on `app.geo`: containment and distance of the same shapes."""

from typing import Any

import numpy as np
import pytest
from shapely.geometry import MultiPolygon, Polygon
from sqlalchemy import text

from app.db.engine import Database
from app.geo.projection.local_projection import get_projection
from app.geo.rings.membership import Boundary, RingIndex

RING = Polygon([(113.0, 35.0), (113.3, 34.95), (113.45, 35.2), (113.2, 35.35), (112.95, 35.2)])
HOLE = [(113.15, 35.1), (113.25, 35.1), (113.2, 35.18)]
SHAPE = MultiPolygon([Polygon(RING.exterior.coords, [HOLE])])


async def _opinion(database: Database, points: Any) -> list[tuple[bool, float]]:
    """Return what PostGIS says: covered or not, and geodesic metres to the border."""
    statement = text(
        "SELECT ST_Covers(ring, p), ST_Distance(ST_Boundary(ring)::geography, p::geography) "
        "FROM (SELECT ST_GeomFromText(:ring, 4326) AS ring) AS r, "
        "unnest(CAST(:lon AS float8[]), CAST(:lat AS float8[])) WITH ORDINALITY AS u(x, y, n), "
        "LATERAL (SELECT ST_SetSRID(ST_MakePoint(x, y), 4326) AS p) AS q ORDER BY n"
    )
    bound = {"ring": SHAPE.wkt, "lon": points[:, 0].tolist(), "lat": points[:, 1].tolist()}
    async with database.open_connection() as connection:
        return [(row[0], row[1]) for row in await connection.execute(statement, bound)]


async def test_membership_agrees_with_postgis(database: Database) -> None:
    points = np.random.default_rng(4108).uniform([112.9, 34.9], [113.5, 35.4], (2_000, 2))
    membership = RingIndex([Boundary("city", SHAPE)], get_projection(4547)).locate_points(points)
    expected = await _opinion(database, points)
    assert membership.inside[:, 0].tolist() == [covered for covered, _ in expected]
    # PostGIS joins vertices by geodesics, we by straight lines in degrees: they part by a few metres
    # over edges of 30 km. The projection itself is within 3.5e-4.
    distances = np.array([distance for _, distance in expected])
    assert np.abs(membership.distance_m[:, 0]) == pytest.approx(distances, rel=5e-4, abs=15)


async def test_a_vertex_is_inside_for_both(database: Database) -> None:
    vertices = np.array(RING.exterior.coords)[:-1]
    membership = RingIndex([Boundary("city", SHAPE)], get_projection(4547)).locate_points(vertices)
    expected = await _opinion(database, vertices)
    assert membership.inside[:, 0].tolist() == [covered for covered, _ in expected] == [True] * len(vertices)
    assert np.abs(membership.distance_m[:, 0]).max() < 1e-6

"""Locations in the extent of a jurisdiction, outside it, and with swapped axes; the cache of rings."""

from contextlib import suppress

import pytest
from shapely.geometry import LineString, Point, box
from sqlalchemy.ext.asyncio import AsyncConnection

from app.access.roles import OPERATOR
from app.db.engine import Database, WriteContext
from app.records import payloads
from app.records import service as record_service
from app.records.kinds import JURISDICTION
from app.records.payloads import Precondition
from app.records.ring_membership import JurisdictionRings, find_location_issue
from app.rings import service as ring_service
from tests.builders import CITY, LAT, LON, jurisdiction, square

FAR_WEST = JurisdictionRings("650100", (86.0, 42.0, 89.0, 45.0), None, None, ())
"""An extent in which both orders of a pair of numbers are locations on Earth."""


@pytest.mark.parametrize("shape", [Point(87.6, 43.8), Point(86, 42), box(86, 42, 89, 45)])
def test_a_location_in_the_extent_has_no_issue(shape: Point) -> None:
    assert find_location_issue(FAR_WEST, shape) is None


@pytest.mark.parametrize(
    ("shape", "code"),
    [
        (Point(43.8, 87.6), "swapped-coordinates"),
        (box(43, 87, 44, 88), "swapped-coordinates"),
        (LineString([(43.8, 87.6), (43.9, 87.7)]), "swapped-coordinates"),
        (Point(43.8, 80), "outside-extent"),
        (Point(0, 0), "outside-extent"),
        (LineString([(87, 43), (43, 87)]), "outside-extent"),
    ],
)
def test_a_location_outside_the_extent_has_an_issue(shape: Point, code: str) -> None:
    fault = find_location_issue(FAR_WEST, shape)
    assert fault is not None
    assert (fault.pointer, fault.code) == ("/geometry", code)


def test_without_an_extent_no_location_has_an_issue() -> None:
    assert find_location_issue(JurisdictionRings("650100", None, None, None, ()), Point(0, 0)) is None


async def _put_ring(connection: AsyncConnection, half_deg: float) -> None:
    await ring_service.save_ring(
        connection, CITY, "core", square(half_deg), OPERATOR, Precondition(),
        datum="wgs84", max_vertices=100,
    )  # fmt: skip


async def test_a_rolled_back_ring_is_not_used(database: Database) -> None:
    """Another boundary gets the same version number after the rollback."""
    who = WriteContext("tests")
    async with database.open_transaction(who) as connection:
        await record_service.create_record(
            connection, JURISDICTION, payloads.parse_draft(JURISDICTION, jurisdiction()), OPERATOR
        )
    with suppress(ZeroDivisionError):
        async with database.open_transaction(who) as connection:
            await _put_ring(connection, 0.1)
            raise ZeroDivisionError
    async with database.open_transaction(who) as connection:
        await _put_ring(connection, 0.01)
        payload = {"points": [[LON + 0.05, LAT]]}
        found = await ring_service.compute_membership(connection, CITY, payload, OPERATOR, 10)
    assert found["points"][0]["zone"] == "outside"

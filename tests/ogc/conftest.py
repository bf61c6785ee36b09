"""A city with a few records of each kind, asked through the GIS interface."""

from typing import Any

import httpx
import pytest

from tests.builders import building, camera, checkpoint, control_point, point, road

Json = dict[str, Any]


@pytest.fixture
async def gis(ringed: httpx.AsyncClient) -> httpx.AsyncClient:
    """An administrator's client and a city: 12 cameras in a row, a checkpoint, a road, 2 points."""
    cameras = [
        camera(
            f"cam-{number:02}",
            geometry=point(113.2 + number / 1000, 35.2),
            functions=["face"] if number % 2 else ["vehicle", "overview"],
            range_m=number * 10 + 5,
            name_zh=f"摄像机{number}" if number else None,
            name_en="Ünïcode" if number == 3 else None,
            installed_on=f"2026-01-{number + 1:02}",
            removed_on="2026-03-01" if number == 5 else None,
            sign_present=number > 6 if number else None,
            network_address="198.51.100.7",
        )
        for number in range(12)
    ]
    for kind, items in (
        ("cameras", cameras),
        ("checkpoints", [checkpoint()]),
        ("roads", [road()]),
        ("buildings", [building()]),
        (
            "control-points",
            [control_point(), control_point("point-2", geometry=point(113.21, 35.21))],
        ),
    ):
        response = await ringed.post(f"/v1/{kind}:batch", json={"items": items})
        assert response.status_code == 200, response.text
    return ringed

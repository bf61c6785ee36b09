"""The life of an import over HTTP: a file in, its job, its rows, the file given back."""

import httpx

from imports.files import brought, cameras


async def test_a_file_goes_in_and_again_changes_nothing(ringed: httpx.AsyncClient) -> None:
    job = await brought(ringed, cameras(7))
    assert (job["state"], job["written"], job["problem"]) == ("done", True, None)
    assert {k: v for k, v in job["counts"].items() if v} == {"rows": 7, "created": 7}
    found = (await ringed.get("/v1/cameras/cam-3")).json()
    assert (found["name_zh"], found["zone"], found["rings"]) == (
        "摄像机3", "core", ["core", "urban", "city"],
    )  # fmt: skip
    again = await brought(ringed, cameras(7))
    assert {k: v for k, v in again["counts"].items() if v} == {"rows": 7, "unchanged": 7}
    assert (await ringed.get("/v1/cameras/cam-3")).json()["version"] == 1

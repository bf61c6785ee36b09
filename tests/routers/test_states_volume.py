"""Many reports at once: arrays and lines, odd ones among ordinary ones, refused by their place."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from app.errors import Invalid
from app.states import service as state_service
from app.states.service import REPORTS
from tests.builders import camera, checkpoint

LINES = {"Content-Type": "application/x-ndjson"}


def _ago(seconds: float) -> str:
    return (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat()


def _report(code: str, seconds: float = 0, state: str = "online", **more: Any) -> dict[str, Any]:
    return {"code": code, "state": state, "reported_at": _ago(seconds), **more}


def _lines(*values: Any) -> bytes:
    return b"\n".join(orjson.dumps(value) for value in values)


async def test_lines_are_taken_like_an_array(city: httpx.AsyncClient) -> None:
    await city.put("/v1/cameras/a", json=camera("a"))
    await city.put("/v1/checkpoints/b", json=checkpoint("b"))
    body = _lines(_report("a"), _report("b", kind="checkpoint"), _report("ghost")) + b"\n\r\n\n"
    answer = await city.post("/v1/states", content=body, headers=LINES)
    assert answer.json() == {
        "received": 3, "applied": 2, "ignored": 0, "unknown": [{"kind": "camera", "code": "ghost"}],
    }  # fmt: skip
    assert (await city.get("/v1/checkpoints/b")).json()["working"] is True


async def test_a_line_that_is_not_json_is_named(city: httpx.AsyncClient) -> None:
    body = _lines(_report("a")) + b"\n\n{broken\n"
    answer = await city.post("/v1/states", content=body, headers=LINES)
    assert (answer.status_code, answer.json()["code"]) == (422, "malformed-json")
    assert answer.json()["detail"].startswith("Line 3 ")


async def test_two_values_on_a_line_are_not_two_lines(city: httpx.AsyncClient) -> None:
    one = _lines(_report("a")).decode()
    answer = await city.post("/v1/states", content=f"{one},{one}", headers=LINES)
    assert answer.json()["code"] == "malformed-json"


async def test_reports_of_the_future_are_refused_by_their_place(city: httpx.AsyncClient) -> None:
    await city.put("/v1/cameras/a", json=camera("a"))
    reports = [_report("a"), _report("a", -301), _report("a", -299), _report("a", -9999)]
    answer = await city.post("/v1/states", json={"states": reports})
    assert (answer.status_code, answer.json()["code"]) == (422, "future-time")
    pointers = [fault["pointer"] for fault in answer.json()["errors"]]
    assert pointers == ["/states/1/reported_at", "/states/3/reported_at"]
    assert (await city.get("/v1/cameras/a")).json()["state"] == "unknown"  # nothing was written


async def test_order_and_repetition_change_nothing(city: httpx.AsyncClient) -> None:
    await city.put("/v1/cameras/a", json=camera("a"))
    words = ("online", "offline", "fault")
    reports = [_report("a", seconds, words[seconds % 3]) for seconds in range(30)]
    first = await city.post("/v1/states", json=[*reports[10:], *reports[:5], *reports])
    assert first.json()["applied"] == 1
    again = (await city.post("/v1/states", content=_lines(*reports), headers=LINES)).json()
    assert (again["applied"], again["ignored"]) == (0, 30)
    assert (await city.get("/v1/cameras/a")).json()["state"] == "online"


async def test_a_thousand_go_at_once(city: httpx.AsyncClient) -> None:
    rows = [camera(f"c{number}") for number in range(1000)]
    assert (await city.post("/v1/cameras:batch", json=rows)).status_code == 200
    reports = [_report(f"c{number}", number % 7) for number in range(1000)]
    answer = (await city.post("/v1/states", json=reports)).json()
    assert (answer["applied"], answer["unknown"]) == (1000, [])
    online = (await city.get("/v1/cameras?state=online&limit=1000")).json()
    assert len(online["items"]) == 1000


_TEXT = st.sampled_from(["a", "c-1", "", "a\n", "a\nb", "号", "x" * 64, "x" * 65, "a b", "2026-01-31T08:00:00Z"])
_TIMES = st.sampled_from(
    ["2026-01-31T08:00:00Z", "2026-01-31T08:00:00.123456+00:00", "2026-01-31T08:00:00+08:00",
     "2026-02-30T08:00:00Z", "2026-01-31 08:00Z", "2026-01-31T08:00:00", "2026-01-31T24:00:00Z",
     "2026-01-31T08:00:60Z", "0000-01-01T00:00:00Z", "2026-01-31T08:00:00Z\n", "", 5, None]
)  # fmt: skip
_REPORT = st.fixed_dictionaries(
    {"code": _TEXT | st.integers(), "state": st.sampled_from(["online", "fault", "on", 1, None])},
    optional={
        "kind": st.sampled_from(["camera", "checkpoint", "road", None]),
        "reported_at": _TIMES,
        "x": st.just(1),
    },
)


@settings(max_examples=200)
@given(st.lists(_REPORT, max_size=4))
def test_the_quick_way_reads_what_the_model_reads(payload: list[Any]) -> None:
    """What the quick way takes, the model takes with the same values; what it refuses is refused."""
    try:
        expected = REPORTS.validate_python(payload)
    except ValidationError:
        with pytest.raises(Invalid):
            state_service.parse_reports(payload)
        return
    found = state_service.parse_reports(payload)
    assert [found.kind, found.code, found.state] == [
        [report.kind for report in expected],
        [report.code for report in expected],
        [report.state for report in expected],
    ]
    if all("reported_at" in report for report in payload):
        assert found.reported_at == [report.reported_at for report in expected]

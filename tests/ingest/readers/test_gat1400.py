"""Lists of a view library: wrapped, bare, alone and together."""

import json
from pathlib import Path
from typing import Any

import pytest

from app.errors import Invalid
from tests.ingest.readers.files import read, written

APE = {"ApeID": "41080200001190000001", "Name": "东门", "Longitude": 113.24, "IsOnline": "1"}
GATE = {"TollgateID": "41080200001210000001", "Name": "东门卡口", "LaneNum": 2}
LANES = [
    {"TollgateID": GATE["TollgateID"], "LaneId": index, "LaneNo": index, "Direction": "1", "CityPass": 1}
    for index in (1, 2)
]


def saved(folder: Path, content: Any) -> Path:
    return written(folder, json.dumps(content, ensure_ascii=False), "viid.json")


@pytest.mark.parametrize("wrapped", [
    {"APEListObject": {"APEObject": [APE]}}, {"APEList": {"APEObject": [APE]}}, {"APEList": [APE]},
    {"APEObject": [APE]}, {"APEObject": APE}, [APE], APE, {"code": 0, "data": {"list": [APE]}},
])  # fmt: skip
def test_devices_in_every_wrapper(tmp_path: Path, wrapped: Any) -> None:
    result = read(saved(tmp_path, wrapped))
    assert (result.detected.format, result.detected.layer) == ("gat1400", "APE")
    assert result.rows == [{key: str(value) for key, value in APE.items()}]


def test_lanes_join_their_tollgates(tmp_path: Path) -> None:
    stray = {**LANES[0], "TollgateID": "41080200001210000009"}
    content = {
        "TollgateListObject": {"TollgateObject": [GATE]},
        "LaneListObject": {"LaneObject": [*LANES, stray]},
    }
    result = read(saved(tmp_path, content))
    assert result.detected.layers == ("Tollgate", "Lane")
    assert result.column("TollgateID") == [GATE["TollgateID"]]
    assert json.loads(result.rows[0]["lanes"] or "") == LANES
    assert any("1 lanes belong to no tollgate" in note for note in result.detected.notes)
    lanes = read(saved(tmp_path, content), layer="Lane")
    assert (lanes.detected.layer, lanes.column("LaneId")) == ("Lane", ["1", "2", "1"])


def test_lanes_without_tollgates_are_rows(tmp_path: Path) -> None:
    result = read(saved(tmp_path, {"LaneListObject": {"LaneObject": LANES}}))
    assert result.detected.layer == "Lane"
    assert result.column("CityPass") == ["1", "1"]


def test_states_are_a_layer(tmp_path: Path) -> None:
    state = {"ApeID": APE["ApeID"], "CurrentTime": "20240102030405", "IsOnline": "2"}
    result = read(saved(tmp_path, {"APEStatusListObject": {"APEStatusObject": [state]}}))
    assert (result.detected.layer, result.rows) == ("APEStatus", [state])


def test_other_objects_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(Invalid) as rejection:
        read(saved(tmp_path, [APE, {"PersonID": "1"}]))
    assert rejection.value.code == "unsupported-format"
    with pytest.raises(Invalid) as rejection:
        read(saved(tmp_path, [APE]), layer="Lane")
    assert rejection.value.code == "unknown-layer"


@pytest.mark.parametrize("case", [str.lower, str.upper, lambda name: name.replace("ID", "_id")])
def test_names_are_taken_in_any_case(tmp_path: Path, case: Any) -> None:
    def turned(value: Any) -> Any:
        if isinstance(value, dict):
            return {case(key): turned(member) for key, member in value.items()}
        return [turned(item) for item in value] if isinstance(value, list) else value

    wrapped = {"APEListObject": {"APEObject": [APE]}}
    assert read(saved(tmp_path, turned(wrapped))).column("ApeID") == [APE["ApeID"]]
    assert read(saved(tmp_path, turned([APE]))).detected.layer == "APE"
    both = {
        "TollgateListObject": {"TollgateObject": [GATE]},
        "LaneListObject": {"LaneObject": LANES},
    }
    result = read(saved(tmp_path, turned(both)))
    assert result.detected.layers == ("Tollgate", "Lane")
    assert len(json.loads(str(result.column("lanes")[0]))) == 2

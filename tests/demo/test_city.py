"""The demo city: plan, rings, network, and planted faults with the documented reasons."""

import json
import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from app.demo.city import DemoCity, build_city
from app.demo.planted_faults import EXPECTED, render_faults_table
from app.geo.coverage import assessment
from app.geo.projection.local_projection import get_projection
from app.models.vocabulary import DEFAULT_REQUIREMENTS, LEVELS
from app.records.kinds import CameraDraft, CheckpointDraft, ControlPointDraft, JurisdictionDraft, RoadDraft

DOC = Path(__file__).parents[2] / "docs" / "demo.md"
FRAME = get_projection(4547)
SEARCH_M, ASSUMED_M, ASSIGNED_M = 200.0, 30.0, 100.0
PIXELS = {"face": 250.0, "vehicle": 200.0, "structured": 125.0, "overview": 25.0}
PREFIX = {"city_road": "CR", "urban_road": "UR", "core_road": "KR"} | {
    "core_junction": "KJ", "core_site": "KS"
}  # fmt: skip
LEVEL_OF = {"city_road": "city", "urban_road": "urban", "core_road": "core"}


@cache
def city() -> DemoCity:
    """Return the city, built once."""
    return build_city()


@cache
def ring(level: str) -> BaseGeometry:
    """Return a ring in metres."""
    return FRAME.project(shape(city().rings[level]["geometry"]))  # type: ignore[index]  # a level


def metric(draft: dict[str, Any]) -> BaseGeometry:
    """Return a draft's geometry in metres."""
    return FRAME.project(shape(draft["geometry"]))


@cache
def groups() -> dict[str, BaseGeometry]:
    """Return the lines of every road group, in metres."""
    lines = defaultdict(list)
    for road in city().roads:
        lines[road["group"]].append(metric(road))
    return {group: shapely.union_all(members) for group, members in lines.items()}


# -- the evaluation: the coverage rules of the design, written down once more and naively ----------


@dataclass(frozen=True)
class Device:
    """A checkpoint or camera as the rules see it."""

    draft: dict[str, Any]
    location: shapely.Point
    functions: frozenset[str]
    directions: frozenset[str]
    group: str

    def failing(self) -> list[str]:
        """Return what keeps it from working at all."""
        actual = [] if self.draft["lifecycle"] == "in_use" else ["not_in_use"]
        if self.draft["state"] in {"offline", "fault"}:
            actual.append("offline")
        elif self.draft["state"] is None or self.draft.get("reported_at"):
            actual.append("stale")
        return actual


def served(words: list[str | None]) -> frozenset[str]:
    """Return the directions that words serve; none given serves both."""
    if None in words or not words:
        return frozenset({"inbound", "outbound"})
    ways = {"both": {"inbound", "outbound"}, "none": set[str]()}
    return frozenset(travel for word in words for travel in ways.get(str(word), {str(word)}))


@cache
def devices() -> list[Device]:
    """Return all devices."""
    lanes = {c["code"]: [lane["direction"] for lane in c["lanes"]] for c in city().checkpoints}
    actual = []
    for draft in city().checkpoints + city().cameras:
        functions = draft.get("functions") or [draft["kind"]]
        words = lanes.get(draft["code"]) if "kind" in draft else None
        if words is None:
            words = [draft["direction"]] if draft.get("direction") else []
            words = words or lanes.get(draft.get("checkpoint") or "", [])
        group = draft.get("checkpoint") or draft.get("failure_group") or draft["code"]
        location = shapely.Point(metric(draft).coords[0])
        actual.append(Device(draft, location, frozenset(functions), served(words), group))
    return actual


def reach(device: Device, away: np.ndarray[Any, Any], function: str, assigned: bool) -> list[str]:
    """Return why a device does not reach a place ``away`` from it; nothing when it does."""
    draft, distance = device.draft, float(np.hypot(*away))
    if distance < 1:
        return []
    if "kind" in draft or (draft.get("range_m") is None and draft.get("azimuth_deg") is None):
        return ["too_far"] if distance > (ASSIGNED_M if assigned else ASSUMED_M) else []
    actual = ["too_far"] if distance > draft["range_m"] else []
    if draft.get("azimuth_deg") is not None:
        grid = np.degrees(np.arctan2(away[0], away[1]))
        true = grid + FRAME.convergence_deg([draft["geometry"]["coordinates"]])[0]
        off = abs((true - draft["azimuth_deg"] + 180) % 360 - 180)
        actual += ["out_of_view"] if off > draft.get("opening_deg", 60) / 2 else []
        actual += ["too_coarse"] if density(draft, distance) < PIXELS.get(function, 0) else []
    return actual


def density(draft: dict[str, Any], distance: float) -> float:
    """Return pixels per metre at a distance."""
    half = np.radians(draft.get("opening_deg", 60) / 2)
    return float(draft["horizontal_pixels"] / (2 * distance * np.tan(half)))


@cache
def nearby(code: str) -> list[tuple[Device, np.ndarray[Any, Any]]]:
    """Return the devices assigned to a point or near it, with the way to it in metres."""
    location = metric(next(point for point in city().control_points if point["code"] == code))
    actual = []
    for device in devices():
        if device.draft["control_point"] == code or location.distance(device.location) <= SEARCH_M:
            nearest = shapely.shortest_line(device.location, location).coords
            actual.append((device, np.subtract(nearest[-1], nearest[0])))
    return actual


def candidates(
    point: dict[str, Any], function: str, direction: str | None
) -> Iterator[tuple[Device, tuple[Any, ...], list[str]]]:
    """Yield the devices that could serve a need, with their order of merit and what fails."""
    for device, away in nearby(point["code"]):
        distance = float(np.hypot(*away))
        assigned = device.draft["control_point"] == point["code"]
        reached = reach(device, away, function, assigned)
        if not assigned and function not in device.functions and reached:
            continue
        failing = device.failing() + reached
        failing += [] if function in device.functions else ["wrong_function"]
        failing += ["wrong_direction"] if direction and direction not in device.directions else []
        yield device, (len(failing), not assigned, distance), failing


def needs(point: dict[str, Any]) -> Iterator[tuple[str, str | None]]:
    """Yield what a control point demands: function and direction."""
    requirements: Any = point.get("requirements") or DEFAULT_REQUIREMENTS[point["category"]]
    for requirement in requirements:
        for direction in requirement["directions"] or [None]:
            yield requirement["function"], direction


@cache
def evaluated() -> dict[str, tuple[str, dict[tuple[str, str | None], list[str]]]]:
    """Return status, and unmet needs with what fails at the best candidate, of every point."""
    answer = {}
    for point in city().control_points:
        counts, unmet = [], {}
        for need in needs(point):
            actual = sorted(candidates(point, *need), key=lambda item: item[1])
            counts.append(len({device.group for device, _, failing in actual if not failing}))
            if not counts[-1]:
                unmet[need] = actual[0][2] if actual else ["none"]
        met = sum(count > 0 for count in counts)
        status = "partial" if met else "uncovered"
        if met == len(counts):
            status = "backed_up" if min(counts) > 1 else "covered"
        answer[point["code"]] = status, unmet
    return answer


# -- the same facts as the coverage engine takes them ----------------------------------------------


def device_table() -> assessment.DeviceTable:
    """Return all devices in the engine's columns."""
    rows = {device.draft["code"]: row for row, device in enumerate(devices())}
    points = {point["code"]: row for row, point in enumerate(city().control_points)}
    numbers = {group: n for n, group in enumerate({device.group: 0 for device in devices()})}
    drafts = [device.draft for device in devices()]
    silent = [draft["state"] is None or "reported_at" in draft for draft in drafts]
    words = ["unknown" if old else d["state"] for d, old in zip(drafts, silent, strict=True)]
    optics = ["azimuth_deg", "opening_deg", "range_m", "near_m", "horizontal_pixels"]
    columns = {name: np.array([d.get(name, np.nan) for d in drafts], float) for name in optics}
    return assessment.DeviceTable(
        kind=["checkpoint" if "kind" in draft else "camera" for draft in drafts],
        code=[draft["code"] for draft in drafts],
        lonlat=np.array([draft["geometry"]["coordinates"] for draft in drafts]),
        functions=bits(assessment.FUNCTION_BITS, [device.functions for device in devices()]),
        directions=bits(assessment.DIRECTION_BITS, [device.directions for device in devices()]),
        lifecycle=np.array(
            [assessment.IN_USE if d["lifecycle"] == "in_use" else assessment.NOT_IN_USE for d in drafts],
            np.uint8,
        ),
        state=np.array([assessment.STATE_CODES[word] for word in words], np.uint8),
        stale=np.array(silent),
        h_pixels=columns.pop("horizontal_pixels"),
        **columns,
        assigned=np.array([points.get(draft["control_point"], -1) for draft in drafts]),
        installation=np.array([rows.get(draft.get("checkpoint"), -1) for draft in drafts]),
        group=np.array([numbers[device.group] for device in devices()]),
    )


def bits(of: Mapping[Any, int], words: list[frozenset[str]]) -> np.ndarray[Any, Any]:
    """Return sets of words as sets of bits."""
    return np.array([sum(of[word] for word in selection) for selection in words], np.uint8)


@cache
def answered() -> tuple[dict[str, str], dict[tuple[str, str, str | None], str]]:
    """Return the engine's status of every point, and the reason of every need that is not met."""
    built = city().control_points
    shapes = [shape(point["geometry"]) for point in built]
    table = assessment.PointTable(
        code=[point["code"] for point in built],
        lonlat=shapely.get_coordinates(shapely.point_on_surface(shapes)),
        shape={row: area for row, area in enumerate(shapes) if isinstance(area, shapely.Polygon)},
        needs=[tuple(assessment.Need(*need, 1, None) for need in needs(point)) for point in built],
    )
    answer = assessment.assess_coverage(table, device_table(), assessment.Parameters(), FRAME)
    status = {code: assessment.STATUSES[n] for code, n in zip(table.code, answer.status, strict=True)}
    gaps = {}
    for unit in np.flatnonzero(~answer.met):
        point = answer.need_point[unit]
        need = table.needs[point][answer.need_index[unit]]
        reason = assessment.REASONS[answer.primary[unit]]
        gaps[table.code[point], need.function, need.direction] = reason
    return status, gaps


# -- the promises --------------------------------------------------------------------------------


def test_the_same_city_every_time_and_soon() -> None:
    began = time.perf_counter()
    again = build_city()
    assert again == city()
    assert time.perf_counter() - began < 10  # two seconds on an idle machine


def test_every_draft_is_accepted() -> None:
    built = city()
    JurisdictionDraft.model_validate(built.jurisdiction)
    for model, drafts in (
        (RoadDraft, built.roads),
        (ControlPointDraft, built.control_points),
        (CheckpointDraft, built.checkpoints),
        (CameraDraft, built.cameras),
    ):
        for draft in drafts:
            model.model_validate(draft)


def test_codes_are_unique_and_references_lead_somewhere() -> None:
    built = city()
    codes = {}
    for name in ("roads", "control_points", "checkpoints", "cameras"):
        codes[name] = {draft["code"] for draft in getattr(built, name)}
        assert len(codes[name]) == len(getattr(built, name))
    for device in built.checkpoints + built.cameras:
        assert device["control_point"] in codes["control_points"] | {None}
    assert {c["road"] for c in built.checkpoints if c.get("road")} <= codes["roads"]
    assert {c["checkpoint"] for c in built.cameras if "checkpoint" in c} <= codes["checkpoints"]
    lanes = [lane for checkpoint in built.checkpoints for lane in checkpoint["lanes"]]
    assert {lane["camera"] for lane in lanes} <= codes["cameras"]


def test_the_plan_is_met() -> None:
    registered = Counter(point["category"] for point in city().control_points)
    assert registered == city().jurisdiction["plan"]
    assert sum(registered.values()) == 409


@pytest.mark.parametrize("category", list(PREFIX))
def test_control_points_are_numbered_by_category(category: str) -> None:
    codes = [p["code"] for p in city().control_points if p["category"] == category]
    assert codes == [f"CP-{PREFIX[category]}-{n:03d}" for n in range(1, len(codes) + 1)]


def test_sizes_are_those_of_a_city() -> None:
    built = city()
    assert 2500 <= len(built.roads) <= 4000
    assert 1350 <= len(built.cameras) <= 1650
    per_checkpoint = Counter(c["checkpoint"] for c in built.cameras if "checkpoint" in c)
    assert {1, 2, 4} <= set(per_checkpoint.values()) <= {1, 2, 3, 4}


def test_rings_are_valid_and_nested_and_share_the_north() -> None:
    core, urban, whole = (ring(level) for level in LEVELS)
    assert all(line.is_valid for line in (core, urban, whole))
    assert urban.covers(core)
    assert whole.contains(urban)
    assert core.exterior.intersection(urban.exterior).length > 3000  # type: ignore[attr-defined]
    vertices = [len(line.exterior.coords) - 1 for line in (core, urban, whole)]  # type: ignore[attr-defined]
    assert vertices == [300, 400, 900]


def test_everything_lies_in_the_extent() -> None:
    built = city()
    west, south, east, north = built.jurisdiction["extent"]
    extent = shapely.box(west, south, east, north)
    drafts = built.roads + built.control_points + built.checkpoints + built.cameras
    assert all(extent.contains(shape(draft["geometry"])) for draft in drafts)


@pytest.mark.parametrize(("level", "count"), [("core", 47), ("urban", 39), ("city", 129)])
def test_as_many_roads_cross_a_ring_as_the_plan_says_each_once(level: str, count: int) -> None:
    inside, line = ring(level), ring(level).boundary
    crossing = {
        group: lines
        for group, lines in groups().items()
        if lines.difference(inside.buffer(2)).length and lines.intersection(inside.buffer(-2)).length
    }
    assert len(crossing) == count
    for lines in crossing.values():
        neighbours = shapely.union_all(lines.intersection(line)).buffer(40)
        assert len(shapely.get_parts(neighbours)) == 1


def test_one_road_runs_along_the_urban_line_and_never_crosses() -> None:
    lane = groups()["RG-ALONG"]
    assert lane.intersection(ring("urban").boundary.buffer(0.05)).length > 900
    assert lane.difference(ring("urban").buffer(0.05)).is_empty


def test_hard_crossings_are_there() -> None:
    border = ring("city").boundary
    at_border = [road for road in city().roads if metric(road).intersects(border)]
    assert sum(road["bridge"] for road in at_border) == 1
    assert sum(road["tunnel"] for road in at_border) == 1
    assert sum(road["group"] == "RG-M1" for road in at_border) == 2
    met = [len(shapely.get_parts(metric(road).intersection(border))) for road in at_border]
    assert max(met) == 3
    at_core = [road for road in city().roads if metric(road).intersects(ring("core").boundary)]
    assert sorted(r["oneway"] for r in at_core if r["oneway"] != "no") == ["backward", "forward"]


def test_roads_meet_only_at_their_ends_and_form_one_network() -> None:
    lines = [shape(road["geometry"]) for road in city().roads]
    ends = [{line.coords[0], line.coords[-1]} for line in lines]
    layers = [road["layer"] for road in city().roads]
    parent = list(range(len(lines)))

    def root(n: int) -> int:
        while parent[n] != n:
            n = parent[n]
        return n

    for a, b in shapely.STRtree(lines).query(lines, predicate="intersects").T:
        if a < b and layers[a] == layers[b]:
            parts = shapely.get_parts(lines[a].intersection(lines[b]))
            assert {piece.coords[0] for piece in parts} <= ends[a] & ends[b]
        if ends[a] & ends[b]:
            parent[root(a)] = root(b)
    assert len({root(n) for n in range(len(lines))}) == 1


@pytest.mark.parametrize("category", list(LEVEL_OF))
def test_road_points_lie_on_their_line_and_on_a_road(category: str) -> None:
    level = LEVEL_OF[category]
    tolerance = city().rings[level]["properties"]["tolerance_m"]  # type: ignore[index]  # a level
    tree = shapely.STRtree(list(groups().values()))
    for point in city().control_points:
        if point["category"] == category:
            location = metric(point)
            assert location.distance(ring(level).boundary) <= tolerance
            assert tree.query_nearest(location, max_distance=15).size
            assert "inbound_bearing_deg" in point


def test_inbound_bearings_lead_inside() -> None:
    for point in city().control_points:
        if point["category"] in LEVEL_OF:
            turn = np.radians(point["inbound_bearing_deg"])
            travel = 30 * np.array([np.sin(turn), np.cos(turn)])
            ahead = shapely.Point(np.array(metric(point).coords[0]) + travel)
            assert ring(LEVEL_OF[point["category"]]).contains(ahead)


def test_junctions_and_sites_are_in_the_core_and_some_sites_are_areas() -> None:
    inner = [p for p in city().control_points if p["category"] in {"core_junction", "core_site"}]
    assert all(ring("core").contains(metric(point)) for point in inner)
    kinds = Counter(p["geometry"]["type"] for p in inner if p["category"] == "core_site")
    assert kinds == {"Polygon": 9, "Point": 8}


def test_three_streets_or_more_meet_at_every_junction() -> None:
    degree: Counter[tuple[float, ...]] = Counter()
    for road in city().roads:
        line = road["geometry"]["coordinates"]
        degree.update([tuple(line[0]), tuple(line[-1])])
    for point in city().control_points:
        if point["category"] == "core_junction":
            assert degree[tuple(point["geometry"]["coordinates"])] >= 3


def test_every_device_is_accounted_for() -> None:
    for device in city().checkpoints + city().cameras:
        assert device["owner_unit"].endswith(("局", "支队"))
        assert device["legal_basis"].startswith("公共安全视频图像信息系统管理条例")
        assert device["retention_days"] in {30, 90}
        assert device["purpose"]
        assert "demo" in device["filing_number"].lower() or "演示" in device["filing_number"]
    filings = [device["filing_number"] for device in city().checkpoints + city().cameras]
    assert len(set(filings)) == len(filings)


def test_every_reason_is_planted_twice_and_over_categories() -> None:
    points: defaultdict[str, set[str]] = defaultdict(set)
    for fault in city().faults:
        points[fault.reason].add(fault.control_point)
    assert set(points) == {
        "none", "not_in_use", "offline", "stale", "wrong_function", "wrong_direction",
        "too_far", "out_of_view", "too_coarse",
    }  # fmt: skip
    assert all(len(codes) >= 2 for codes in points.values())
    assert all(len({code[:5] for code in codes}) >= 2 for codes in points.values())


def test_the_engine_finds_the_planted_faults_and_no_others() -> None:
    planted = {(f.control_point, f.function, f.direction): f.reason for f in city().faults}
    assert answered()[1] == planted


def test_the_planted_faults_are_all_the_gaps_and_have_one_explanation() -> None:
    gaps = {(code, *need): reasons for code, (_, unmet) in evaluated().items() for need, reasons in unmet.items()}
    planted = {(f.control_point, f.function, f.direction): [f.reason] for f in city().faults}
    assert gaps == planted


def test_no_device_is_near_a_point_where_nothing_is() -> None:
    bare = {fault.control_point for fault in city().faults if fault.reason == "none"}
    for point in city().control_points:
        if point["code"] in bare:
            functions = {function for function, _ in needs(point)}
            rivals = [device.location for device in devices() if device.functions & functions]
            assert shapely.distance(metric(point), rivals).min() > 250


@pytest.mark.parametrize("judge", ["engine", "naive evaluation"])
def test_status_by_category_is_as_expected(judge: str) -> None:
    naive = {code: status for code, (status, _) in evaluated().items()}
    status = answered()[0] if judge == "engine" else naive
    counted: dict[str, Counter[str]] = defaultdict(Counter)
    for point in city().control_points:
        counted[point["category"]][status[point["code"]]] += 1
    for category, expected in EXPECTED["by_category"].items():
        assert {status: counted[category][status] for status in expected} == expected
    total = sum(counted.values(), Counter())
    assert {status: total[status] for status in EXPECTED["total"]} == EXPECTED["total"]


def test_the_document_lists_the_faults_and_the_numbers() -> None:
    text = DOC.read_text(encoding="utf-8")
    assert render_faults_table(city().faults) in text
    for category, expected in EXPECTED["by_category"].items():
        cells = [category, *(str(count) for count in expected.values())]
        assert f"| {' | '.join(cells)} |" in text
    drawn = city()
    assert f"| checkpoints, cameras | {len(drawn.checkpoints)}, {len(drawn.cameras)} |" in text
    assert f"| road edges | {len(drawn.roads)}, noded at junctions |" in text
    assert f"| buildings | {len(drawn.buildings)} houses" in text


def test_the_documented_requests_put_a_camera_where_nothing_is() -> None:
    bodies = re.findall(r"-d '\n(\{.*?\})'", DOC.read_text(encoding="utf-8"), re.DOTALL)
    points = {point["code"]: point for point in city().control_points}
    bare = {fault.control_point for fault in city().faults if fault.reason == "none"}
    assert len(bodies) == 2
    for body in map(json.loads, bodies):
        CameraDraft.model_validate(body)
        assert body["control_point"] in bare
        assert body["geometry"] == points[body["control_point"]]["geometry"]
        assert (body["functions"], body["direction"], body["state"]) == (
            ["vehicle"],
            "both",
            "online",
        )

"""The coverage engine against plain Python, and the laws any such engine must keep."""

import math
from dataclasses import replace

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from app.geo.coverage.assessment import (
    FUNCTIONS,
    REASONS,
    STATE_CODES,
    STATUSES,
    Assessment,
    Need,
    Parameters,
    assess_coverage,
)
from app.geo.projection.local_projection import LocalProjection
from tests.geo import oracle
from tests.geo.oracle import Device, Point

PROJECTION = LocalProjection(4547)
PARAMETERS = Parameters(search_m=120.7, assumed_range_m=31.3, assigned_range_m=77.7)
CENTRE = PROJECTION.to_metres([(113.2, 35.2)])[0]
NAN = math.nan


def lonlat(east: int, north: int) -> tuple[float, float]:
    """Return a place so many metres from the centre."""
    lon, lat = PROJECTION.to_lonlat(CENTRE + np.array([east, north]))[0]
    return float(lon), float(lat)


steps = st.integers(-30, 30).map(lambda step: step * 5)
locations = st.builds(lonlat, steps, steps) | st.just(lonlat(0, 0)) | st.just(lonlat(1000, 0))
needs = st.builds(
    Need,
    st.sampled_from(FUNCTIONS),
    st.sampled_from([None, None, "inbound", "outbound"]),
    st.sampled_from([1, 1, 2, 3]),
    st.sampled_from([None, None, 40.3]),
)
point_lists = st.lists(st.tuples(locations, st.lists(needs, max_size=3).map(tuple)), min_size=1, max_size=3).map(
    lambda rows: [Point(f"P{index}", location, own) for index, (location, own) in enumerate(rows)]
)
mostly_face = st.sampled_from([frozenset({"face"}), frozenset({"face", "vehicle"}), frozenset(FUNCTIONS), frozenset()])
ways = st.sets(st.sampled_from(["inbound", "outbound"])).map(frozenset)
devices = st.builds(
    Device,
    location=locations,
    kind=st.sampled_from(["camera", "camera", "checkpoint"]),
    functions=mostly_face,
    directions=ways,
    in_use=st.sampled_from([True, True, True, False]),
    state=st.sampled_from(["online", "online", "online", *STATE_CODES]),
    stale=st.sampled_from([False, False, False, True]),
    azimuth=st.just(NAN) | st.integers(0, 51).map(lambda index: index * 7 + 0.3),
    opening=st.sampled_from([NAN, 41.9, 97.3, 201.1, 360.0]),
    range_m=st.sampled_from([NAN, 0.5, 37.3, 91.7, 2000.3]),
    near_m=st.sampled_from([NAN, 0.0, 11.9]),
    pixels=st.sampled_from([NAN, 1920.0, 12_000.0, 40_000.0]),
    assigned=st.sampled_from([None, None, "P0", "P1", "P9"]),
    part_of=st.sampled_from([None, "D0", "D1", "D2", "D3"]),
    group=st.integers(-1, 2),
)
device_lists = st.lists(devices, max_size=8).map(
    lambda rows: [replace(device, code=f"D{index}") for index, device in enumerate(rows)]
)
worlds = st.tuples(point_lists, device_lists)


def run(points: list[Point], rows: list[Device]) -> Assessment:
    """Return the engine's answer."""
    return assess_coverage(*oracle.tables(points, rows), PARAMETERS, PROJECTION)


def by_code(points: list[Point], rows: list[Device], assessment: Assessment) -> list[object]:
    """Return an answer without row numbers of devices, to compare worlds in different order."""
    codes = [device.code for device in rows]
    return [
        [STATUSES[code] for code in assessment.status],
        [
            (
                bool(assessment.met[unit]),
                bool(assessment.backed_up[unit]),
                int(assessment.count[unit]),
                int(assessment.groups[unit]),
                assessment.reason_count[unit].tolist(),
                int(assessment.primary[unit]),
                codes[best] if (best := int(assessment.best[unit])) >= 0 else None,
                int(assessment.best_reasons[unit]),
            )
            for unit in range(len(assessment.met))
        ],
        [
            [[replace(candidate, device=-1) for candidate in unit.candidates] for unit in assessment.explain_point(row)]
            for row in range(len(points))
        ],
    ]


@given(worlds)
def test_engine_equals_plain_python(world: tuple[list[Point], list[Device]]) -> None:
    points, rows = world
    assessment = run(points, rows)
    unit = 0
    for index, point in enumerate(points):
        expected = oracle.units(point, rows, PARAMETERS, PROJECTION)
        assert STATUSES[assessment.status[index]] == oracle.status(expected)
        assert assessment.no_requirement[index] == (not expected)
        explained = assessment.explain_point(index)
        assert len(explained) == len(expected)
        for actual, expected_need in zip(explained, expected, strict=True):
            assert actual.met == expected_need.met
            assert actual.backed_up == expected_need.backed_up
            assert actual.count == expected_need.count
            assert actual.groups == expected_need.groups
            assert actual.primary == expected_need.primary
            assert {candidate.code: candidate.reasons for candidate in actual.candidates} == expected_need.reasons
            assert sum(candidate.counts for candidate in actual.candidates) == expected_need.count
            best = int(assessment.best[unit])
            assert (rows[best].code if best >= 0 else None) == expected_need.best
            nearest = actual.nearest.code if actual.nearest else None
            assert nearest == (expected_need.best if expected_need.primary == "none" else None)
            totals = [sum(reason in lacks for lacks in expected_need.reasons.values()) for reason in REASONS[:-1]]
            assert assessment.reason_count[unit].tolist() == [*totals, expected_need.primary == "none"]
            unit += 1
    assert unit == len(assessment.met)


@given(worlds, devices)
def test_adding_a_device_never_lowers_a_status(world: tuple[list[Point], list[Device]], added: Device) -> None:
    points, rows = world
    extended = [*rows, replace(added, code=f"D{len(rows)}")]
    assert (run(points, extended).status >= run(points, rows).status).all()


@given(worlds, st.integers(0, 7))
def test_removing_a_device_never_raises_a_status(world: tuple[list[Point], list[Device]], row: int) -> None:
    points, rows = world
    assume(row < len(rows))
    fewer = rows[:row] + rows[row + 1 :]
    assert (run(points, fewer).status <= run(points, rows).status).all()


@given(worlds, st.integers(0, 7))
def test_for_the_status_offline_is_removed(world: tuple[list[Point], list[Device]], row: int) -> None:
    points, rows = world
    assume(row < len(rows))
    silent = [*rows]
    silent[row] = replace(rows[row], state="offline")
    fewer = rows[:row] + rows[row + 1 :]
    first, second = run(points, silent), run(points, fewer)
    assert np.array_equal(first.status, second.status)
    assert np.array_equal(first.count, second.count)
    assert np.array_equal(first.groups, second.groups)


@given(worlds, st.randoms(use_true_random=False))
def test_order_of_devices_is_irrelevant(world: tuple[list[Point], list[Device]], random: object) -> None:
    points, rows = world
    mixed = [*rows]
    random.shuffle(mixed)  # type: ignore[attr-defined]  # Hypothesis's Random
    assert by_code(points, rows, run(points, rows)) == by_code(points, mixed, run(points, mixed))


@given(worlds, st.integers(-2, 2))
def test_a_full_turn_changes_nothing(world: tuple[list[Point], list[Device]], turns: int) -> None:
    points, rows = world
    assume(_margin(points, rows) > 1e-9)
    turned = [replace(device, azimuth=device.azimuth + 360 * turns) for device in rows]
    first, second = run(points, rows), run(points, turned)
    assert np.array_equal(first.status, second.status)
    assert np.array_equal(first.reason_count, second.reason_count)


@given(worlds, st.floats(-1e-4, 1e-4))
def test_a_few_metres_east_or_west_change_nothing(world: tuple[list[Point], list[Device]], shift: float) -> None:
    points, rows = world
    assume(_margin(points, rows) > 1e-5)
    moved = [replace(device, location=(device.location[0] + shift, device.location[1])) for device in rows]
    moved_points = [replace(point, location=(point.location[0] + shift, point.location[1])) for point in points]
    first, second = run(points, rows), run(moved_points, moved)
    assert np.array_equal(first.status, second.status)
    assert np.array_equal(first.reason_count, second.reason_count)


def _margin(points: list[Point], rows: list[Device]) -> float:
    """Return how near any decision was; laws about moved worlds hold for decided ones."""
    results = [oracle.units(point, rows, PARAMETERS, PROJECTION) for point in points]
    return min((unit.margin for of in results for unit in of), default=math.inf)


@given(worlds, device_lists)
def test_new_device_states_give_the_same_as_a_full_computation(
    world: tuple[list[Point], list[Device]], others: list[Device]
) -> None:
    points, rows = world
    changed = [
        replace(device, in_use=change.in_use, state=change.state, stale=change.stale)
        for device, change in zip(rows, others, strict=False)
    ] + rows[len(others) :]
    after = oracle.tables(points, changed)[1]
    quick = run(points, rows).with_device_states(after.lifecycle, after.state, after.stale)
    assert by_code(points, rows, quick) == by_code(points, changed, run(points, changed))


@given(worlds, device_lists, st.data())
def test_changes_of_some_devices_give_the_same_as_a_full_computation(
    world: tuple[list[Point], list[Device]], others: list[Device], data: st.DataObject
) -> None:
    """Devices turn, move, come and go; those that stay are not looked at again."""
    points, rows = world
    retained = [device for device in rows if data.draw(st.integers(0, 3))]
    changed = [
        replace(device, location=change.location, state=change.state, directions=change.directions)
        for device, change in zip(retained, others, strict=False)
    ] + retained[len(others) :]
    codes = {device.code for device in changed}
    changed += [device for device in others if device.code not in codes and device.part_of is None]
    changed = [device if device.part_of in codes else replace(device, part_of=None) for device in changed]
    table, before = oracle.tables(points, rows)
    after = oracle.tables(points, changed)[1]
    earlier = assess_coverage(table, before, PARAMETERS, PROJECTION)
    quick = assess_coverage(table, after, PARAMETERS, PROJECTION, before=earlier)
    assert by_code(points, changed, quick) == by_code(points, changed, run(points, changed))
    again = assess_coverage(table, before, PARAMETERS, PROJECTION, before=quick)
    assert by_code(points, rows, again) == by_code(points, rows, earlier)


@given(worlds)
def test_points_do_not_disturb_each_other(world: tuple[list[Point], list[Device]]) -> None:
    points, rows = world
    together = run(points, rows)
    for index, point in enumerate(points):
        alone = run([point], [_only(device, point) for device in rows])
        assert alone.status[0] == together.status[index]


def _only(device: Device, point: Point) -> Device:
    return device if device.assigned == point.code else replace(device, assigned=None)

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

FRAME = LocalProjection(4547)
PARAMETERS = Parameters(search_m=120.7, assumed_range_m=31.3, assigned_range_m=77.7)
CENTRE = FRAME.to_metres([(113.2, 35.2)])[0]
NAN = math.nan


def lonlat(east: int, north: int) -> tuple[float, float]:
    """Return a place so many metres from the centre."""
    lon, lat = FRAME.to_lonlat(CENTRE + np.array([east, north]))[0]
    return float(lon), float(lat)


steps = st.integers(-30, 30).map(lambda step: step * 5)
spots = st.builds(lonlat, steps, steps) | st.just(lonlat(0, 0)) | st.just(lonlat(1000, 0))
needs = st.builds(
    Need,
    st.sampled_from(FUNCTIONS),
    st.sampled_from([None, None, "inbound", "outbound"]),
    st.sampled_from([1, 1, 2, 3]),
    st.sampled_from([None, None, 40.3]),
)
point_lists = st.lists(st.tuples(spots, st.lists(needs, max_size=3).map(tuple)), min_size=1, max_size=3).map(
    lambda rows: [Point(f"P{place}", at, own) for place, (at, own) in enumerate(rows)]
)
mostly_face = st.sampled_from([frozenset({"face"}), frozenset({"face", "vehicle"}), frozenset(FUNCTIONS), frozenset()])
ways = st.sets(st.sampled_from(["inbound", "outbound"])).map(frozenset)
devices = st.builds(
    Device,
    at=spots,
    kind=st.sampled_from(["camera", "camera", "checkpoint"]),
    functions=mostly_face,
    directions=ways,
    in_use=st.sampled_from([True, True, True, False]),
    state=st.sampled_from(["online", "online", "online", *STATE_CODES]),
    stale=st.sampled_from([False, False, False, True]),
    azimuth=st.just(NAN) | st.integers(0, 51).map(lambda place: place * 7 + 0.3),
    opening=st.sampled_from([NAN, 41.9, 97.3, 201.1, 360.0]),
    range_m=st.sampled_from([NAN, 0.5, 37.3, 91.7, 2000.3]),
    near_m=st.sampled_from([NAN, 0.0, 11.9]),
    pixels=st.sampled_from([NAN, 1920.0, 12_000.0, 40_000.0]),
    assigned=st.sampled_from([None, None, "P0", "P1", "P9"]),
    part_of=st.sampled_from([None, "D0", "D1", "D2", "D3"]),
    group=st.integers(-1, 2),
)
device_lists = st.lists(devices, max_size=8).map(
    lambda rows: [replace(one, code=f"D{place}") for place, one in enumerate(rows)]
)
worlds = st.tuples(point_lists, device_lists)


def run(points: list[Point], rows: list[Device]) -> Assessment:
    """Return the engine's answer."""
    return assess_coverage(*oracle.tables(points, rows), PARAMETERS, FRAME)


def by_code(points: list[Point], rows: list[Device], found: Assessment) -> list[object]:
    """Return an answer without row numbers of devices, to compare worlds in different order."""
    codes = [one.code for one in rows]
    return [
        [STATUSES[code] for code in found.status],
        [
            (
                bool(found.met[unit]),
                bool(found.backed_up[unit]),
                int(found.count[unit]),
                int(found.groups[unit]),
                found.reason_count[unit].tolist(),
                int(found.primary[unit]),
                codes[best] if (best := int(found.best[unit])) >= 0 else None,
                int(found.best_reasons[unit]),
            )
            for unit in range(len(found.met))
        ],
        [
            [[replace(one, device=-1) for one in unit.candidates] for unit in found.explain_point(row)]
            for row in range(len(points))
        ],
    ]


@given(worlds)
def test_engine_equals_plain_python(world: tuple[list[Point], list[Device]]) -> None:
    points, rows = world
    found = run(points, rows)
    unit = 0
    for place, point in enumerate(points):
        expected = oracle.units(point, rows, PARAMETERS, FRAME)
        assert STATUSES[found.status[place]] == oracle.status(expected)
        assert found.no_requirement[place] == (not expected)
        explained = found.explain_point(place)
        assert len(explained) == len(expected)
        for answer, wanted in zip(explained, expected, strict=True):
            assert answer.met == wanted.met
            assert answer.backed_up == wanted.backed_up
            assert answer.count == wanted.count
            assert answer.groups == wanted.groups
            assert answer.primary == wanted.primary
            assert {one.code: one.reasons for one in answer.candidates} == wanted.reasons
            assert sum(one.counts for one in answer.candidates) == wanted.count
            best = int(found.best[unit])
            assert (rows[best].code if best >= 0 else None) == wanted.best
            nearest = answer.nearest.code if answer.nearest else None
            assert nearest == (wanted.best if wanted.primary == "none" else None)
            totals = [sum(reason in lacks for lacks in wanted.reasons.values()) for reason in REASONS[:-1]]
            assert found.reason_count[unit].tolist() == [*totals, wanted.primary == "none"]
            unit += 1
    assert unit == len(found.met)


@given(worlds, devices)
def test_adding_a_device_never_lowers_a_status(world: tuple[list[Point], list[Device]], added: Device) -> None:
    points, rows = world
    more = [*rows, replace(added, code=f"D{len(rows)}")]
    assert (run(points, more).status >= run(points, rows).status).all()


@given(worlds, st.integers(0, 7))
def test_removing_a_device_never_raises_a_status(world: tuple[list[Point], list[Device]], which: int) -> None:
    points, rows = world
    assume(which < len(rows))
    fewer = rows[:which] + rows[which + 1 :]
    assert (run(points, fewer).status <= run(points, rows).status).all()


@given(worlds, st.integers(0, 7))
def test_for_the_status_offline_is_removed(world: tuple[list[Point], list[Device]], which: int) -> None:
    points, rows = world
    assume(which < len(rows))
    silent = [*rows]
    silent[which] = replace(rows[which], state="offline")
    fewer = rows[:which] + rows[which + 1 :]
    one, other = run(points, silent), run(points, fewer)
    assert np.array_equal(one.status, other.status)
    assert np.array_equal(one.count, other.count)
    assert np.array_equal(one.groups, other.groups)


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
    turned = [replace(one, azimuth=one.azimuth + 360 * turns) for one in rows]
    one, other = run(points, rows), run(points, turned)
    assert np.array_equal(one.status, other.status)
    assert np.array_equal(one.reason_count, other.reason_count)


@given(worlds, st.floats(-1e-4, 1e-4))
def test_a_few_metres_east_or_west_change_nothing(world: tuple[list[Point], list[Device]], shift: float) -> None:
    points, rows = world
    assume(_margin(points, rows) > 1e-5)
    moved = [replace(one, at=(one.at[0] + shift, one.at[1])) for one in rows]
    there = [replace(point, at=(point.at[0] + shift, point.at[1])) for point in points]
    one, other = run(points, rows), run(there, moved)
    assert np.array_equal(one.status, other.status)
    assert np.array_equal(one.reason_count, other.reason_count)


def _margin(points: list[Point], rows: list[Device]) -> float:
    """Return how near any decision was; laws about moved worlds hold for decided ones."""
    found = [oracle.units(point, rows, PARAMETERS, FRAME) for point in points]
    return min((unit.margin for of in found for unit in of), default=math.inf)


@given(worlds, device_lists)
def test_restated_equals_computed_anew(world: tuple[list[Point], list[Device]], others: list[Device]) -> None:
    points, rows = world
    changed = [
        replace(one, in_use=other.in_use, state=other.state, stale=other.stale)
        for one, other in zip(rows, others, strict=False)
    ] + rows[len(others) :]
    after = oracle.tables(points, changed)[1]
    quick = run(points, rows).with_device_states(after.lifecycle, after.state, after.stale)
    assert by_code(points, rows, quick) == by_code(points, changed, run(points, changed))


@given(worlds, device_lists, st.data())
def test_after_changes_of_some_devices_it_is_as_computed_anew(
    world: tuple[list[Point], list[Device]], others: list[Device], data: st.DataObject
) -> None:
    """Devices turn, move, come and go; those that stay are not looked at again."""
    points, rows = world
    kept = [one for one in rows if data.draw(st.integers(0, 3))]
    changed = [
        replace(one, at=other.at, state=other.state, directions=other.directions)
        for one, other in zip(kept, others, strict=False)
    ] + kept[len(others) :]
    codes = {one.code for one in changed}
    changed += [one for one in others if one.code not in codes and one.part_of is None]
    changed = [one if one.part_of in codes else replace(one, part_of=None) for one in changed]
    table, before = oracle.tables(points, rows)
    after = oracle.tables(points, changed)[1]
    earlier = assess_coverage(table, before, PARAMETERS, FRAME)
    quick = assess_coverage(table, after, PARAMETERS, FRAME, before=earlier)
    assert by_code(points, changed, quick) == by_code(points, changed, run(points, changed))
    again = assess_coverage(table, before, PARAMETERS, FRAME, before=quick)
    assert by_code(points, rows, again) == by_code(points, rows, earlier)


@given(worlds)
def test_points_do_not_disturb_each_other(world: tuple[list[Point], list[Device]]) -> None:
    points, rows = world
    together = run(points, rows)
    for place, point in enumerate(points):
        alone = run([point], [_only(one, point) for one in rows])
        assert alone.status[0] == together.status[place]


def _only(one: Device, point: Point) -> Device:
    return one if one.assigned == point.code else replace(one, assigned=None)

"""Coverage rules by example, one rule a test."""

import math
from dataclasses import replace

import numpy as np
import pytest
import shapely
from shapely.geometry import MultiPolygon, Polygon

from app.errors import InvalidShape, TooLarge
from app.geo.coverage import candidates
from app.geo.coverage.assessment import (
    COVERED,
    MET,
    REASONS,
    STATUSES,
    Assessment,
    DeviceTable,
    ExplainedNeed,
    Need,
    Parameters,
    PointTable,
    assess_coverage,
    name_reasons,
)
from app.geo.coverage.candidates import PAIR_TESTS
from app.geo.coverage.tables import STATE_TESTS, build_reason_sets, check_reasons_fit
from app.geo.projection.local_projection import LocalProjection
from app.geo.visibility import reach
from tests.geo import oracle
from tests.geo.oracle import Device, Point
from tests.geo.test_coverage_laws import lonlat

FRAME = LocalProjection(4547)
HERE = lonlat(0, 0)
FACE = Need("face")


def ask(
    *rows: Device,
    needs: tuple[Need, ...] = (FACE,),
    shape: Polygon | MultiPolygon | None = None,
    parameters: Parameters | None = None,
) -> Assessment:
    """Return the answer for one point in the middle; a shape makes it an area."""
    named = [one if one.code != "D" else replace(one, code=f"D{place}") for place, one in enumerate(rows)]
    points, devices = oracle.tables([Point("P", HERE, needs)], named)
    if shape is not None:
        points = PointTable(points.code, points.lonlat, {0: shape}, points.needs)
    return assess_coverage(points, devices, parameters or Parameters(), FRAME)


def unit(*rows: Device, **more: object) -> ExplainedNeed:
    """Return the only need explained."""
    (found,) = ask(*rows, **more).explain_point(0)  # type: ignore[arg-type]  # passed through
    return found


def area(west: int, south: int, east: int, north: int) -> Polygon:
    """Return a rectangle in metres around the middle, in lon/lat."""
    return Polygon([lonlat(west, south), lonlat(east, south), lonlat(east, north), lonlat(west, north)])


def reasons(one: Device, **more: object) -> tuple[str, ...]:
    """Return what the only candidate lacks."""
    (candidate,) = unit(one, **more).candidates
    return candidate.reasons


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, ()),
        ({"in_use": False}, ("not_in_use",)),
        ({"state": "offline"}, ("offline",)),
        ({"state": "fault"}, ("offline",)),
        ({"state": "unknown"}, ("stale",)),
        ({"stale": True}, ("stale",)),
        ({"functions": frozenset({"vehicle"})}, ("wrong_function",)),
        ({"at": lonlat(0, 31)}, ("too_far",)),
        ({"azimuth": 0.0}, ("out_of_view",)),
        ({"near_m": 25.0}, ("out_of_view",)),
        ({"near_m": 25.0, "azimuth": 180.0}, ("out_of_view",)),
        ({"near_m": 15.0, "azimuth": 180.0}, ()),
        ({"range_m": 50.0, "pixels": 1920.0, "azimuth": 180.0}, ("too_coarse",)),
        (
            {"in_use": False, "state": "fault", "stale": True, "azimuth": 0.0, "range_m": 10.0},
            ("not_in_use", "offline", "stale", "too_far", "out_of_view"),
        ),
    ],
)
def test_each_reason(change: dict[str, object], expected: tuple[str, ...]) -> None:
    one = replace(Device(at=lonlat(0, 20)), **change)  # type: ignore[arg-type]  # by name
    assert reasons(one) == expected
    found = ask(one)
    assert STATUSES[found.status[0]] == ("uncovered" if expected else "covered")
    assert name_reasons(int(found.best_reasons[0])) == expected


def test_direction_must_be_stated_to_serve_one() -> None:
    need = (Need("face", "inbound"),)
    for directions, expected in (
        (set(), ("wrong_direction",)),
        ({"outbound"}, ("wrong_direction",)),
        ({"inbound"}, ()),
        ({"inbound", "outbound"}, ()),
    ):
        one = Device(at=lonlat(0, 20), directions=frozenset(directions))
        assert reasons(one, needs=need) == expected


def test_true_azimuth_is_not_grid_bearing() -> None:
    # Two degrees wide and aimed along the true azimuth from the device. At 113.2 E the grid of
    # zone 114 E is turned by -0.46 degrees, and 0.3 degrees further than that is out of view.
    place = FRAME.to_metres([lonlat(0, 0)])[0]
    device = FRAME.to_lonlat(place - (0, 150))[0]
    convergence = float(FRAME.convergence_deg([device])[0])
    assert convergence == pytest.approx(-0.46, abs=0.01)
    aimed = Device(at=(device[0], device[1]), opening=1.0, range_m=200.0)
    assert reasons(replace(aimed, azimuth=convergence)) == ()
    assert reasons(replace(aimed, azimuth=convergence + 0.49)) == ()
    assert reasons(replace(aimed, azimuth=convergence + 0.51)) == ("out_of_view",)
    assert reasons(replace(aimed, azimuth=-convergence)) == ("out_of_view",)


def test_opening_is_60_where_an_azimuth_comes_without() -> None:
    for azimuth, expected in ((209.0, ()), (211.0, ("out_of_view",))):
        assert reasons(Device(at=lonlat(0, 20), azimuth=azimuth)) == expected


def test_where_the_range_comes_from() -> None:
    far = Device(at=lonlat(0, 90))
    for change, basis, range_m in (
        ({}, "assumed", 30.0),
        ({"assigned": "P"}, "assigned", 100.0),
        ({"assigned": "P", "azimuth": 0.0}, "assigned", 100.0),
        ({"range_m": 95.0}, "stated", 95.0),
        ({"assigned": "P", "range_m": 50.0}, "stated", 50.0),
        ({"pixels": 40_000.0, "opening": 90.0}, "derived", 80.0),
        ({"pixels": 40_000.0, "azimuth": 180.0}, "derived", 138.564),
        # pixels without any opening say nothing
        ({"pixels": 40_000.0}, "assumed", 30.0),
        ({"pixels": 40_000.0, "assigned": "P"}, "assigned", 100.0),
    ):
        one = replace(far, **change)
        (candidate,) = unit(one).candidates
        assert candidate.range_basis == basis
        assert candidate.range_m == pytest.approx(range_m, abs=0.001)
        assert ("too_far" in candidate.reasons) == (range_m < 90)


def test_assignment_without_optics_sees_behind_itself() -> None:
    one = Device(at=lonlat(0, 20), azimuth=0.0)
    assert reasons(one) == ("out_of_view",)
    assert reasons(replace(one, assigned="P")) == ()
    # but whoever states its optics is held to them
    assert reasons(replace(one, assigned="P", range_m=50.0)) == ("out_of_view",)


def test_a_checkpoint_has_no_optics() -> None:
    optics = Device(
        kind="checkpoint",
        at=lonlat(0, 90),
        azimuth=0.0,
        opening=10.0,
        range_m=5.0,
        near_m=95.0,
        pixels=1.0,
    )
    assert reasons(replace(optics, assigned="P")) == ()
    assert reasons(optics) == ("too_far",)
    assert reasons(replace(optics, at=lonlat(0, 25))) == ()


def test_within_a_metre_everything_is_reached() -> None:
    one = Device(at=HERE, azimuth=90.0, opening=1.0, range_m=0.1, near_m=5.0, pixels=1.0)
    assert reasons(one) == ()
    (candidate,) = unit(one).candidates
    assert candidate.bearing_deg is None
    assert candidate.off_axis_deg is None


def test_density_demanded_by_the_need_comes_first() -> None:
    # 1920 pixels over 60 degrees: 1662.8 / 20 m = 83 px/m
    one = Device(at=lonlat(0, 20), azimuth=180.0, range_m=50.0, pixels=1920.0)
    (candidate,) = unit(one).candidates
    assert candidate.px_per_m == pytest.approx(83.14, abs=0.01)
    for needed, expected in ((83.0, ()), (84.0, ("too_coarse",))):
        assert reasons(one, needs=(Need("face", min_px_per_m=needed),)) == expected
    watched = replace(one, functions=frozenset({"electronic"}))
    assert reasons(watched, needs=(Need("electronic"),)) == ()
    derived = replace(one, range_m=math.nan)
    assert reasons(derived, needs=(Need("face", min_px_per_m=84.0),)) == ("too_far",)


def test_nothing_near_names_the_nearest_with_the_function() -> None:
    found = unit(
        Device(code="far", at=lonlat(900, 0)),
        Device(code="nearer", at=lonlat(600, 0), state="offline"),
        Device(code="other", at=lonlat(50, 0), functions=frozenset({"vehicle"})),
    )
    assert (found.primary, found.candidates) == ("none", ())
    assert found.nearest is not None
    assert (found.nearest.code, found.nearest.reasons) == ("nearer", ("offline", "too_far"))
    assert found.nearest.distance_m == pytest.approx(600, abs=0.01)


def test_no_device_at_all() -> None:
    found = ask()
    assert STATUSES[found.status[0]] == "uncovered"
    assert found.explain_point(0)[0].primary == "none"
    assert found.explain_point(0)[0].nearest is None
    assert found.best[0] == -1
    assert np.isnan(found.best_distance_m[0])


def test_when_all_count_and_it_is_too_little_the_next_one_is_named() -> None:
    rows = [Device(code="here", at=lonlat(0, 20)), Device(code="next", at=lonlat(0, 400))]
    found = unit(*rows, needs=(Need("face", working=2),))
    assert (found.met, found.count, found.primary) == (False, 1, "none")
    assert found.nearest is not None
    assert found.nearest.code == "next"


def test_primary_reason_is_that_of_the_best_candidate() -> None:
    found = unit(
        Device(code="a", at=lonlat(0, 10), in_use=False, state="offline"),
        Device(code="b", at=lonlat(0, 28), state="offline"),
        Device(code="c", at=lonlat(0, 25), in_use=False),
        Device(code="d", at=lonlat(0, 80), assigned="P", stale=True),
    )
    assert [one.code for one in found.candidates] == ["d", "c", "b", "a"]
    assert found.primary == "stale"


def test_ties_are_broken_by_code() -> None:
    rows = [Device(code=code, at=lonlat(0, 20), state="offline") for code in "cab"]
    assert [one.code for one in unit(*rows).candidates] == ["a", "b", "c"]
    far = [Device(code=code, at=lonlat(0, 700)) for code in "cab"]
    nearest = unit(*far).nearest
    assert nearest is not None
    assert nearest.code == "a"


def test_status_of_a_point() -> None:
    two = (FACE, Need("overview"))
    face = Device(at=lonlat(0, 20), group=1)
    both = frozenset({"face", "overview"})
    for rows, expected in (
        ([], "uncovered"),
        ([face], "partial"),
        ([replace(face, functions=both)], "covered"),
        ([replace(face, functions=both), face], "covered"),
        ([replace(face, functions=both)] * 2, "covered"),
        ([replace(face, functions=both), replace(face, functions=both, group=2)], "backed_up"),
        ([replace(face, functions=both, group=-1)] * 2, "backed_up"),
    ):
        assert STATUSES[ask(*rows, needs=two).status[0]] == expected


def test_a_point_that_demands_nothing_is_covered_and_flagged() -> None:
    found = ask(Device(), needs=())
    assert found.status[0] == COVERED
    assert found.no_requirement[0]
    assert found.explain_point(0) == ()
    assert not ask(Device()).no_requirement[0]


def test_working_two_and_failing_together() -> None:
    need = (Need("face", working=2),)

    def rows(*groups: int) -> list[Device]:
        return [Device(at=lonlat(0, 20), group=group) for group in groups]

    for groups, met, backed in (
        ((1,), False, False),
        ((1, 2), True, False),
        ((1, 2, 3), True, True),
        ((1, 1, 2), True, False),
        ((1, 1, 2, 2), True, True),
    ):
        found = unit(*rows(*groups), needs=need)
        assert (found.met, found.backed_up) == (met, backed)


def test_a_checkpoint_is_not_counted_beside_its_cameras() -> None:
    gate = Device(code="K", kind="checkpoint", at=lonlat(0, 20), group=1)
    lane = Device(code="C", at=lonlat(0, 20), part_of="K", group=1)
    found = unit(gate, lane)
    assert found.count == 1
    assert [(one.code, one.counts, one.represented) for one in found.candidates] == [
        ("C", True, False),
        ("K", False, True),
    ]
    assert unit(gate, replace(lane, state="offline")).count == 1
    assert unit(gate, replace(lane, functions=frozenset({"vehicle"}))).count == 1
    assert unit(gate, lane, replace(lane, code="C2")).count == 2


def test_a_checkpoint_stands_in_when_its_cameras_fail_without_it() -> None:
    # Losing group 2 takes both cameras; the checkpoint in group 1 then counts itself again.
    gate = Device(code="K", kind="checkpoint", at=lonlat(0, 20), group=1)
    lane = Device(code="C", at=lonlat(0, 20), part_of="K", group=2)
    other = Device(code="X", at=lonlat(0, 20), group=2)
    assert unit(gate, lane, other).backed_up
    assert not unit(replace(gate, group=2), lane, other).backed_up
    assert not unit(lane, other).backed_up


def test_a_camera_beyond_the_search_radius_that_sees_the_point() -> None:
    one = Device(at=lonlat(0, 900), azimuth=180.0, range_m=1000.0)
    assert reasons(one) == ()
    assert unit(replace(one, range_m=899.0)).primary == "none"
    lacking = replace(one, functions=frozenset({"vehicle"}))
    assert reasons(lacking) == ("wrong_function",)


def test_an_assigned_device_is_a_candidate_at_any_distance() -> None:
    one = Device(at=lonlat(5000, 0), assigned="P", functions=frozenset({"vehicle"}))
    assert reasons(one) == ("wrong_function", "too_far")


class TestAreas:
    """Control points that are areas."""

    site = area(-50, -20, 50, 20)

    def test_distance_is_to_the_nearest_place(self) -> None:
        (candidate,) = unit(Device(at=lonlat(0, 45)), shape=self.site).candidates
        assert candidate.distance_m == pytest.approx(25, abs=0.01)
        assert candidate.reasons == ()
        (inside,) = unit(Device(at=lonlat(40, 0)), shape=self.site).candidates
        assert (inside.distance_m, inside.reasons) == (0.0, ())

    def test_a_sector_reaches_any_place_of_it(self) -> None:
        # 30 m north of the western end, looking west-south-west along nothing, then south
        one = Device(at=lonlat(-40, 50), opening=20.0, range_m=40.0)
        assert reasons(replace(one, azimuth=180.0), shape=self.site) == ()
        assert reasons(replace(one, azimuth=0.0), shape=self.site) == ("out_of_view",)
        assert reasons(replace(one, azimuth=90.0), shape=self.site) == ("out_of_view",)
        # the site's point itself is out of this view
        assert reasons(replace(one, azimuth=180.0), needs=(FACE,)) == ("too_far", "out_of_view")

    def test_in_sight_but_only_beyond_the_range(self) -> None:
        # 5 m north of the eastern end, looking along the site's side at a second part far west
        far = area(-130, 15, -110, 35)
        both = MultiPolygon([self.site, far])
        one = Device(at=lonlat(50, 25), azimuth=270.0, opening=4.0, range_m=100.0)
        assert reasons(one, shape=both) == ("out_of_view",)
        assert reasons(replace(one, range_m=170.0), shape=both) == ()

    def test_blind_zone(self) -> None:
        one = Device(at=lonlat(0, 25), range_m=300.0, near_m=40.0)
        assert reasons(one, shape=self.site) == ()
        assert reasons(replace(one, near_m=80.0), shape=self.site) == ("out_of_view",)

    def test_density_is_that_of_the_nearest_place_in_view(self) -> None:
        one = Device(at=lonlat(0, 40), azimuth=180.0, range_m=90.0, pixels=6000.0)
        # 5196 px/m at one metre: 260 at 20 m, 130 at 40 m
        assert reasons(one, shape=self.site) == ()
        assert reasons(replace(one, near_m=40.0), shape=self.site) == ("too_coarse",)

    def test_search_finds_devices_around_a_large_area(self) -> None:
        large = area(-2000, -2000, 2000, 2000)
        found = unit(
            Device(code="edge", at=lonlat(2150, 0)),
            Device(code="corner", at=lonlat(2140, 2140)),
            Device(code="beyond", at=lonlat(2205, 0)),
            Device(code="in", at=lonlat(1500, 1500), state="offline"),
            shape=large,
        )
        assert {one.code for one in found.candidates} == {"edge", "corner", "in"}

    def test_nearest_other_is_measured_to_the_area(self) -> None:
        # "a" is nearer to the point, "b" nearer to the area
        long = area(-10, -10, 5000, 10)
        found = unit(Device(code="a", at=lonlat(-600, 0)), Device(code="b", at=lonlat(4000, 500)), shape=long)
        assert found.primary == "none"
        assert found.nearest is not None
        assert found.nearest.code == "b"
        assert found.nearest.distance_m == pytest.approx(490, abs=0.1)

    def test_random_areas_against_a_fine_lattice(self) -> None:
        rng = np.random.default_rng(11)
        site = FRAME.project(Polygon([lonlat(-60, -30), lonlat(60, -10), lonlat(0, 70)]))
        west, south, east, north = site.bounds
        x, y = np.meshgrid(np.arange(west, east, 0.5), np.arange(south, north, 0.5))
        cells = np.column_stack([x.ravel(), y.ravel()])
        cells = cells[shapely.intersects_xy(site, cells[:, 0], cells[:, 1])]
        wrong = 0
        for _ in range(300):
            at = lonlat(int(rng.uniform(-150, 150)), int(rng.uniform(-150, 150)))
            azimuth, opening = rng.uniform(0, 360), rng.uniform(5, 300)
            range_m, near = rng.uniform(5, 150), rng.uniform(0, 60)
            one = Device(at=at, azimuth=azimuth, opening=opening, range_m=range_m, near_m=near, assigned="P")
            lacks = reasons(one, shape=FRAME.unproject(site))
            origin = FRAME.to_metres([at])[0]
            away = np.hypot(*(cells - origin).T)
            bearing = np.degrees(np.arctan2(*(cells - origin).T)) + FRAME.convergence_deg([at])[0]
            off = np.abs((bearing - azimuth + 180) % 360 - 180)
            reached = ((away <= range_m) & (away >= near) & (off <= opening / 2)).any()
            if away.min() >= 1.5:
                if reached:
                    assert lacks == ()
                # the lattice may miss a sliver of the view; it must not miss more
                wrong += (lacks == ()) != reached
        assert wrong <= 3


def test_testing_in_blocks_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [Device(at=lonlat(0, 5 * place), group=place % 3) for place in range(9)]
    needs = (FACE, Need("overview"), Need("face", working=3))
    whole = ask(*rows, needs=needs)
    monkeypatch.setattr(candidates, "BLOCK_ROWS", 4)
    blocks = ask(*rows, needs=needs)
    assert np.array_equal(whole.reason_count, blocks.reason_count)
    assert np.array_equal(whole.best, blocks.best)
    assert whole.explain_point(0) == blocks.explain_point(0)


def test_too_many_pairs_are_refused_before_they_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach, "MAX_PAIRS", 5)
    rows = [Device(at=lonlat(0, place)) for place in range(6)]
    assert ask(*rows[:5]).status.tolist() == [3]
    with pytest.raises(TooLarge):
        ask(*rows)
    with pytest.raises(TooLarge):
        ask(*rows, shape=area(-50, -20, 50, 20))


def test_many_devices_in_one_place_far_away() -> None:
    rows = [Device(code=f"X{place:03d}", at=lonlat(900, 0)) for place in range(300)][::-1]
    nearest = unit(Device(code="Z", at=lonlat(0, 20)), *rows, needs=(Need("face", working=2),))
    assert nearest.nearest is not None
    assert nearest.nearest.code == "X000"


def test_rows_may_not_refer_to_nothing() -> None:
    points, devices = oracle.tables([Point("P", HERE, (FACE,))], [Device()])
    for column in ("assigned", "installation"):
        broken = replace(devices, **{column: np.array([5])})  # type: ignore[arg-type]  # by name
        with pytest.raises(ValueError, match="not there"):
            assess_coverage(points, broken, Parameters(), FRAME)


def test_tables_are_checked() -> None:
    points, devices = oracle.tables([Point("P", HERE, (FACE,))], [Device()])
    for column, value in (
        ("stale", np.zeros(2, bool)),
        ("opening_deg", np.array([0.0])),
        ("range_m", np.array([-1.0])),
        ("range_m", np.array([np.inf])),
        ("near_m", np.array([-1.0])),
        ("h_pixels", np.array([0.0])),
    ):
        with pytest.raises(ValueError, match=r"lengths|out of range"):
            replace(devices, **{column: value})  # type: ignore[arg-type]  # by name
    with pytest.raises(ValueError, match="lengths"):
        replace(points, needs=[])
    with pytest.raises(ValueError, match="no control point"):
        replace(points, shape={3: area(0, 0, 1, 1)})
    with pytest.raises(InvalidShape):
        assess_coverage(replace(points, lonlat=np.array([[np.nan, 35.0]])), devices, Parameters(), FRAME)


@pytest.mark.parametrize(
    "wrong",
    [
        {"function": "smell"},
        {"function": "face", "direction": "up"},
        {"function": "face", "working": 0},
        {"function": "face", "min_px_per_m": 0.0},
        {"function": "face", "min_px_per_m": math.nan},
    ],
)
def test_impossible_needs_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"need|unknown|above"):
        Need(**wrong)  # type: ignore[arg-type]  # on purpose


@pytest.mark.parametrize(
    "wrong",
    [
        {"search_m": 0.0},
        {"assumed_range_m": math.inf},
        {"assumed_opening_deg": 361.0},
        {"density": {"face": 250.0}},
        {"density": dict.fromkeys(("face", "vehicle", "structured", "overview", "electronic"), 0)},
    ],
)
def test_impossible_parameters_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"above 0|must lie|needed for"):
        Parameters(**wrong)  # type: ignore[arg-type]  # on purpose


def test_empty_tables() -> None:
    points, devices = oracle.tables([], [])
    found = assess_coverage(points, devices, Parameters(), FRAME)
    assert found.status.shape == found.met.shape == (0,)
    full, none = oracle.tables([Point("P", HERE, (FACE,))], [Device()]), devices
    assert assess_coverage(full[0], none, Parameters(), FRAME).status.tolist() == [0]
    assert assess_coverage(points, full[1], Parameters(), FRAME).status.shape == (0,)
    with pytest.raises(IndexError):
        found.explain_point(0)


def test_met_units_name_their_best_device() -> None:
    found = ask(Device(code="near", at=lonlat(0, 5)), Device(code="own", at=lonlat(0, 20), assigned="P"))
    assert found.primary[0] == MET
    assert found.best[0] == 1
    assert found.best_distance_m[0] == pytest.approx(20, abs=0.01)
    assert found.candidate_count[0] == 2


def test_table_lengths_and_ranks() -> None:
    rows = [Device(code="b"), Device(code="a", kind="checkpoint"), Device(code="a")]
    _, devices = oracle.tables([], rows)
    assert isinstance(devices, DeviceTable)
    assert len(devices) == 3
    assert devices.rank.tolist() == [2, 1, 0]


def test_reasons_have_room_for_more() -> None:
    check_reasons_fit([*REASONS, "a further reason"])
    with pytest.raises(OverflowError, match="widen ReasonSets"):
        check_reasons_fit(["reason"] * 17)
    last = build_reason_sets([(15, np.array([True, False])), (0, np.array([True, True]))])
    assert last.tolist() == [(1 << 15) + 1, 1]


def test_every_reason_has_one_test() -> None:
    codes = [code for code, _ in (*STATE_TESTS, *PAIR_TESTS)]
    assert sorted(codes) == [code for code, name in enumerate(REASONS) if name != "none"]

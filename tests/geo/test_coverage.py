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

PROJECTION = LocalProjection(4547)
ORIGIN = lonlat(0, 0)
FACE = Need("face")


def ask(
    *rows: Device,
    needs: tuple[Need, ...] = (FACE,),
    shape: Polygon | MultiPolygon | None = None,
    parameters: Parameters | None = None,
) -> Assessment:
    """Return the answer for one point in the middle; a shape makes it an area."""
    named = [device if device.code != "D" else replace(device, code=f"D{row}") for row, device in enumerate(rows)]
    points, devices = oracle.tables([Point("P", ORIGIN, needs)], named)
    if shape is not None:
        points = PointTable(points.code, points.lonlat, {0: shape}, points.needs)
    return assess_coverage(points, devices, parameters or Parameters(), PROJECTION)


def unit(*rows: Device, **options: object) -> ExplainedNeed:
    """Return the only need explained."""
    (need,) = ask(*rows, **options).explain_point(0)  # type: ignore[arg-type]  # passed through
    return need


def area(west: int, south: int, east: int, north: int) -> Polygon:
    """Return a rectangle in metres around the middle, in lon/lat."""
    return Polygon([lonlat(west, south), lonlat(east, south), lonlat(east, north), lonlat(west, north)])


def reasons(device: Device, **options: object) -> tuple[str, ...]:
    """Return what the only candidate lacks."""
    (candidate,) = unit(device, **options).candidates
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
        ({"location": lonlat(0, 31)}, ("too_far",)),
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
    device = replace(Device(location=lonlat(0, 20)), **change)  # type: ignore[arg-type]  # by name
    assert reasons(device) == expected
    assessment = ask(device)
    assert STATUSES[assessment.status[0]] == ("uncovered" if expected else "covered")
    assert name_reasons(int(assessment.best_reasons[0])) == expected


def test_direction_must_be_stated_to_serve_one() -> None:
    need = (Need("face", "inbound"),)
    for directions, expected in (
        (set(), ("wrong_direction",)),
        ({"outbound"}, ("wrong_direction",)),
        ({"inbound"}, ()),
        ({"inbound", "outbound"}, ()),
    ):
        device = Device(location=lonlat(0, 20), directions=frozenset(directions))
        assert reasons(device, needs=need) == expected


def test_true_azimuth_is_not_grid_bearing() -> None:
    # Two degrees wide and aimed along the true azimuth from the device. At 113.2 E the grid of
    # zone 114 E is turned by -0.46 degrees, and 0.3 degrees further than that is out of view.
    xy = PROJECTION.to_metres([lonlat(0, 0)])[0]
    device = PROJECTION.to_lonlat(xy - (0, 150))[0]
    convergence = float(PROJECTION.convergence_deg([device])[0])
    assert convergence == pytest.approx(-0.46, abs=0.01)
    aimed = Device(location=(device[0], device[1]), opening=1.0, range_m=200.0)
    assert reasons(replace(aimed, azimuth=convergence)) == ()
    assert reasons(replace(aimed, azimuth=convergence + 0.49)) == ()
    assert reasons(replace(aimed, azimuth=convergence + 0.51)) == ("out_of_view",)
    assert reasons(replace(aimed, azimuth=-convergence)) == ("out_of_view",)


def test_opening_is_60_where_an_azimuth_comes_without() -> None:
    for azimuth, expected in ((209.0, ()), (211.0, ("out_of_view",))):
        assert reasons(Device(location=lonlat(0, 20), azimuth=azimuth)) == expected


def test_where_the_range_comes_from() -> None:
    distant = Device(location=lonlat(0, 90))
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
        device = replace(distant, **change)
        (candidate,) = unit(device).candidates
        assert candidate.range_basis == basis
        assert candidate.range_m == pytest.approx(range_m, abs=0.001)
        assert ("too_far" in candidate.reasons) == (range_m < 90)


def test_assignment_without_optics_sees_behind_itself() -> None:
    device = Device(location=lonlat(0, 20), azimuth=0.0)
    assert reasons(device) == ("out_of_view",)
    assert reasons(replace(device, assigned="P")) == ()
    # but whoever states its optics is held to them
    assert reasons(replace(device, assigned="P", range_m=50.0)) == ("out_of_view",)


def test_a_checkpoint_has_no_optics() -> None:
    optics = Device(
        kind="checkpoint",
        location=lonlat(0, 90),
        azimuth=0.0,
        opening=10.0,
        range_m=5.0,
        near_m=95.0,
        pixels=1.0,
    )
    assert reasons(replace(optics, assigned="P")) == ()
    assert reasons(optics) == ("too_far",)
    assert reasons(replace(optics, location=lonlat(0, 25))) == ()


def test_within_a_metre_everything_is_reached() -> None:
    device = Device(location=ORIGIN, azimuth=90.0, opening=1.0, range_m=0.1, near_m=5.0, pixels=1.0)
    assert reasons(device) == ()
    (candidate,) = unit(device).candidates
    assert candidate.bearing_deg is None
    assert candidate.off_axis_deg is None


def test_density_demanded_by_the_need_comes_first() -> None:
    # 1920 pixels over 60 degrees: 1662.8 / 20 m = 83 px/m
    device = Device(location=lonlat(0, 20), azimuth=180.0, range_m=50.0, pixels=1920.0)
    (candidate,) = unit(device).candidates
    assert candidate.px_per_m == pytest.approx(83.14, abs=0.01)
    for needed, expected in ((83.0, ()), (84.0, ("too_coarse",))):
        assert reasons(device, needs=(Need("face", min_px_per_m=needed),)) == expected
    watched = replace(device, functions=frozenset({"electronic"}))
    assert reasons(watched, needs=(Need("electronic"),)) == ()
    derived = replace(device, range_m=math.nan)
    assert reasons(derived, needs=(Need("face", min_px_per_m=84.0),)) == ("too_far",)


def test_nothing_near_names_the_nearest_with_the_function() -> None:
    need = unit(
        Device(code="far", location=lonlat(900, 0)),
        Device(code="nearer", location=lonlat(600, 0), state="offline"),
        Device(code="other", location=lonlat(50, 0), functions=frozenset({"vehicle"})),
    )
    assert (need.primary, need.candidates) == ("none", ())
    assert need.nearest is not None
    assert (need.nearest.code, need.nearest.reasons) == ("nearer", ("offline", "too_far"))
    assert need.nearest.distance_m == pytest.approx(600, abs=0.01)


def test_no_device_at_all() -> None:
    assessment = ask()
    assert STATUSES[assessment.status[0]] == "uncovered"
    assert assessment.explain_point(0)[0].primary == "none"
    assert assessment.explain_point(0)[0].nearest is None
    assert assessment.best[0] == -1
    assert np.isnan(assessment.best_distance_m[0])


def test_when_all_count_and_it_is_too_little_the_next_one_is_named() -> None:
    rows = [Device(code="here", location=lonlat(0, 20)), Device(code="next", location=lonlat(0, 400))]
    need = unit(*rows, needs=(Need("face", working=2),))
    assert (need.met, need.count, need.primary) == (False, 1, "none")
    assert need.nearest is not None
    assert need.nearest.code == "next"


def test_primary_reason_is_that_of_the_best_candidate() -> None:
    need = unit(
        Device(code="a", location=lonlat(0, 10), in_use=False, state="offline"),
        Device(code="b", location=lonlat(0, 28), state="offline"),
        Device(code="c", location=lonlat(0, 25), in_use=False),
        Device(code="d", location=lonlat(0, 80), assigned="P", stale=True),
    )
    assert [device.code for device in need.candidates] == ["d", "c", "b", "a"]
    assert need.primary == "stale"


def test_ties_are_broken_by_code() -> None:
    rows = [Device(code=code, location=lonlat(0, 20), state="offline") for code in "cab"]
    assert [device.code for device in unit(*rows).candidates] == ["a", "b", "c"]
    distant = [Device(code=code, location=lonlat(0, 700)) for code in "cab"]
    nearest = unit(*distant).nearest
    assert nearest is not None
    assert nearest.code == "a"


def test_status_of_a_point() -> None:
    two = (FACE, Need("overview"))
    face = Device(location=lonlat(0, 20), group=1)
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
    assessment = ask(Device(), needs=())
    assert assessment.status[0] == COVERED
    assert assessment.no_requirement[0]
    assert assessment.explain_point(0) == ()
    assert not ask(Device()).no_requirement[0]


def test_working_two_and_failing_together() -> None:
    need = (Need("face", working=2),)

    def rows(*groups: int) -> list[Device]:
        return [Device(location=lonlat(0, 20), group=group) for group in groups]

    for groups, met, backed in (
        ((1,), False, False),
        ((1, 2), True, False),
        ((1, 2, 3), True, True),
        ((1, 1, 2), True, False),
        ((1, 1, 2, 2), True, True),
    ):
        result = unit(*rows(*groups), needs=need)
        assert (result.met, result.backed_up) == (met, backed)


def test_a_checkpoint_does_not_count_in_addition_to_its_cameras() -> None:
    checkpoint = Device(code="K", kind="checkpoint", location=lonlat(0, 20), group=1)
    lane = Device(code="C", location=lonlat(0, 20), part_of="K", group=1)
    need = unit(checkpoint, lane)
    assert need.count == 1
    assert [(device.code, device.counts, device.represented) for device in need.candidates] == [
        ("C", True, False),
        ("K", False, True),
    ]
    assert unit(checkpoint, replace(lane, state="offline")).count == 1
    assert unit(checkpoint, replace(lane, functions=frozenset({"vehicle"}))).count == 1
    assert unit(checkpoint, lane, replace(lane, code="C2")).count == 2


def test_a_checkpoint_counts_again_when_its_cameras_fail_without_it() -> None:
    # Losing group 2 takes both cameras; the checkpoint in group 1 then counts itself again.
    checkpoint = Device(code="K", kind="checkpoint", location=lonlat(0, 20), group=1)
    lane = Device(code="C", location=lonlat(0, 20), part_of="K", group=2)
    second_camera = Device(code="X", location=lonlat(0, 20), group=2)
    assert unit(checkpoint, lane, second_camera).backed_up
    assert not unit(replace(checkpoint, group=2), lane, second_camera).backed_up
    assert not unit(lane, second_camera).backed_up


def test_a_camera_beyond_the_search_radius_that_sees_the_point() -> None:
    device = Device(location=lonlat(0, 900), azimuth=180.0, range_m=1000.0)
    assert reasons(device) == ()
    assert unit(replace(device, range_m=899.0)).primary == "none"
    lacking = replace(device, functions=frozenset({"vehicle"}))
    assert reasons(lacking) == ("wrong_function",)


def test_an_assigned_device_is_a_candidate_at_any_distance() -> None:
    device = Device(location=lonlat(5000, 0), assigned="P", functions=frozenset({"vehicle"}))
    assert reasons(device) == ("wrong_function", "too_far")


class TestAreas:
    """Control points that are areas."""

    site = area(-50, -20, 50, 20)

    def test_distance_is_to_the_nearest_point(self) -> None:
        (candidate,) = unit(Device(location=lonlat(0, 45)), shape=self.site).candidates
        assert candidate.distance_m == pytest.approx(25, abs=0.01)
        assert candidate.reasons == ()
        (inside,) = unit(Device(location=lonlat(40, 0)), shape=self.site).candidates
        assert (inside.distance_m, inside.reasons) == (0.0, ())

    def test_a_sector_reaches_any_point_of_it(self) -> None:
        # 30 m north of the western end, looking west-south-west along nothing, then south
        device = Device(location=lonlat(-40, 50), opening=20.0, range_m=40.0)
        assert reasons(replace(device, azimuth=180.0), shape=self.site) == ()
        assert reasons(replace(device, azimuth=0.0), shape=self.site) == ("out_of_view",)
        assert reasons(replace(device, azimuth=90.0), shape=self.site) == ("out_of_view",)
        # the site's point itself is out of this view
        assert reasons(replace(device, azimuth=180.0), needs=(FACE,)) == ("too_far", "out_of_view")

    def test_visible_but_only_beyond_the_range(self) -> None:
        # 5 m north of the eastern end, looking along the site's side at a second part far west
        distant_area = area(-130, 15, -110, 35)
        both = MultiPolygon([self.site, distant_area])
        device = Device(location=lonlat(50, 25), azimuth=270.0, opening=4.0, range_m=100.0)
        assert reasons(device, shape=both) == ("out_of_view",)
        assert reasons(replace(device, range_m=170.0), shape=both) == ()

    def test_blind_zone(self) -> None:
        device = Device(location=lonlat(0, 25), range_m=300.0, near_m=40.0)
        assert reasons(device, shape=self.site) == ()
        assert reasons(replace(device, near_m=80.0), shape=self.site) == ("out_of_view",)

    def test_density_is_that_of_the_nearest_visible_point(self) -> None:
        device = Device(location=lonlat(0, 40), azimuth=180.0, range_m=90.0, pixels=6000.0)
        # 5196 px/m at one metre: 260 at 20 m, 130 at 40 m
        assert reasons(device, shape=self.site) == ()
        assert reasons(replace(device, near_m=40.0), shape=self.site) == ("too_coarse",)

    def test_search_finds_devices_around_a_large_area(self) -> None:
        large = area(-2000, -2000, 2000, 2000)
        need = unit(
            Device(code="edge", location=lonlat(2150, 0)),
            Device(code="corner", location=lonlat(2140, 2140)),
            Device(code="beyond", location=lonlat(2205, 0)),
            Device(code="in", location=lonlat(1500, 1500), state="offline"),
            shape=large,
        )
        assert {device.code for device in need.candidates} == {"edge", "corner", "in"}

    def test_nearest_other_is_measured_to_the_area(self) -> None:
        # "a" is nearer to the point, "b" nearer to the area
        long = area(-10, -10, 5000, 10)
        need = unit(
            Device(code="a", location=lonlat(-600, 0)), Device(code="b", location=lonlat(4000, 500)), shape=long
        )
        assert need.primary == "none"
        assert need.nearest is not None
        assert need.nearest.code == "b"
        assert need.nearest.distance_m == pytest.approx(490, abs=0.1)

    def test_random_areas_against_a_fine_lattice(self) -> None:
        rng = np.random.default_rng(11)
        site = PROJECTION.project(Polygon([lonlat(-60, -30), lonlat(60, -10), lonlat(0, 70)]))
        west, south, east, north = site.bounds
        x, y = np.meshgrid(np.arange(west, east, 0.5), np.arange(south, north, 0.5))
        cells = np.column_stack([x.ravel(), y.ravel()])
        cells = cells[shapely.intersects_xy(site, cells[:, 0], cells[:, 1])]
        mismatches = 0
        for _ in range(300):
            location = lonlat(int(rng.uniform(-150, 150)), int(rng.uniform(-150, 150)))
            azimuth, opening = rng.uniform(0, 360), rng.uniform(5, 300)
            range_m, near_m = rng.uniform(5, 150), rng.uniform(0, 60)
            device = Device(
                location=location, azimuth=azimuth, opening=opening, range_m=range_m, near_m=near_m, assigned="P"
            )
            lacks = reasons(device, shape=PROJECTION.unproject(site))
            origin = PROJECTION.to_metres([location])[0]
            away = np.hypot(*(cells - origin).T)
            bearing = np.degrees(np.arctan2(*(cells - origin).T)) + PROJECTION.convergence_deg([location])[0]
            off = np.abs((bearing - azimuth + 180) % 360 - 180)
            reached = ((away <= range_m) & (away >= near_m) & (off <= opening / 2)).any()
            if away.min() >= 1.5:
                if reached:
                    assert lacks == ()
                # the lattice may miss a sliver of the view; it must not miss more
                mismatches += (lacks == ()) != reached
        assert mismatches <= 3


def test_testing_in_blocks_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [Device(location=lonlat(0, 5 * index), group=index % 3) for index in range(9)]
    needs = (FACE, Need("overview"), Need("face", working=3))
    whole = ask(*rows, needs=needs)
    monkeypatch.setattr(candidates, "BLOCK_ROWS", 4)
    blocks = ask(*rows, needs=needs)
    assert np.array_equal(whole.reason_count, blocks.reason_count)
    assert np.array_equal(whole.best, blocks.best)
    assert whole.explain_point(0) == blocks.explain_point(0)


def test_too_many_pairs_are_refused_before_they_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach, "MAX_PAIRS", 5)
    rows = [Device(location=lonlat(0, index)) for index in range(6)]
    assert ask(*rows[:5]).status.tolist() == [3]
    with pytest.raises(TooLarge):
        ask(*rows)
    with pytest.raises(TooLarge):
        ask(*rows, shape=area(-50, -20, 50, 20))


def test_many_devices_in_one_place_far_away() -> None:
    rows = [Device(code=f"X{index:03d}", location=lonlat(900, 0)) for index in range(300)][::-1]
    nearest = unit(Device(code="Z", location=lonlat(0, 20)), *rows, needs=(Need("face", working=2),))
    assert nearest.nearest is not None
    assert nearest.nearest.code == "X000"


def test_rows_may_not_refer_to_nothing() -> None:
    points, devices = oracle.tables([Point("P", ORIGIN, (FACE,))], [Device()])
    for column in ("assigned", "installation"):
        broken = replace(devices, **{column: np.array([5])})  # type: ignore[arg-type]  # by name
        with pytest.raises(ValueError, match="not there"):
            assess_coverage(points, broken, Parameters(), PROJECTION)


def test_tables_are_checked() -> None:
    points, devices = oracle.tables([Point("P", ORIGIN, (FACE,))], [Device()])
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
        assess_coverage(replace(points, lonlat=np.array([[np.nan, 35.0]])), devices, Parameters(), PROJECTION)


@pytest.mark.parametrize(
    "change",
    [
        {"function": "smell"},
        {"function": "face", "direction": "up"},
        {"function": "face", "working": 0},
        {"function": "face", "min_px_per_m": 0.0},
        {"function": "face", "min_px_per_m": math.nan},
    ],
)
def test_impossible_needs_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"need|unknown|above"):
        Need(**change)  # type: ignore[arg-type]  # on purpose


@pytest.mark.parametrize(
    "change",
    [
        {"search_m": 0.0},
        {"assumed_range_m": math.inf},
        {"assumed_opening_deg": 361.0},
        {"density": {"face": 250.0}},
        {"density": dict.fromkeys(("face", "vehicle", "structured", "overview", "electronic"), 0)},
    ],
)
def test_impossible_parameters_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"above 0|must lie|needed for"):
        Parameters(**change)  # type: ignore[arg-type]  # on purpose


def test_empty_tables() -> None:
    points, devices = oracle.tables([], [])
    assessment = assess_coverage(points, devices, Parameters(), PROJECTION)
    assert assessment.status.shape == assessment.met.shape == (0,)
    full, none = oracle.tables([Point("P", ORIGIN, (FACE,))], [Device()]), devices
    assert assess_coverage(full[0], none, Parameters(), PROJECTION).status.tolist() == [0]
    assert assess_coverage(points, full[1], Parameters(), PROJECTION).status.shape == (0,)
    with pytest.raises(IndexError):
        assessment.explain_point(0)


def test_met_units_name_their_best_device() -> None:
    assessment = ask(
        Device(code="near", location=lonlat(0, 5)), Device(code="own", location=lonlat(0, 20), assigned="P")
    )
    assert assessment.primary[0] == MET
    assert assessment.best[0] == 1
    assert assessment.best_distance_m[0] == pytest.approx(20, abs=0.01)
    assert assessment.candidate_count[0] == 2


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

"""Fields of view from registered optics: each rule with its numbers; many cameras equal one by one."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from app.geo.coverage.tables import Parameters
from app.geo.projection.local_projection import LocalProjection
from app.geo.visibility.field_of_view import range_for_density, sector
from app.geo.visibility.obstacles import Obstacles
from app.geo.visibility.sectors import VIEW_BASES, CameraOptics, Views, compute_views

FRAME = LocalProjection(4547)
HERE = (113.2, 35.2)
NAN = float("nan")
PARAMETERS = Parameters(assumed_range_m=31.0, assumed_opening_deg=50.0)
STATED: dict[str, Any] = {
    "lonlat": HERE, "azimuth_deg": 40.0, "opening_deg": 60.0, "range_m": 35.0, "near_m": 3.0,
    "h_pixels": 1920.0, "mount_height_m": 6.0, "indoor": False, "px_per_m": 125.0, "binding": False,
}  # fmt: skip


def optics(*rows: dict[str, Any], drawn: dict[int, Any] | None = None) -> CameraOptics:
    """Return cameras that state what `STATED` does, but for what each row says."""
    known = [STATED | row for row in rows]
    columns = {name: np.array([row[name] for row in known]) for name in STATED}
    return CameraOptics(**columns, drawn=drawn or {})


def seen(*rows: dict[str, Any], **more: Any) -> Views:
    return compute_views(optics(*rows, **more), PARAMETERS, FRAME)


def _extent(*rows: dict[str, Any]) -> list[tuple[float, str]]:
    found = seen(*rows)
    bases = [VIEW_BASES[code] for code in found.basis]
    return list(zip(found.range_m.round(2).tolist(), bases, strict=True))


def test_the_view_is_the_sector_of_what_is_stated() -> None:
    found = seen({})
    xy, turn = FRAME.to_metres([HERE])[0], FRAME.convergence_deg([HERE])[0]
    assert found.shape[0] == sector((xy[0], xy[1]), 40 - turn, 60, 35, 3)
    assert found.open_m2[0] == found.shape[0].area


def test_where_the_range_comes_from() -> None:
    # 1920 px over 2 tan(30 deg) metres at one metre: 125 px/m end at 13.30 m.
    derived = round(float(range_for_density(1920, 60, 125)), 2)
    assert derived == 13.3
    rows: list[dict[str, Any]] = [
        {}, {"binding": True}, {"range_m": NAN}, {"range_m": NAN, "h_pixels": NAN},
        {"range_m": NAN, "px_per_m": NAN}, {"binding": True, "px_per_m": 10.0},
    ]  # fmt: skip
    assert _extent(*rows) == [
        (35.0, "stated"), (derived, "optics"), (derived, "optics"), (31.0, "assumed"),
        (31.0, "assumed"), (35.0, "stated"),
    ]  # fmt: skip


def test_a_lens_of_a_hair_reaches_no_farther_than_anything_may() -> None:
    assert _extent({"range_m": NAN, "opening_deg": 1e-9}) == [(100_000.0, "optics")]


def test_what_looks_all_round_sees_a_disc_less_its_blind_zone() -> None:
    found = seen({"azimuth_deg": NAN}, {"opening_deg": 360.0}, {"azimuth_deg": NAN, "near_m": NAN})
    ring = sector((0, 0), 0, 360, 35, 3).area
    disc = sector((0, 0), 0, 360, 35).area
    assert shapely.area(found.shape) == pytest.approx([ring, ring, disc])
    assert np.isnan(found.bearing_deg).all()


def test_an_opening_that_is_not_stated_is_said_to_be_assumed() -> None:
    found = seen({"opening_deg": NAN}, {"opening_deg": NAN, "azimuth_deg": NAN}, {})
    assert found.opening_deg.tolist() == [50.0, 360.0, 60.0]
    assert found.opening_assumed.tolist() == [True, False, False]


def test_a_blind_zone_up_to_the_range_leaves_nothing() -> None:
    assert seen({"near_m": 35.0}).shape[0].is_empty


def test_a_drawn_view_wins_and_no_building_cuts_it() -> None:
    drawn = shapely.box(113.2, 35.2, 113.2003, 35.2002)
    house = FRAME.project(shapely.box(113.2001, 35.2, 113.2002, 35.2003))
    around = Obstacles(np.array([house], dtype=object), np.array([NAN]))
    found = compute_views(optics({}, {}, drawn={1: drawn}), PARAMETERS, FRAME, around)
    assert VIEW_BASES[found.basis[1]] == "drawn"
    assert found.shape[1].equals_exact(FRAME.project(drawn), 1e-6)
    xy = FRAME.to_metres([HERE, (113.2003, 35.2002)])
    assert found.range_m[1] == pytest.approx(np.hypot(*(xy[1] - xy[0])))
    assert found.cut_by[0].tolist() == [0]
    assert found.shape[0].area < found.open_m2[0]


def test_columns_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="unequal"):
        replace(optics({}), near_m=np.zeros(2))
    with pytest.raises(ValueError, match="no camera"):
        replace(optics({}), drawn={1: shapely.box(0, 0, 1, 1)})


numbers = st.fixed_dictionaries(
    {},
    optional={
        "azimuth_deg": st.sampled_from([NAN, 0.0, 359.5]) | st.floats(0, 359),
        "opening_deg": st.sampled_from([NAN, 360.0]) | st.floats(0.5, 360),
        "range_m": st.sampled_from([NAN]) | st.floats(0.5, 500),
        "near_m": st.sampled_from([NAN, 0.0]) | st.floats(0, 50),
        "h_pixels": st.sampled_from([NAN, 1920.0]),
        "binding": st.booleans(),
    },
)


@given(st.lists(numbers, min_size=1, max_size=6))
def test_many_at_once_are_the_same_as_one_by_one(rows: list[dict[str, Any]]) -> None:
    together = seen(*rows)
    assert shapely.is_valid(together.shape).all()
    for place, row in enumerate(rows):
        alone = seen(row)
        assert together.shape[place].equals_exact(alone.shape[0], 0.0)
        assert together.range_m[place] == alone.range_m[0]

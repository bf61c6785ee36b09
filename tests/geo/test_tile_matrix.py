"""Tile matrix sets: laws of the pyramids, and the numbers in the standard."""

from math import isclose

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.geo.projection.tile_matrix import MATRIX_SETS, MAX_MATRIX, WEB_MERCATOR_QUAD, WORLD_CRS84_QUAD, TileMatrixSet

SETS = list(MATRIX_SETS.values())


@st.composite
def tiles(draw: st.DrawFn) -> tuple[TileMatrixSet, int, int, int]:
    found = draw(st.sampled_from(SETS))
    matrix = draw(st.integers(0, MAX_MATRIX - 1))
    columns, rows = found.matrix_size(matrix)
    return found, matrix, draw(st.integers(0, rows - 1)), draw(st.integers(0, columns - 1))


@given(tiles())
def test_four_tiles_of_the_next_matrix_make_one(tile: tuple[TileMatrixSet, int, int, int]) -> None:
    found, matrix, row, column = tile
    x0, y0, x1, y1 = found.tile_extent(matrix, row, column)
    upper_left = found.tile_extent(matrix + 1, 2 * row, 2 * column)
    lower_right = found.tile_extent(matrix + 1, 2 * row + 1, 2 * column + 1)
    side = x1 - x0
    assert upper_left[0] == pytest.approx(x0, abs=side * 1e-9)
    assert upper_left[3] == pytest.approx(y1, abs=side * 1e-9)
    assert lower_right[1] == pytest.approx(y0, abs=side * 1e-9)
    assert lower_right[2] == pytest.approx(x1, abs=side * 1e-9)


@given(tiles())
def test_the_middle_of_a_tile_lies_in_that_tile_alone(
    tile: tuple[TileMatrixSet, int, int, int],
) -> None:
    found, matrix, row, column = tile
    west, south, east, north = found.tile_bounds(matrix, row, column)
    lon, lat = (west + east) / 2, (south + north) / 2
    assert found.tile_limits((lon, lat, lon, lat), matrix) == (row, row, column, column)


@given(tiles())
def test_a_margin_grows_the_bounds_on_every_side(tile: tuple[TileMatrixSet, int, int, int]) -> None:
    found, matrix, row, column = tile
    west, south, east, north = found.tile_bounds(matrix, row, column)
    grown = found.tile_bounds(matrix, row, column, margin=1 / 64)
    assert grown[0] < west
    assert grown[1] < south
    assert grown[2] > east
    assert grown[3] > north


@given(tiles())
def test_what_is_outside_the_matrix_is_no_tile(tile: tuple[TileMatrixSet, int, int, int]) -> None:
    found, matrix, row, column = tile
    columns, rows = found.matrix_size(matrix)
    assert found.has_tile(matrix, row, column)
    assert not found.has_tile(matrix, row + rows, column)
    assert not found.has_tile(matrix, row, column + columns)
    assert not found.has_tile(matrix, -1, column)
    assert not found.has_tile(MAX_MATRIX + 1, row, column)


def test_the_numbers_are_those_the_standard_prints() -> None:
    mercator, crs84 = WEB_MERCATOR_QUAD.build_document(), WORLD_CRS84_QUAD.build_document()
    first = mercator["tileMatrices"][0]
    assert isclose(first["scaleDenominator"], 559082264.028717, rel_tol=1e-12)
    assert isclose(first["cellSize"], 156543.033928041, rel_tol=1e-12)
    assert first["pointOfOrigin"] == pytest.approx([-20037508.3427892, 20037508.3427892])
    first = crs84["tileMatrices"][0]
    assert isclose(first["scaleDenominator"], 279541132.014358, rel_tol=1e-12)
    assert first["cellSize"] == 0.703125
    assert (first["matrixWidth"], first["matrixHeight"]) == (2, 1)


def test_a_box_beyond_the_world_is_cut_off() -> None:
    assert WEB_MERCATOR_QUAD.tile_limits((-180, -90, 180, 90), 2) == (0, 3, 0, 3)
    assert WORLD_CRS84_QUAD.tile_limits((-180, -90, 180, 90), 1) == (0, 1, 0, 3)

"""CQL2 filters on our own records: what each selects, what is refused, what SQL never sees."""

import json
import re
import time
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text as text_of

from app.analysis.service import AnalysisService
from app.db.engine import Database
from app.db.queries import StatementParameters
from app.errors import BadQuery
from app.geo.projection.reference_systems import CRS84
from app.ogc import cql2
from app.ogc.collections import BY_ID, COLLECTIONS
from app.ogc.features import FeatureService
from app.ogc.queries.cql2_to_sql import compile_filter
from app.ogc.queries.features import FeaturePage, FeatureQuery, build_page_statement, build_vocabulary
from tests.builders import Json
from tests.ogc.feature_requests import CAMERAS, cams, filtered, ids

ODD, EVEN = ids(range(1, 12, 2)), ids(range(0, 12, 2))
BOX = "113.1995,35.1,113.2025,35.3"
RING = "113.1995 35.1, 113.2025 35.1, 113.2025 35.3, 113.1995 35.3, 113.1995 35.1"

# cam-n lies at (113.2 + n/1000, 35.2), reaches n*10+5 m, was installed on January n+1; odd ones do face,
# even ones vehicle and overview; cam-0 has no Chinese name and no sign, cam-1 to 6 no sign, 7 to 11 one;
# cam-3 is called Ünïcode, cam-5 was removed on March 1
SELECTED: list[tuple[str, list[str]]] = [
    # comparison, logic
    ("code = 'cam-03'", cams(3)),
    ("range_m > 95 AND range_m <= 115", cams(10, 11)),
    ("range_m < 15 OR NOT range_m < 105", cams(0, 10, 11)),
    ("sign_present = TRUE", ids(range(7, 12))),
    ("sign_present = FALSE", ids(range(1, 7))),
    ("NOT sign_present = TRUE", ids(range(1, 7))),
    ("sign_present IS NULL", cams(0)),
    ("name_zh IS NOT NULL AND name_en IS NOT NULL", cams(3)),
    ("range_m <> 5 AND version = 1", ids(range(1, 12))),
    ("installed_on < DATE('2026-01-03')", cams(0, 1)),
    ("installed_on = '2026-01-03'", cams(2)),
    ("installed_on >= TIMESTAMP('2026-01-11T00:00:00Z')", cams(10, 11)),
    ("created_at > TIMESTAMP('2020-01-01T00:00:00Z') AND code='cam-01'", cams(1)),
    ("created_at < '2020-01-01'", []),
    # advanced comparison
    ("code LIKE 'cam-0_' AND range_m >= 85", cams(8, 9)),
    ("code LIKE '%1%'", cams(1, 10, 11)),
    ("code NOT LIKE 'cam-0%'", cams(10, 11)),
    ("code LIKE '100\\%'", []),
    ("range_m BETWEEN 15 AND 35", cams(1, 2, 3)),
    ("range_m NOT BETWEEN 15 AND 105", cams(0, 11)),
    ("code IN ('cam-01', 'cam-02', 'nothing')", cams(1, 2)),
    ("range_m IN (15, 25.0, 7)", cams(1, 2)),
    ("installed_on IN (DATE('2026-01-02'), DATE('2026-01-05'))", cams(1, 4)),
    ("code NOT IN ('cam-00', 'cam-01')", ids(range(2, 12))),
    # case and accents
    ("CASEI(code) = CASEI('CAM-03')", cams(3)),
    ("CASEI(name_en) LIKE CASEI('ÜNÏ%')", cams(3)),
    ("CASEI(code) IN (CASEI('CAM-03'), CASEI('CAM-04'))", cams(3, 4)),
    ("ACCENTI(name_en) = ACCENTI('Unicode')", cams(3)),
    ("ACCENTI(CASEI(name_en)) = ACCENTI(CASEI('UNÍCODE'))", cams(3)),
    ("name_en = 'Unicode'", []),
    # places
    (f"S_INTERSECTS(geometry, BBOX({BOX}))", cams(0, 1, 2)),
    (f"S_INTERSECTS(geometry, POLYGON(({RING})))", cams(0, 1, 2)),
    ("S_INTERSECTS(geometry, LINESTRING(113.2 35.2, 113.2005 35.2))", cams(0)),
    ("S_INTERSECTS(geometry, GEOMETRYCOLLECTION(POINT(113.2 35.2), POINT(0 0)))", cams(0)),
    (f"S_DISJOINT(geometry, BBOX({BOX}))", ids(range(3, 12))),
    (f"S_WITHIN(geometry, BBOX({BOX}))", cams(0, 1, 2)),
    ("S_EQUALS(geometry, POINT(113.203 35.2))", cams(3)),
    ("S_CONTAINS(geometry, POINT(113.203 35.2))", cams(3)),
    ("S_TOUCHES(geometry, BBOX(113.203, 35.2, 113.9, 35.3))", ids(range(3, 12))),
    ("S_CROSSES(geometry, BBOX(113.1, 35.1, 113.9, 35.3))", []),
    ("S_OVERLAPS(geometry, MULTIPOINT((113.203 35.2), (1 1)))", []),
    ("S_INTERSECTS(geometry, BBOX(113.209, -90, 113.201, 90))", cams(0, 1, 9, 10, 11)),
    # one thousandth of a degree of longitude is 91.1 m here
    ("withinDistance(geometry, POINT(113.2 35.2), 100)", cams(0, 1)),
    ("WITHINDISTANCE(geometry, POINT(113.2 35.2), 0)", cams(0)),
    ("distance(geometry, POINT(113.2 35.2)) BETWEEN 90 AND 190", cams(1, 2)),
    # times
    ("T_AFTER(installed_on, DATE('2026-01-10'))", cams(10, 11)),
    ("T_BEFORE(installed_on, DATE('2026-01-03'))", cams(0, 1)),
    ("T_INTERSECTS(installed_on, INTERVAL('2026-01-02', '2026-01-03'))", cams(1, 2)),
    ("T_INTERSECTS(installed_on, INTERVAL('2026-01-11', '..'))", cams(10, 11)),
    ("T_DURING(INTERVAL(installed_on, removed_on), INTERVAL('..', '2026-06-01'))", cams(5)),
    ("T_EQUALS(removed_on, DATE('2026-03-01'))", cams(5)),
    ("T_DISJOINT(installed_on, INTERVAL('2026-01-02', '..'))", cams(0)),
    # a day beside an instant lasts as long as a day does
    ("T_INTERSECTS(installed_on, TIMESTAMP('2026-01-05T13:00:00Z'))", cams(4)),
    ("T_CONTAINS(INTERVAL('2026-01-04', '2026-01-06'), INTERVAL(installed_on, installed_on))", cams(4)),
    # lists
    ("A_CONTAINS(functions, ('face'))", ODD),
    ("A_CONTAINS(functions, ('overview', 'vehicle'))", EVEN),
    ("A_EQUALS(functions, ('overview', 'vehicle'))", EVEN),
    ("A_CONTAINEDBY(functions, ('face', 'electronic'))", ODD),
    ("A_OVERLAPS(functions, ('face', 'vehicle'))", ids(range(12))),
    ("A_OVERLAPS(rings, ('core'))", ids(range(12))),
    # arithmetic and property against property
    ("range_m * 2 + 1 = 31", cams(1)),
    ("(range_m - 5) / 10 = 4", cams(4)),
    ("range_m % 50 = 5", cams(0, 5, 10)),
    ("range_m DIV 50 = 2", cams(10, 11)),
    ("range_m ^ 2 < 300", cams(0, 1)),
    ("range_m / 0 > 1", []),
    ("installed_on = removed_on", []),
    ("updated_at >= created_at AND range_m = range_m AND code = 'cam-02'", cams(2)),
    ("-range_m < -110", cams(11)),
    # domain
    ("zone = 'core' AND NOT working = TRUE AND state = 'unknown' AND range_m < 10", cams(0)),
]  # fmt: skip


async def test_each_filter_selects_what_it_says(gis: httpx.AsyncClient) -> None:
    """Every filter as text, and as JSON made of it."""
    wrong = []
    for text, expected in SELECTED:
        results = await filtered(gis, text)
        tree = json.dumps(cql2.parse_filter(text, "cql2-text"))
        params = {"filter": tree, "filter-lang": "cql2-json", "limit": "100"}
        as_json = (await gis.get(CAMERAS, params=params)).json()
        if results != expected or [f["id"] for f in as_json["features"]] != expected:
            wrong.append((text, results, expected))
    assert wrong == []


async def test_geometries_of_a_filter_come_in_any_system(gis: httpx.AsyncClient) -> None:
    # the corners of BOX in EPSG:4547, northing first (pyproj)
    for crs, box in (
        ("EPSG:4326", "35.1,113.1995,35.3,113.2025"),
        ("EPSG:4547", "3886000,427120,3908000,427400"),
    ):
        params = {"filter": f"S_INTERSECTS(geometry,BBOX({box}))", "filter-crs": crs}
        response = await gis.get(CAMERAS, params=params)
        assert response.status_code == 200, response.text
        results = [feature["id"] for feature in response.json()["features"]]
        assert results == cams(0, 1, 2), crs


REFUSED: list[tuple[str, str]] = [
    ("range_m >", "column 10"),
    ("range_m = 5 AND", "column 16"),
    ("S_INTERSECTS(geometry, POINT(1 2)", "column 34"),
    ("code = 'x", "column 8"),
    ("nothing = 1", "'nothing'"),
    ("document = 'x'", "'document'"),
    ("network_addres = 'x'", "Properties of this collection: code"),
    ("pg_sleep(10) = 1", "pg_sleep"),
    ("range_m = 'far'", "text"),
    ("code = 5", "'code'"),
    ("code > DATE('2026-01-01')", "'code'"),
    ("sign_present = 'true'", "boolean"),
    ("geometry = geometry", "S_EQUALS"),
    ("functions = 'face'", "cannot be compared"),
    ("lanes = 'x'", "'lanes'"),
    ("code LIKE 5", "LIKE"),
    ("range_m LIKE '5%'", "LIKE"),
    ("code LIKE 'x\\'", "backslash"),
    ("CASEI(range_m) = 'x'", "CASEI"),
    ("code + 1 = 2", "arithmetic"),
    ("code", "condition"),
    ("range_m", "condition"),
    ("5", "condition"),
    ("code = NULL", "IS NULL"),
    ("installed_on = DATE('2026-02-30')", "not a date"),
    ("created_at = TIMESTAMP('2026-01-01')", "not an instant"),
    ("created_at = TIMESTAMP('0001-01-01T00:00:00+14:00')", "not an instant"),
    ("T_AFTER(code, DATE('2026-01-01'))", "not a date or an instant"),
    ("T_AFTER(installed_on, '..')", ".."),
    ("T_AFTER(installed_on)", "must be 2, not 1"),
    ("installed_on = INTERVAL('2026-01-01','..')", "interval"),
    ("S_INTERSECTS(geometry, POLYGON((0 0, 1 1, 0 1, 1 0, 0 0)))", "Self-intersection"),
    ("S_INTERSECTS(geometry, POLYGON((0 0, 1 1, 0 1)))", "ring of a polygon"),
    ("S_INTERSECTS(geometry, POINT(200 1))", "out of range"),
    ("S_INTERSECTS(geometry, POINT(35.2 113.2))", "out of range"),
    ("S_INTERSECTS(geometry, BBOX(1,2,3))", "four or six numbers"),
    ("S_INTERSECTS(geometry, BBOX(1,5,3,4))", "lower corner of a bounding box comes first"),
    ("S_INTERSECTS(geometry, 'POINT(1 2)')", "not a geometry"),
    ("S_WITHIN(geometry, GEOMETRYCOLLECTION(POINT(1 2)))", "GEOMETRYCOLLECTION"),
    ("S_BUFFER(geometry, POINT(1 2))", "S_BUFFER"),
    ("withinDistance(geometry, POINT(1 2), -1)", "metres"),
    ("withinDistance(geometry, POINT(1 2), 1e9)", "metres"),
    ("withinDistance(geometry, POINT(1 2), range_m)", "number of metres"),
    ("A_CONTAINS(code, ('x'))", "lists"),
    ("A_CONTAINS(functions, (1, 2))", "texts"),
    ("range_m = 1e400", "out of range"),
    ("range_m ^ 1000 > 1", "cannot be evaluated"),
]


async def test_what_does_not_fit_is_refused_and_the_place_is_told(gis: httpx.AsyncClient) -> None:
    wrong: list[Any] = []
    for text, document in REFUSED:
        response = await gis.get(CAMERAS, params={"filter": text})
        problem = response.json()
        if (response.status_code, problem.get("code")) != (400, "bad-filter"):
            wrong.append((text, response.status_code, problem))
        elif document.lower() not in problem["detail"].lower():
            wrong.append((text, document, problem["detail"]))
    assert wrong == []


async def test_json_that_is_no_filter_is_refused(gis: httpx.AsyncClient) -> None:
    for text in (
        "", "{", "[]", "null", "{}", '{"op": 5, "args": []}', '{"op": "=", "args": {}}', '"\\ud800"',
        '{"op": "=", "args": [{"property": "code"}, "\\u0000"]}', '{"op": "and", "args": []}',
        '{"op": "=", "args": [{"property": 5}, 5]}', '{"op": "=", "args": [{"property": "code"}]}',
        '{"op": "s_intersects", "args": [{"property": "geometry"}, {"type": "Point"}]}',
        '{"op": "s_intersects", "args": [{"property": "geometry"}, {"type": [], "coordinates": 1}]}',
        '{"op": "s_intersects", "args": [{"property": "geometry"}, {"bbox": [1, 2, 3, "4"]}]}',
        '{"op": "s_intersects", "args": [{"property": "geometry"}, {"type": "GeometryCollection", '
        '"geometries": [5]}]}',
        '{"op": "in", "args": [{"property": "code"}, "x"]}', '{"op": "in", "args": [1, [[1]]]}',
        '{"op": "=", "args": [{"property": "range_m"}, 99999999999999999999999999999999999999e999]}',
        '{"op": "t_after", "args": [{"property": "installed_on"}, {"interval": ["x"]}]}',
        '{"op": "t_after", "args": [{"property": "installed_on"}, {"interval": [[], {}]}]}',
        '{"op": "a_equals", "args": [{"property": "functions"}, [{"property": "code"}]]}',
        '{"op": "between", "args": [{"property": "range_m"}, 1]}', '{"op": "casei", "args": ["x"]}',
    ):  # fmt: skip
        response = await gis.get(CAMERAS, params={"filter": text, "filter-lang": "cql2-json"})
        assert (response.status_code, response.json()["code"]) == (400, "bad-filter"), text


def test_a_filter_too_large_is_refused_before_it_is_read() -> None:
    """Deep nesting would end the process inside the parser: these must come back, and quickly."""
    began = time.process_time()
    for text in (
        " OR ".join(["range_m = 1"] * 10_000),
        "(" * 10_000 + "range_m = 1" + ")" * 10_000,
        "NOT " * 10_000 + "range_m = 1",
        "range_m = " + "-" * 10_000 + "1",
        "range_m = " + "1+" * 10_000 + "1",
        "range_m = " + "^".join(["1"] * 10_000),
        "f(" * 10_000 + "1" + ")" * 10_000 + " = 1",
        "point(1" + "-1" * 10_000 + ") = 1",
        "point(1" + "+1" * 10_000 + ") = 1",
        "GEOMETRYCOLLECTION(" * 10_000,
        "a = 1 AND (a = 1 OR " * 5000 + "a = 1" + ")" * 5000,
        "POINT" + "(" * 10_000,
    ):
        with pytest.raises(BadQuery) as fetch_problem:
            cql2.parse_filter(text, "cql2-text")
        assert fetch_problem.value.code == "filter-too-large", text[:40]
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    "tree",
    [
        {"op": "or", "args": [{"op": "=", "args": [{"property": "range_m"}, 1]}] * 10_000},
        {"op": "in", "args": [{"property": "range_m"}, [1] * 10_001]},
        {"op": "in", "args": [{"property": "code"}, ["x"] * 10_001]},
        {
            "op": "s_intersects",
            "args": [
                {"property": "geometry"},
                {"type": "LineString", "coordinates": [[1, 2]] * 10_001},
            ],
        },
    ],
)
def test_a_tree_too_large_is_refused(tree: Json) -> None:
    with pytest.raises(BadQuery) as fetch_problem:
        compile_filter(tree, build_vocabulary(BY_ID["cameras"], False), StatementParameters())
    assert fetch_problem.value.code == "filter-too-large"


def test_a_tree_too_deep_is_refused() -> None:
    tree: Json = {"op": "=", "args": [{"property": "range_m"}, 1]}
    for _ in range(500):
        tree = {"op": "not", "args": [tree]}
    with pytest.raises(BadQuery) as fetch_problem:
        compile_filter(tree, build_vocabulary(BY_ID["cameras"], False), StatementParameters())
    assert fetch_problem.value.code == "filter-too-large"


async def test_a_spatial_filter_goes_through_the_index(gis: httpx.AsyncClient, superuser_url: str) -> None:
    """Of a tiny table PostgreSQL may read anything; here it has the spatial index or the whole table."""
    over = Database(superuser_url, pool_size=1)
    for collection in (known for known in COLLECTIONS if known.kind is not None):
        for text in (
            f"S_INTERSECTS(geometry, BBOX({BOX}))",
            f"S_WITHIN(geometry, POLYGON(({RING})))",
            "withinDistance(geometry, POINT(113.2 35.2), 100)",
        ):
            tree = cql2.parse_filter(text, "cql2-text")
            statement, values = build_page_statement(collection, FeatureQuery(tree=tree))
            index = f"ix_{collection.kind.name}_geometry"  # type: ignore[union-attr]
            plan = await _plan_with(over, index, statement, values)
            assert re.search(r"Index Cond: .*geometry .*(&&|@|~)", plan), (text, plan)
            assert index in plan, (text, plan)
    await over.close()


async def _plan_with(over: Database, index: str, statement: str, values: list[Any]) -> str:
    """Return the plan of a statement when a table has one index only; nothing is changed for good."""
    async with over.engine.connect() as connection:
        await connection.execute(text_of("SET LOCAL allow_system_table_mods = on"))
        await connection.execute(text_of("SET LOCAL enable_seqscan = off"))
        await connection.execute(
            text_of(
                "UPDATE pg_index SET indisvalid = false WHERE indexrelid <> CAST(:index AS regclass) "
                "AND indrelid = (SELECT indrelid FROM pg_index "
                "WHERE indexrelid = CAST(:index AS regclass))"
            ),
            {"index": index},
        )
        raw: Any = (await connection.get_raw_connection()).driver_connection
        rows = await raw.fetch(f"EXPLAIN {statement}", *values)
        await connection.rollback()
    return "\n".join(row[0] for row in rows)


async def test_a_filter_that_fails_on_a_later_row_is_no_failure_of_ours(
    gis: httpx.AsyncClient, database: Database
) -> None:
    """115 to the power of 200 has no number; the page may be there when the count finds out."""
    response = await gis.get(CAMERAS, params={"filter": "range_m ^ 200 > 0", "limit": "1"})
    assert (response.status_code, response.json()["code"]) == (400, "bad-filter")
    features = FeatureService(database, AnalysisService(database))
    params = FeatureQuery(limit=1, tree=cql2.parse_filter("range_m ^ 200 > 0", "cql2-text"))
    with pytest.raises(BadQuery) as fetch_problem:
        await features.count_matches(BY_ID["cameras"], params, FeaturePage(1, b"{}", '["cam-00"]', "1.1"))
    assert fetch_problem.value.code == "bad-filter"


async def test_a_filter_may_not_take_for_ever(gis: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.ogc.features.QUERY_TIMEOUT_S", 1e-6)
    response = await gis.get(CAMERAS, params={"filter": "range_m > 5"})
    assert (response.status_code, response.json()["code"]) == (400, "query-too-expensive")
    monkeypatch.undo()
    assert (await gis.get(CAMERAS, params={"filter": "range_m > 5"})).status_code == 200


_NAMES = st.sampled_from(["code", "range_m", "geometry", "functions", "installed_on", "state", "x"])
_EVIL = st.sampled_from(
    ["'; DROP TABLE camera; --", "\"", "$1", "%s", "{0}", "t.code", "\\", "') OR TRUE --", "é", "1"]
)  # fmt: skip
_LEAVES = st.one_of(
    st.builds(lambda name: {"property": name}, _NAMES | _EVIL),
    st.builds(lambda text: {"date": text}, _EVIL | st.just("2026-01-01")),
    st.builds(lambda text: {"timestamp": text}, _EVIL | st.just("2026-01-01T00:00:00Z")),
    st.builds(lambda ends: {"interval": ends}, st.lists(_EVIL | st.just(".."), max_size=3)),
    st.builds(lambda sides: {"bbox": sides}, st.lists(st.floats(-180, 180), max_size=6)),
    st.just({"type": "Point", "coordinates": [113.2, 35.2]}),
    _EVIL,
    st.text(max_size=5),
    st.floats(allow_nan=False),
    st.integers(-(10**20), 10**20),
    st.booleans(),
    st.none(),
)
_OPERATORS = st.sampled_from(
    [
        "and", "or", "not", "=", "<>", "<", ">", "<=", ">=", "like", "between", "in", "isNull",
        "casei", "accenti", "+", "-", "*", "/", "%", "div", "^", "s_intersects", "s_within",
        "s_crosses", "t_after", "t_during", "t_intersects", "a_contains", "a_equals",
        "withinDistance", "distance", "'; DROP TABLE camera; --",
    ]
)  # fmt: skip
_TREES = st.recursive(
    _LEAVES,
    lambda below: st.one_of(
        st.builds(
            lambda name, args: {"op": name, "args": args},
            _OPERATORS,
            st.lists(below, min_size=1, max_size=3),
        ),
        st.lists(below, max_size=3),
    ),
    max_leaves=8,
)


def _op(name: str, *args: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.builds(lambda *made: {"op": name, "args": list(made)}, *args)


def _property(*names: str) -> st.SearchStrategy[Any]:
    return st.sampled_from(names).map(lambda name: {"property": name})


_TEXT = _property("code", "name_zh", "state", "zone") | _EVIL | st.text(max_size=5)
_CASED = _TEXT | _op("casei", _TEXT) | _op("accenti", _op("casei", _TEXT))
_NUMBER = _property("range_m", "version", "point_class") | st.floats(-1e9, 1e9)
_SUM = _NUMBER | st.one_of(*(_op(name, _NUMBER, _NUMBER) for name in "+-*/%^"))
_DAY = _property("installed_on", "removed_on") | st.just({"date": "2026-01-05"})
_TIME = _DAY | _property("updated_at") | st.just({"timestamp": "2026-01-05T00:00:00Z"})
_SPAN = st.builds(lambda *ends: {"interval": list(ends)}, _TIME | st.just(".."), _TIME)
_PLACE = st.sampled_from(
    [
        {"property": "geometry"},
        {"type": "Point", "coordinates": [113.2, 35.2]},
        {"bbox": [113.1, 35.1, 113.3, 35.3]},
        {"type": "LineString", "coordinates": [[113.2, 35.2], [113.3, 35.2, 7]]},
    ]
)
_LIST = _property("functions", "rings") | st.lists(_EVIL | st.text(max_size=3), max_size=3)
_CONDITIONS = st.one_of(
    *(_op(name, _CASED, _CASED) for name in ("=", "<", "<>")),
    *(_op(name, _SUM, _SUM) for name in ("=", ">=")),
    _op("between", _SUM, _NUMBER, _NUMBER),
    _op("in", _TEXT, st.lists(_EVIL, min_size=1, max_size=3)),
    _op("in", _NUMBER, st.lists(st.floats(-9, 9), min_size=1, max_size=3)),
    _op("like", _CASED, _CASED),
    _op("isNull", _TEXT | _NUMBER),
    *(_op(name, _TIME | _SPAN, _TIME | _SPAN) for name in ("t_after", "t_during", "t_meets")),
    *(_op(name, _PLACE, _PLACE) for name in ("s_intersects", "s_crosses", "s_equals")),
    _op("withinDistance", _PLACE, _PLACE, st.floats(0, 1e6)),
    *(_op(name, _LIST, _LIST) for name in ("a_contains", "a_equals")),
)
_GOOD = st.recursive(
    _CONDITIONS,
    lambda below: _op("and", below, below) | _op("or", below, below) | _op("not", below),
    max_leaves=5,
)
_WORD = re.compile(r"'[^']*'|\"[^\"]*\"|[^\s\w]|\w+")
_VALUE = re.compile(r"\$\d+")


def _words_of_our_own() -> set[str]:
    """Return every word that compiling filters puts into SQL, collected from filters that are good."""
    words: set[str] = set()
    for text, _ in SELECTED:
        bound = StatementParameters()
        tree = cql2.parse_filter(text, "cql2-text")
        sql = compile_filter(tree, build_vocabulary(BY_ID["cameras"], False), bound)
        words |= set(_WORD.findall(_VALUE.sub("", sql)))
    known = build_vocabulary(BY_ID["cameras"], False)
    for term in known.values():
        words |= set(_WORD.findall(term.sql))
    return words


OUR_WORDS = _words_of_our_own()


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(_TREES | _GOOD)
def test_nothing_of_a_filter_becomes_sql(tree: Any) -> None:
    """Whatever is sent is refused, or compiles to words of our own with every value bound."""
    bound = StatementParameters()
    try:
        sql = compile_filter(tree, build_vocabulary(BY_ID["cameras"], False), bound, CRS84)
    except BadQuery:
        return
    assert set(_WORD.findall(_VALUE.sub("", sql))) <= OUR_WORDS, sql
    used = {int(results[1:]) for results in _VALUE.findall(sql)}
    assert used == set(range(1, len(bound.values) + 1))


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(tree=_GOOD | _TREES)
async def test_whatever_compiles_can_be_asked(gis: httpx.AsyncClient, tree: Any) -> None:
    text = json.dumps(tree)
    response = await gis.get(CAMERAS, params={"filter": text, "filter-lang": "cql2-json"})
    assert response.status_code in (200, 400), (text, response.text)

"""The predicates OGC publishes for CQL2, with the counts it expects, and its examples.

They come with a data set beside the checkout (``../shared/data/cql2``); where that is not there these
tests are skipped, and ``test_cql2.py`` holds the same compiler to predicates of our own.
"""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyogrio
import pytest
import shapely

from app.db.engine import Database
from app.db.queries import StatementParameters
from app.ogc import cql2
from app.ogc.documents import CONFORMANCE
from app.ogc.queries.cql2_to_sql import Term, compile_filter

FOLDER = Path(__file__).resolve().parents[3] / "shared/data/cql2"
PUBLISHED = FOLDER / "ats_predicates_expected.jsonl"
pytestmark = pytest.mark.skipif(not PUBLISHED.exists(), reason=f"{FOLDER} is not there")

PREDICATES: list[dict[str, Any]] = (
    [json.loads(line) for line in PUBLISHED.read_text().splitlines()] if PUBLISHED.exists() else []
)
EXAMPLES = sorted(FOLDER.glob("examples/*/*"))
_TYPES = {"string": "text", "int64": "number", "double": "number", "bool": "boolean"}
_COLUMNS = {
    "text": 'text COLLATE "C"', "number": "float8", "boolean": "boolean", "day": "date",
    "instant": "timestamptz",
}  # fmt: skip


def _type(results: pa.DataType) -> str:
    if pa.types.is_date(results):
        return "day"
    return "instant" if pa.types.is_timestamp(results) else _TYPES.get(str(results), "text")


async def _load(url: str, layer: str) -> dict[str, Term]:
    """Make a table of a layer and return what its filters may speak of."""
    results, table = pyogrio.read_arrow(FOLDER / "data/ne110m4cql2.gpkg", layer=layer)
    shape = results["geometry_name"] or "wkb_geometry"
    fields = {name: _type(table.schema.field(name).type) for name in results["fields"]}
    columns = ", ".join(f'"{name}" {_COLUMNS[kind]}' for name, kind in fields.items())
    rows = [[*(record[name] for name in fields), record[shape]] for record in table.to_pylist()]
    database = Database(url, pool_size=1)
    await database.fetch(f"CREATE TABLE {layer} ({columns}, geom geometry(Geometry, 4326))")
    values = ", ".join(f"${number + 1}" for number in range(len(fields)))
    for row in rows:
        row[-1] = shapely.from_wkb(row[-1]).wkb
        utc = [_in_utc(value) for value in row]
        last = f"ST_SetSRID(ST_GeomFromWKB(${len(row)}::bytea), 4326)"
        await database.fetch(f"INSERT INTO {layer} VALUES ({values}, {last})", *utc)
    await database.close()
    terms = {name: Term(f't."{name}"', kind) for name, kind in fields.items()}
    return terms | {"geom": Term("t.geom", "geometry")}


def _in_utc(value: Any) -> Any:
    naive = isinstance(value, datetime) and value.tzinfo is None
    return value.replace(tzinfo=UTC) if naive else value


@pytest.fixture(scope="module")
def words(superuser_url: str) -> Any:
    """What the filters of each layer may speak of; the tables are gone afterwards."""
    layers = sorted({predicate["data_source"] for predicate in PREDICATES})

    async def load() -> dict[str, dict[str, Term]]:
        return {layer: await _load(superuser_url, layer) for layer in layers}

    async def drop() -> None:
        database = Database(superuser_url, pool_size=1)
        await database.fetch(f"DROP TABLE {', '.join(layers)}")
        await database.close()

    yield asyncio.run(load())
    asyncio.run(drop())


async def test_every_predicate_selects_as_many_features_as_published(
    words: dict[str, dict[str, Term]], superuser_url: str
) -> None:
    assert len(PREDICATES) == 139
    database = Database(superuser_url, pool_size=1)
    wrong = []
    for predicate in PREDICATES:
        layer, text = predicate["data_source"], predicate["predicate_cql2_text"]
        tree = cql2.parse_filter(text, "cql2-text")
        as_json = cql2.parse_filter(json.dumps(tree), "cql2-json")
        for form in (tree, as_json):
            bound = StatementParameters()
            sql = compile_filter(form, words[layer], bound)
            rows = await database.fetch(f"SELECT count(*) FROM {layer} t WHERE {sql}", *bound.values)
            if rows[0][0] != predicate["expected_count"]:
                wrong.append((text, rows[0][0], predicate["expected_count"]))
    await database.close()
    assert wrong == []


def test_every_class_with_published_predicates_is_declared() -> None:
    classes = {predicate["conformance_class"] for predicate in PREDICATES}
    declared = {uri.rpartition("/")[2] for uri in CONFORMANCE if "/cql2/" in uri}
    assert classes <= declared


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_is_read(path: Path) -> None:
    language: cql2.Language = "cql2-json" if path.suffix == ".json" else "cql2-text"
    assert cql2.parse_filter(path.read_text().strip(), language)

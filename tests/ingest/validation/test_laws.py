"""The quick way and the exact way are one: same rows, same values, same faults."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from app.imports.record_specs import find_record_spec
from app.ingest.columns.field_specs import FieldSpec, RecordSpec
from app.ingest.columns.planner import Options, build_plan
from app.ingest.readers.opening import Batch
from app.ingest.validation import vectorized_validation
from app.ingest.validation.batch_validation import BatchResult, validate_batch
from app.ingest.values.text import clean_column

_SIGNS = "a B7路。.-_:/@,'\"=\t\n\x00\x1f\x7f\x85\xa0\u00e9\u2028\u202e\u3000\u200b{}\\１"
_NUMBERS = (
    "0",
    "-0",
    "1",
    "30",
    "007",
    "+5",
    ".5",
    "5.",
    "1e2",
    "1E400",
    "-3.25",
    "359.999",
    "360",
    "361",
    "99999999999",
    "nan",
    "inf",
    "0x10",
    "1,5",
    "1,234",
    "1.234,5",
    "12m",
    "0.1km",
    "５",
    "二",
    "3.0",
    "90",
    "3650",
    "１２．５米",
    "-90",
    "1_0",
    "-360",
    "9007199254740993",
)
_CODES = (
    *[
        "c1",
        "A.b:c-d_9",
        "41080200001321000001",
        "41080200003001000001",
        "99080200001321000001",
        "4108020000132100000",
        "410802000013210000011",
        "4.1080200001321E+19",
        "1.5e3",
        "4e5",
        "41080200001321000000",
        "410800",
        "4108",
        "41080200",
        "='12'",
        '="12"',
        "'12",
        "汉",
        "node/12",
        "way/x",
        "12.0",
        "１２",
    ],
    "a b",
    "1 2",
    "x" * 64,
    "x" * 65,
)
_DAYS = (
    "2024-03-05",
    "2024/3/5",
    "20240305",
    "2024年3月5日",
    "45356",
    "2024-02-30",
    "5/3/2024",
    "2024-03-05T08:30",
    "x",
)
_INSTANTS = (
    "2024-03-05T08:30:00Z",
    "2024/3/5T8:30",
    "45356.5",
    "2024-03-05T08:30:00+09:00",
    "2024-13-01T00:00Z",
    "x",
)


_TEXTS = (
    "路口",
    "x" * 200,
    "x" * 201,
    "路" * 200,
    "路" * 201,
    "a\nb",
    "a\tb",
    "a\x1fb",
    "a\x85b",
    "a\u2028b",
    "\u202ea",
    "a\x7f",
    "user:pw@10.0.0.1",
    "\u3000a",
    "a\xa0",
    "'",
    '"',
    "{}",
    "\\",
    "é",
    " ",
)


def odd(target: FieldSpec) -> list[str]:
    """Cells of which most are wrong for the field, or right in an unusual spelling."""
    words = [str(word) for word in target.words]
    found: dict[str, Sequence[str]] = {
        "text": _TEXTS,
        "code": _CODES,
        "number": _NUMBERS,
        "integer": _NUMBERS,
        "boolean": ("是", "否", "1", "0", "yes", "true", "2", "maybe"),
        "word": (*words, "1", "2", "9", "球机", "?"),
        "words": (*words, "face/face", "1/2", "人脸、车辆", "?", "face/?"),
        "day": _DAYS,
        "instant": _INSTANTS,
        "json": (
            "[]", "{}", "[1]", '[{"function":"face"}]', "人脸、车辆", "{bad", "null",
            '[{"lane":1,"direction":"both"}]',
        ),
    }  # fmt: skip
    return list(found[target.form])


def cells(target: FieldSpec) -> st.SearchStrategy[str | None]:
    known: st.SearchStrategy[str | None] = st.sampled_from([None, *odd(target)])
    if target.form == "text":
        return known | st.text(_SIGNS, max_size=12)
    return known | st.floats(-400, 400).map(repr) if target.form == "number" else known


def stored(kind: RecordSpec, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a good row as the database would hold it."""
    return {name: _stored(kind.fields.get(name), text) for name, text in row.items()}


def _stored(target: FieldSpec | None, text: Any) -> Any:
    if text is None or target is None:
        return text
    if target.form in ("number", "integer"):
        return float(text)
    return orjson.loads(text) if target.form == "json" else text


def batch_of(kind: RecordSpec, columns: Mapping[str, list[str | None]], count: int, shape: Any) -> Batch:
    arrays = {name: clean_column(pa.array(texts, pa.string())) for name, texts in columns.items()}
    return Batch(np.arange(2, count + 2), arrays, np.array([shape] * count, dtype=object))


class _Told:
    format, crs, geometry, layers = "gpkg", "EPSG:4326", True, ()


SHAPES = {
    "camera": shapely.Point(113.2, 35.2),
    "control_point": shapely.box(113, 35, 113.1, 35.1),
    "road": shapely.LineString([(113, 35), (113.1, 35)]),
    "state": None,
    "building": shapely.box(113, 35, 113.1, 35.1),
}


def usual_cells(target: FieldSpec) -> list[str | None]:
    """Return cells that are right by themselves."""
    if target.name in _PLAIN:
        return _PLAIN[target.name]
    right: dict[str, list[str | None]] = {
        "text": ["路口", "pole 7"], "code": ["c1", "410802"], "number": ["10", "20.5", "90"],
        "integer": ["1", "30"], "boolean": ["是", "0"], "day": ["2024-03-05", "2024/3/6", "20240304"],
        "instant": ["2024-03-05T08:30:00Z"], "json": ["[]"], "words": ["face"],
    }  # fmt: skip
    return right.get(target.form, [str(word) for word in target.words])


def usual(target: FieldSpec) -> st.SearchStrategy[str | None]:
    """Cells that are right by themselves, or blank."""
    cells = usual_cells(target)
    return st.sampled_from(cells if target.required else [None, *cells])


TOGETHER = [
    ["near_m", "range_m", "reach_m"],
    ["installed_on", "in_use_on", "removed_on"],
    ["owner_unit", "owner_reference"],
    ["required_level", "level_scale"],
    ["state", "reported_at"],
]


@st.composite
def files(draw: st.DrawFn, kind: RecordSpec) -> Batch:
    """Files whose cells are right but for a few, so that single rules decide."""
    count = draw(st.integers(1, 12))
    names = [name for name, target in kind.fields.items() if target.required]
    names += draw(st.lists(st.sampled_from(list(kind.fields)), max_size=4))
    groups = [group for group in TOGETHER if set(group) <= set(kind.fields)]
    names += draw(st.sampled_from([[], *groups]))
    columns = {}
    for name in dict.fromkeys(names):
        texts = draw(st.lists(usual(kind.fields[name]), min_size=count, max_size=count))
        if draw(st.integers(0, 2)) == 0:
            texts[draw(st.integers(0, count - 1))] = draw(cells(kind.fields[name]))
        columns[name] = texts
    return batch_of(kind, columns, count, SHAPES[kind.name])


_PLAIN: dict[str, list[str | None]] = {
    "code": ["c1", "c2", "41080200001321000001", "2023A", "c3", "c4"],
    "jurisdiction": ["410800"],
    "functions": ["face", "vehicle/face"],
    "network_address": ["10.0.0.1", None],
    "division_code": ["410802", "4108"],
}


class _Unplaced(_Told):
    geometry = False


def agree(kind: RecordSpec, batch: Batch, *, parts: bool = False) -> int:
    """Check that both ways answer the same; return how many rows the quick way was certain of."""
    told = _Told() if batch.geometry is not None else _Unplaced()
    plan = build_plan(Options(kind, some_fields=parts), told, tuple(batch.columns), None)  # type: ignore[arg-type]  # only what the plan reads
    quick, exact = validate_batch(plan, batch), validate_batch(plan, batch, exact=True)
    assert quick.issues == exact.issues
    assert _rows(kind, quick) == _rows(kind, exact)
    placed = np.ones(len(batch.row_numbers), dtype=bool)
    return int(vectorized_validation.validate_columns(plan, batch, placed)[0].sum())


@pytest.mark.parametrize("name", SHAPES)
def test_both_ways_agree_on_every_odd_cell_of_every_field(name: str) -> None:
    kind, certain = find_record_spec(name), 0
    needed = {n: usual_cells(t)[0] for n, t in kind.fields.items() if t.required}
    seen: set[str] = set()
    for target in kind.fields.values():
        # A column may go another way when all its cells are plain: one field of each form shows it.
        alone = [] if target.form in seen else [[cell] for cell in odd(target)]
        seen.add(target.form)
        for texts in (odd(target), *alone):
            columns: dict[str, list[str | None]] = {n: [text] * len(texts) for n, text in needed.items()}
            columns[target.name] = list(texts)
            certain += agree(kind, batch_of(kind, columns, len(texts), SHAPES[name]))
    assert certain > 20


@pytest.mark.parametrize("name", SHAPES)
def test_the_quick_way_answers_as_the_exact_way(name: str) -> None:
    kind = find_record_spec(name)

    @settings(max_examples=50, deadline=None)
    @given(files(kind))
    def law(batch: Batch) -> None:
        agree(kind, batch)

    law()


@st.composite
def parts_of(draw: st.DrawFn, kind: RecordSpec) -> Batch:
    """Files that give the code and some other fields of records, and maybe their places."""
    whole = draw(files(kind))
    rest = [name for name in whole.columns if name != "code"]
    kept = draw(st.lists(st.sampled_from(rest), min_size=1, unique=True))
    more = draw(st.lists(st.sampled_from(list(kind.fields)), min_size=1, max_size=4))
    count = len(whole.row_numbers)
    columns = {name: whole.columns[name] for name in ("code", *kept)}
    for name in ("notes", *more):
        texts = draw(st.lists(usual(kind.fields[name]), min_size=count, max_size=count))
        columns.setdefault(name, clean_column(pa.array(texts, pa.string())))
    return Batch(whole.row_numbers, columns, whole.geometry if draw(st.booleans()) else None)


@pytest.mark.parametrize("name", [name for name in SHAPES if name != "state"])
def test_both_ways_agree_on_parts_of_records(name: str) -> None:
    kind = find_record_spec(name)

    @settings(max_examples=50, deadline=None)
    @given(parts_of(kind))
    def law(batch: Batch) -> None:
        agree(kind, batch, parts=True)

    law()


def _rows(kind: RecordSpec, answer: BatchResult) -> list[dict[str, Any]]:
    return [stored(kind, row) for row in answer.valid.to_pylist()]


@settings(max_examples=50, deadline=None)
@given(files(find_record_spec("camera")))
def test_a_good_row_is_what_a_put_of_the_same_record_stores(batch: Batch) -> None:
    kind = find_record_spec("camera")
    plan = build_plan(Options(find_record_spec("camera")), _Told(), tuple(batch.columns), None)  # type: ignore[arg-type]  # as above
    for row in validate_batch(plan, batch).valid.to_pylist():
        record = {name: value for name, value in stored(kind, row).items() if value is not None}
        del record["row"]
        point = shapely.from_wkb(record.pop("geometry"))
        for name, value in record.items():
            target = kind.fields[name]
            if target.form == "integer" or target.words[:1] == (1,):
                record[name] = int(value)
            if target.form == "words":
                record[name] = value.strip("{}").split(",")
            if target.form == "boolean":
                record[name] = value == "true"
        geometry = {"type": "Point", "coordinates": list(point.coords[0])}
        draft = kind.draft.model_validate({**record, "geometry": geometry})
        dumped = draft.model_dump(mode="json", exclude_none=True, exclude={"geometry"})
        assert dumped == record

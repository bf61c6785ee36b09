"""Columnwise validation: which rows surely pass the draft, and what they store.

A row is certain only if every cell passes a test that is at least as strict as the draft, and no rule over several
fields may be broken. Every other row is left to the draft. A certain row stores what the draft would store; the laws of
the tests compare both.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ValidationError

from app.geo.arrays import Bools
from app.ingest.columns.field_specs import FieldSpec, RecordSpec, field_validator
from app.ingest.columns.import_plan import FieldSource, ImportPlan
from app.ingest.readers.opening import Batch
from app.ingest.validation.row_validation import MISREAD, derive_code
from app.ingest.values import gb_codes
from app.ingest.values.cell_parsing import CellError
from app.ingest.values.code_lists import TOPICS
from app.ingest.values.copy_text import format_value
from app.ingest.values.field_parsers import find_no_value_words
from app.models.cross_field_rules import All, Compare, Condition, FarFrom, Given, Missing, NoneOf, OneOf, is_checked

Array = Any
"""An Arrow array of text."""


def validate_columns(plan: ImportPlan, batch: Batch, placed: Bools) -> tuple[Bools, dict[str, Array]]:
    """Return which rows are certain, and their columns as text.

    Parameters
    ----------
    placed : bool array
        Rows with a valid location and no issue so far.
    """
    count = len(batch.row_numbers)
    if plan.groups_lanes or not _has_known_validators(plan.spec) or not placed.any():
        return np.zeros(count, dtype=bool), _build_empty_columns(plan.spec)
    sure = placed.copy()
    columns: dict[str, Array] = {}
    for source in plan.sources:
        for name, array, is_valid in _read_column(plan.spec, source, batch):
            columns[name] = array
            sure &= is_valid
    sure &= _add_defaults(plan, columns, count)
    given_fields = plan.fields if plan.options.some_fields else None
    for rule in plan.spec.rules:
        if is_checked(rule, given_fields):
            sure &= ~find_doubtful(rule.broken, columns, plan.spec, count)
    count_of_sure = int(sure.sum())
    stored = {
        name: columns[name].filter(pa.array(sure)) if name in columns else pa.nulls(count_of_sure, pa.string())
        for name in plan.spec.fields
    }
    return sure, stored


def _build_empty_columns(spec: RecordSpec) -> dict[str, Array]:
    return {name: pa.array([], pa.string()) for name in spec.fields}


def _add_defaults(plan: ImportPlan, columns: dict[str, Array], count: int) -> Bools:
    """Add the defaults; return the rows that have every required field."""
    _derive_codes(plan, columns)
    full = np.ones(count, dtype=bool)
    for name, target in plan.spec.fields.items():
        if name in plan.missing:
            continue
        value = plan.defaults.get(name, None if target.required else target.default)
        text = format_value(value)
        if text is not None:
            constant = pa.scalar(text, pa.string())
            columns[name] = pc.fill_null(columns[name], constant) if name in columns else pa.repeat(constant, count)
        if target.required:
            present = columns.get(name)
            full &= False if present is None else _to_mask(pc.is_valid(present))
    return full


def _derive_codes(plan: ImportPlan, columns: dict[str, Array]) -> None:
    if plan.key != "owner_reference" or not {"owner_unit", "owner_reference"} <= columns.keys():
        return
    pairs = zip(columns["owner_unit"].to_pylist(), columns["owner_reference"].to_pylist(), strict=True)
    derived = pa.array([derive_code(*pair) if pair[0] and pair[1] else None for pair in pairs], pa.string())
    columns["code"] = pc.coalesce(columns["code"], derived) if "code" in columns else derived


# Columns


def _read_column(spec: RecordSpec, source: FieldSource, batch: Batch) -> list[tuple[str, Array, Bools]]:
    """Return the stored text of the fields a feed gives, and where it is certain."""
    arrays = [batch.columns[name] for name in source.columns]
    array = arrays[0]
    if len(arrays) > 1:
        array = pc.binary_join_element_wise(*arrays, source.separator, null_handling="skip")
        array = pc.if_else(pc.equal(array, ""), None, array)
    if source.spec.name == "resolution":
        return _read_resolutions(source, array)
    if source.spec.form == "code" and pc.any(pc.match_substring(array, "/")).as_py():
        array = pc.replace_substring_regex(array, r"^(node|way|relation)/([0-9]+)$", r"\1:\2")
    good, simple = _test_cells(spec, source, array)
    if not simple:
        return [_parse_distinct_cells(spec, source, array)]
    return [(source.spec.name, array, good)]


def _test_cells(spec: RecordSpec, source: FieldSource, array: Array) -> tuple[Bools, bool]:
    """Return where cells are stored as they stand, and whether that is the way to go at all."""
    reader, target = source.parser, source.spec
    test = _TESTS.get(target.form)
    coded = target.name in TOPICS["direction"].fields and source.code_list not in (None, "degrees")
    if test is None or reader.values or source.has_other_unit or coded or source.code_list == "down":
        return np.zeros(len(array), dtype=bool), False
    if target.form == "code":
        return _test_codes(spec, target, array) & ~_is_no_value(target, array), True
    return test(target, array), True


def _is_no_value(target: FieldSpec, array: Array) -> Bools:
    """Tell cells with a word or sign for nothing, which are not kept as they stand."""
    words = pa.array(sorted(find_no_value_words(target)), pa.string())
    return _to_mask(pc.is_in(array, value_set=words))


def _parse_distinct_cells(spec: RecordSpec, source: FieldSource, array: Array) -> tuple[str, Array, Bools]:
    """Read each distinct cell once, through the reader and the rules of its field."""
    coded = array.dictionary_encode()
    texts, good = [], []
    for cell in coded.dictionary.to_pylist():
        text, fine = _parse_cell(spec, source, cell)
        texts.append(text)
        good.append(fine)
    places = coded.indices
    stored = pa.array(texts, pa.string()).take(places)
    fine = pa.array(good, pa.bool_()).take(places)
    return source.spec.name, stored, _to_mask(pc.fill_null(fine, True))


def _parse_cell(spec: RecordSpec, source: FieldSource, cell: str) -> tuple[str | None, bool]:
    name = source.spec.name
    try:
        value = source.parser.parse(cell)
        if name in spec.fields:
            rules = field_validator(spec, name)
            value = rules.dump_python(rules.validate_python(value), mode="json")
    except (CellError, ValidationError):
        return None, False
    return format_value(value), True


def _read_resolutions(source: FieldSource, array: Array) -> list[tuple[str, Array, Bools]]:
    coded = array.dictionary_encode()
    pairs: list[tuple[str | None, str | None]] = []
    good = []
    for cell in coded.dictionary.to_pylist():
        try:
            width, height = source.parser.parse(cell)
        except CellError:
            width = height = None
        pairs.append((format_value(width), format_value(height)))
        good.append(width is not None)
    fine = _to_mask(pc.fill_null(pa.array(good, pa.bool_()).take(coded.indices), True))
    return [
        (name, pa.array([pair[at] for pair in pairs], pa.string()).take(coded.indices), fine)
        for at, name in enumerate(("horizontal_pixels", "vertical_pixels"))
    ]


# Tests of whole columns: where is a cell stored as it stands? Blank cells pass.


def _test_numbers(target: FieldSpec, array: Array) -> Bools:
    values = _try_cast(array, pa.float64())
    if values is None:
        plain = pc.match_substring_regex(array, r"^-?[0-9]{1,15}(\.[0-9]{1,15})?$")
        values = _try_cast(pc.if_else(plain, array, None), pa.float64())
        sure = _test_bounds(target, values) & _to_mask(pc.fill_null(plain, True))
        return np.asarray(sure, dtype=bool)
    return _test_bounds(target, values)


def _test_integers(target: FieldSpec, array: Array) -> Bools:
    plain = pc.match_substring_regex(array, r"^-?[0-9]{1,9}$")
    values = _try_cast(pc.if_else(plain, array, None), pa.float64())
    return np.asarray(_test_bounds(target, values) & _to_mask(pc.fill_null(plain, True)), dtype=bool)


def _try_cast(array: Array, kind: Any) -> Array | None:
    try:
        return pc.cast(array, kind)
    except pa.ArrowInvalid:
        return None


def _test_bounds(target: FieldSpec, values: Array) -> Bools:
    numbers = values.to_numpy(zero_copy_only=False)
    blank = _to_mask(pc.is_null(values))
    with np.errstate(invalid="ignore"):
        inside = np.isfinite(numbers)
        if target.least is not None:
            inside &= numbers >= target.least
        if target.above is not None:
            inside &= numbers > target.above
        if target.most is not None:
            inside &= numbers <= target.most
        if target.below is not None:
            inside &= numbers < target.below
    return np.asarray(inside | blank, dtype=bool)


_STRANGE: Final = r"[\x00-\x1f\x7f-\x{9f}\x{2028}\x{2029}\x{202a}-\x{202e}\x{2066}-\x{2069}@]|^#(?:[A-Z/0]+[!?]|N/A)$|^[\s\x{85}\p{Z}]|[\s\x{85}\p{Z}]$"
"""What the draft refuses or takes away in a line of text; an @ may be a login in an address."""


def _test_texts(target: FieldSpec, array: Array) -> Bools:
    longest = target.longest or 0
    short = _to_mask(pc.fill_null(pc.less_equal(pc.utf8_length(array), longest), True))
    structured = _to_mask(pc.fill_null(pc.starts_with(array, "{"), False))
    return short & ~_has_strange_sign(array) & ~_is_no_value(target, array) & ~structured


def _has_strange_sign(array: Array) -> Bools:
    if not _may_have_strange_sign(array):
        return np.zeros(len(array), dtype=bool)
    return _to_mask(pc.fill_null(pc.match_substring_regex(array, _STRANGE), False))


def _may_have_strange_sign(array: Array) -> bool:
    """Tell whether a column has a byte that could be of a strange sign at all."""
    _, places, data = array.buffers()
    if data is None or places is None:
        return False
    offsets = np.frombuffer(places, np.int32, len(array) + 1, array.offset * 4)
    whole = np.frombuffer(data, np.uint8)
    begin, end = offsets[:-1], offsets[1:]
    filled = end > begin
    ragged = (whole[begin[filled]] <= _SPACE) | (whole[end[filled] - 1] <= _SPACE)
    held = whole[offsets[0] : offsets[-1]]
    odd = bool(ragged.any()) or bool(_ODD_BYTES[held].any())
    content = held.tobytes()
    return odd or any(sign in content for sign in _ODD_SIGNS)


_SPACE: Final = 32
_ODD_BYTES: Final = np.isin(np.arange(256), [*range(_SPACE), 127, ord("#"), ord("@"), 0xC2])
_ODD_SIGNS: Final = (b"\xe1\x9a", b"\xe2\x80", b"\xe2\x81", b"\xe3\x80\x80")
"""What begins the bytes of odd spaces, line separators and marks of direction."""


def _test_codes(spec: RecordSpec, target: FieldSpec, array: Array) -> Bools:
    if target.pattern is None:
        return np.zeros(len(array), dtype=bool)
    sure = pc.match_substring_regex(array, target.pattern)
    counted = pc.match_substring_regex(array, r"^[0-9](\.[0-9]+)?[eE]")
    fine = _to_mask(pc.fill_null(sure, True)) & ~_to_mask(pc.fill_null(counted, False))
    if target.name != "code":
        return fine
    return fine & _test_gb_codes(spec, array)


def _test_gb_codes(spec: RecordSpec, array: Array) -> Bools:
    """Return where a code that reads as of GB/T 28181 fits the kind; others pass.

    Twenty signs with letters that look like digits are the draft's, which warns of them.
    """
    if _has_letters(array):
        misread = pc.match_substring_regex(array, f"^{MISREAD.pattern}$")
        letters = pc.match_substring_regex(array, "[OoIl]")
        return ~_to_mask(pc.fill_null(pc.and_(misread, letters), False)) & _digits_fit(spec, array)
    return _digits_fit(spec, array)


def _has_letters(array: Array) -> bool:
    """Tell whether a column has a byte that is a letter like a digit."""
    data = array.buffers()[2]
    content = memoryview(data).tobytes() if data is not None else b""
    return any(sign in content for sign in (b"O", b"o", b"I", b"l"))


def _digits_fit(spec: RecordSpec, array: Array) -> Bools:
    digits = _to_mask(pc.fill_null(pc.match_substring_regex(array, "^[0-9]{17,23}$"), False))
    if not digits.any():
        return np.ones(len(array), dtype=bool)
    long = np.asarray(pc.fill_null(pc.binary_length(array), 0).to_numpy(zero_copy_only=False))
    twenty = digits & (long == 20)
    fit = pc.and_(
        pc.is_in(pc.utf8_slice_codeunits(array, 0, 2), pa.array(sorted(gb_codes.PROVINCES))),
        pc.is_in(
            pc.utf8_slice_codeunits(array, 10, 13),
            pa.array(_find_types(spec.name)),
        ),
    )
    fine = twenty & _to_mask(pc.fill_null(fit, False)) & ~find_possibly_rounded(array)
    return np.asarray(~digits | fine, dtype=bool)


def find_possibly_rounded(array: Array) -> Bools:
    """Return twenty-digit codes that may be whole doubles: these are multiples of 2048.

    Which the last eleven digits decide; whatever ends in five zeros is not one by that alone.
    """
    twenty = pc.match_substring_regex(array, "^[0-9]{20}$")
    ends = pc.if_else(twenty, pc.utf8_slice_codeunits(array, 9, 20), None)
    numbers = pc.fill_null(ends.cast(pa.int64()), 1).to_numpy(zero_copy_only=False)
    return np.asarray((numbers % 2048 == 0) | (numbers % 100_000 == 0), dtype=bool)


def _find_types(kind: str) -> list[str]:
    fitting = gb_codes.TYPES_OF.get(kind) or set(range(1000)) - set(gb_codes.PERSON_TYPES)
    return [f"{number:03d}" for number in sorted(fitting)]


_TESTS: Final[dict[str, Callable[[FieldSpec, Array], Bools]]] = {
    "number": _test_numbers,
    "integer": _test_integers,
    "text": _test_texts,
    "code": lambda target, array: np.zeros(len(array), dtype=bool),
}


# Rules over several fields: where must the draft decide?


def find_doubtful(condition: Condition, columns: Mapping[str, Array], spec: RecordSpec, count: int) -> Bools:
    """Return the rows in which a condition is true, or can only be evaluated by the draft.

    Parameters
    ----------
    columns : mapping
        Stored text of the fields; a field without a column has no value.
    """
    match condition:
        case Given(field) | FarFrom(field):
            return _to_mask(pc.is_valid(columns[field])) if field in columns else np.zeros(count, dtype=bool)
        case Missing(field):
            return _to_mask(pc.is_null(columns[field])) if field in columns else np.ones(count, dtype=bool)
        case OneOf(field, values):
            return _is_in(columns.get(field), values, count)
        case NoneOf(field, values):
            return find_doubtful(Given(field), columns, spec, count) & ~_is_in(columns.get(field), values, count)
        case Compare(left, operator, right):
            if left not in columns or right not in columns:
                return np.zeros(count, dtype=bool)
            pair: list[Array | None] = [columns[left], columns[right]]
            if spec.fields[left].form == "number":
                pair = [_try_cast(array, pa.float64()) for array in pair]
            if pair[0] is None or pair[1] is None:  # a number that only the draft can read
                return find_doubtful(Given(left), columns, spec, count)
            compare = pc.less if operator == "<" else pc.greater_equal
            return _to_mask(pc.fill_null(compare(*pair), False))
        case All(conditions):
            masks = [find_doubtful(member, columns, spec, count) for member in conditions]
            return np.asarray(np.logical_and.reduce(masks), dtype=bool)


def _is_in(array: Array | None, values: tuple[str, ...], count: int) -> Bools:
    if array is None:
        return np.zeros(count, dtype=bool)
    return _to_mask(pc.is_in(array, value_set=pa.array(values, pa.string())))


_KNOWN_VALIDATORS: Final = frozenset({"_flatten_payload", "_code_fits", "_check_rules"})
"""Validators of whole drafts that are evaluated by columns, too. A draft with another one is validated row by row."""


def _has_known_validators(spec: RecordSpec) -> bool:
    rules = spec.draft.__pydantic_decorators__
    others = (rules.field_validators, rules.root_validators, rules.validators)
    return rules.model_validators.keys() <= _KNOWN_VALIDATORS and not any(others)


def _to_mask(array: Array) -> Bools:
    return np.asarray(array.to_numpy(zero_copy_only=False), dtype=bool)

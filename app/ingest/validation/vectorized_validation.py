"""Rows that are certainly good, told by whole columns at once.

Conservative: a row is certain only when every cell passes a test at least as strict as the draft's,
and every rule between fields is known here. Anything else is left to the draft. What a certain row
stores is what the draft would store; a law of the tests.
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

_RARE: Final = 0.5
"""Share of distinct cells above which a column is not worth remembering cell by cell."""


def validate_columns(plan: ImportPlan, batch: Batch, placed: Bools) -> tuple[Bools, dict[str, Array]]:
    """Return which rows are certainly good, and their columns as text.

    Parameters
    ----------
    placed : bool array
        Rows that are worth looking at: their place is good.
    """
    count = len(batch.row_numbers)
    if plan.groups_lanes or not _rules_known(plan.spec) or not placed.any():
        return np.zeros(count, dtype=bool), _nothing(plan.spec)
    sure = placed.copy()
    columns: dict[str, Array] = {}
    for feed in plan.sources:
        for name, array, good in _column(plan.spec, feed, batch):
            columns[name] = array
            sure &= good
    sure &= _fill(plan, columns, count)
    given = plan.fields if plan.options.some_fields else None
    for rule in plan.spec.rules:
        if is_checked(rule, given):
            sure &= ~find_doubtful(rule.broken, columns, plan.spec, count)
    kept = {name: columns[name].filter(pa.array(sure)) if name in columns else None for name in plan.spec.fields}
    left = int(sure.sum())
    return sure, {name: pa.nulls(left, pa.string()) if array is None else array for name, array in kept.items()}


def _nothing(kind: RecordSpec) -> dict[str, Array]:
    return {name: pa.array([], pa.string()) for name in kind.fields}


def _fill(plan: ImportPlan, columns: dict[str, Array], count: int) -> Bools:
    """Put in defaults; return the rows that have every required field."""
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
            full &= False if present is None else _mask(pc.is_valid(present))
    return full


def _derive_codes(plan: ImportPlan, columns: dict[str, Array]) -> None:
    if plan.key != "owner_reference" or not {"owner_unit", "owner_reference"} <= columns.keys():
        return
    pairs = zip(columns["owner_unit"].to_pylist(), columns["owner_reference"].to_pylist(), strict=True)
    derived = pa.array([derive_code(*pair) if pair[0] and pair[1] else None for pair in pairs], pa.string())
    columns["code"] = pc.coalesce(columns["code"], derived) if "code" in columns else derived


# Columns


def _column(kind: RecordSpec, feed: FieldSource, batch: Batch) -> list[tuple[str, Array, Bools]]:
    """Return the stored text of the fields a feed gives, and where it is certain."""
    arrays = [batch.columns[name] for name in feed.columns]
    array = arrays[0]
    if len(arrays) > 1:
        array = pc.binary_join_element_wise(*arrays, feed.separator, null_handling="skip")
        array = pc.if_else(pc.equal(array, ""), None, array)
    if feed.spec.name == "resolution":
        return _resolution(feed, array)
    if feed.spec.form == "code" and pc.any(pc.match_substring(array, "/")).as_py():
        array = pc.replace_substring_regex(array, r"^(node|way|relation)/([0-9]+)$", r"\1:\2")
    good, simple = _simple(kind, feed, array)
    if not simple:
        return [_cell_by_cell(kind, feed, array)]
    return [(feed.spec.name, array, good)]


def _simple(kind: RecordSpec, feed: FieldSource, array: Array) -> tuple[Bools, bool]:
    """Return where cells are stored as they stand, and whether that is the way to go at all."""
    reader, target = feed.parser, feed.spec
    test = _TESTS.get(target.form)
    coded = target.name in TOPICS["direction"].fields and feed.code_list not in (None, "degrees")
    if test is None or reader.values or feed.has_other_unit or coded or feed.code_list == "down":
        return np.zeros(len(array), dtype=bool), False
    if target.form == "code":
        return _codes(kind, target, array) & ~_nothing_said(target, array), True
    return test(target, array), True


def _nothing_said(target: FieldSpec, array: Array) -> Bools:
    """Tell cells with a word or sign for nothing, which are not kept as they stand."""
    words = pa.array(sorted(find_no_value_words(target)), pa.string())
    return _mask(pc.is_in(array, value_set=words))


def _cell_by_cell(kind: RecordSpec, feed: FieldSource, array: Array) -> tuple[str, Array, Bools]:
    """Read each distinct cell once, through the reader and the rules of its field."""
    coded = array.dictionary_encode()
    texts, good = [], []
    for cell in coded.dictionary.to_pylist():
        text, fine = _read(kind, feed, cell)
        texts.append(text)
        good.append(fine)
    places = coded.indices
    stored = pa.array(texts, pa.string()).take(places)
    fine = pa.array(good, pa.bool_()).take(places)
    return feed.spec.name, stored, _mask(pc.fill_null(fine, True))


def _read(kind: RecordSpec, feed: FieldSource, cell: str) -> tuple[str | None, bool]:
    name = feed.spec.name
    try:
        value = feed.parser.parse(cell)
        if name in kind.fields:
            rules = field_validator(kind, name)
            value = rules.dump_python(rules.validate_python(value), mode="json")
    except (CellError, ValidationError):
        return None, False
    return format_value(value), True


def _resolution(feed: FieldSource, array: Array) -> list[tuple[str, Array, Bools]]:
    coded = array.dictionary_encode()
    pairs: list[tuple[str | None, str | None]] = []
    good = []
    for cell in coded.dictionary.to_pylist():
        try:
            width, height = feed.parser.parse(cell)
        except CellError:
            width = height = None
        pairs.append((format_value(width), format_value(height)))
        good.append(width is not None)
    fine = _mask(pc.fill_null(pa.array(good, pa.bool_()).take(coded.indices), True))
    return [
        (name, pa.array([pair[at] for pair in pairs], pa.string()).take(coded.indices), fine)
        for at, name in enumerate(("horizontal_pixels", "vertical_pixels"))
    ]


# Tests of whole columns: where is a cell stored as it stands? Blank cells pass.


def _numbers(target: FieldSpec, array: Array) -> Bools:
    values = _parsed(array, pa.float64())
    if values is None:
        plain = pc.match_substring_regex(array, r"^-?[0-9]{1,15}(\.[0-9]{1,15})?$")
        values = _parsed(pc.if_else(plain, array, None), pa.float64())
        sure = _within(target, values) & _mask(pc.fill_null(plain, True))
        return np.asarray(sure, dtype=bool)
    return _within(target, values)


def _integers(target: FieldSpec, array: Array) -> Bools:
    plain = pc.match_substring_regex(array, r"^-?[0-9]{1,9}$")
    values = _parsed(pc.if_else(plain, array, None), pa.float64())
    return np.asarray(_within(target, values) & _mask(pc.fill_null(plain, True)), dtype=bool)


def _parsed(array: Array, kind: Any) -> Array | None:
    try:
        return pc.cast(array, kind)
    except pa.ArrowInvalid:
        return None


def _within(target: FieldSpec, values: Array) -> Bools:
    numbers = values.to_numpy(zero_copy_only=False)
    blank = _mask(pc.is_null(values))
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


def _texts(target: FieldSpec, array: Array) -> Bools:
    longest = target.longest or 0
    short = _mask(pc.fill_null(pc.less_equal(pc.utf8_length(array), longest), True))
    structured = _mask(pc.fill_null(pc.starts_with(array, "{"), False))
    return short & ~_strange(array) & ~_nothing_said(target, array) & ~structured


def _strange(array: Array) -> Bools:
    if not _suspicious(array):
        return np.zeros(len(array), dtype=bool)
    return _mask(pc.fill_null(pc.match_substring_regex(array, _STRANGE), False))


def _suspicious(array: Array) -> bool:
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


def _codes(kind: RecordSpec, target: FieldSpec, array: Array) -> Bools:
    if target.pattern is None:
        return np.zeros(len(array), dtype=bool)
    sure = pc.match_substring_regex(array, target.pattern)
    counted = pc.match_substring_regex(array, r"^[0-9](\.[0-9]+)?[eE]")
    fine = _mask(pc.fill_null(sure, True)) & ~_mask(pc.fill_null(counted, False))
    if target.name != "code":
        return fine
    return fine & _gb_codes(kind, array)


def _gb_codes(kind: RecordSpec, array: Array) -> Bools:
    """Return where a code that reads as of GB/T 28181 fits the kind; others pass.

    Twenty signs with letters that look like digits are the draft's, which warns of them.
    """
    if _has_letters(array):
        misread = pc.match_substring_regex(array, f"^{MISREAD.pattern}$")
        letters = pc.match_substring_regex(array, "[OoIl]")
        return ~_mask(pc.fill_null(pc.and_(misread, letters), False)) & _digits_fit(kind, array)
    return _digits_fit(kind, array)


def _has_letters(array: Array) -> bool:
    """Tell whether a column has a byte that is a letter like a digit."""
    data = array.buffers()[2]
    content = memoryview(data).tobytes() if data is not None else b""
    return any(sign in content for sign in (b"O", b"o", b"I", b"l"))


def _digits_fit(kind: RecordSpec, array: Array) -> Bools:
    digits = _mask(pc.fill_null(pc.match_substring_regex(array, "^[0-9]{17,23}$"), False))
    if not digits.any():
        return np.ones(len(array), dtype=bool)
    long = np.asarray(pc.fill_null(pc.binary_length(array), 0).to_numpy(zero_copy_only=False))
    twenty = digits & (long == 20)
    fit = pc.and_(
        pc.is_in(pc.utf8_slice_codeunits(array, 0, 2), pa.array(sorted(gb_codes.PROVINCES))),
        pc.is_in(
            pc.utf8_slice_codeunits(array, 10, 13),
            pa.array(_types(kind.name)),
        ),
    )
    fine = twenty & _mask(pc.fill_null(fit, False)) & ~find_possibly_rounded(array)
    return np.asarray(~digits | fine, dtype=bool)


def find_possibly_rounded(array: Array) -> Bools:
    """Return twenty-digit codes that may be whole doubles: these are multiples of 2048.

    Which the last eleven digits decide; whatever ends in five zeros is not one by that alone.
    """
    twenty = pc.match_substring_regex(array, "^[0-9]{20}$")
    ends = pc.if_else(twenty, pc.utf8_slice_codeunits(array, 9, 20), None)
    numbers = pc.fill_null(ends.cast(pa.int64()), 1).to_numpy(zero_copy_only=False)
    return np.asarray((numbers % 2048 == 0) | (numbers % 100_000 == 0), dtype=bool)


def _types(kind: str) -> list[str]:
    fitting = gb_codes.TYPES_OF.get(kind) or set(range(1000)) - set(gb_codes.PERSON_TYPES)
    return [f"{number:03d}" for number in sorted(fitting)]


_TESTS: Final[dict[str, Callable[[FieldSpec, Array], Bools]]] = {
    "number": _numbers,
    "integer": _integers,
    "text": _texts,
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
            return _mask(pc.is_valid(columns[field])) if field in columns else np.zeros(count, dtype=bool)
        case Missing(field):
            return _mask(pc.is_null(columns[field])) if field in columns else np.ones(count, dtype=bool)
        case OneOf(field, values):
            return _is_in(columns.get(field), values, count)
        case NoneOf(field, values):
            return find_doubtful(Given(field), columns, spec, count) & ~_is_in(columns.get(field), values, count)
        case Compare(left, operator, right):
            if left not in columns or right not in columns:
                return np.zeros(count, dtype=bool)
            pair: list[Array | None] = [columns[left], columns[right]]
            if spec.fields[left].form == "number":
                pair = [_parsed(array, pa.float64()) for array in pair]
            if pair[0] is None or pair[1] is None:  # a number that only the draft can read
                return find_doubtful(Given(left), columns, spec, count)
            compare = pc.less if operator == "<" else pc.greater_equal
            return _mask(pc.fill_null(compare(*pair), False))
        case All(conditions):
            masks = [find_doubtful(member, columns, spec, count) for member in conditions]
            return np.asarray(np.logical_and.reduce(masks), dtype=bool)


def _is_in(array: Array | None, values: tuple[str, ...], count: int) -> Bools:
    if array is None:
        return np.zeros(count, dtype=bool)
    return _mask(pc.is_in(array, value_set=pa.array(values, pa.string())))


_KNOWN_VALIDATORS: Final = frozenset({"_flatten", "_code_fits", "_check_rules"})
"""Validators of whole drafts that are evaluated by columns, too. A draft with another one is validated row by row."""


def _rules_known(kind: RecordSpec) -> bool:
    rules = kind.draft.__pydantic_decorators__
    others = (rules.field_validators, rules.root_validators, rules.validators)
    return rules.model_validators.keys() <= _KNOWN_VALIDATORS and not any(others)


def _mask(array: Array) -> Bools:
    return np.asarray(array.to_numpy(zero_copy_only=False), dtype=bool)

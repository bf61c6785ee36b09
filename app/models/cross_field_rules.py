"""Rules over several fields of a record, each declared once.

A rule has a condition: a small expression over fields that is true where the rule is broken. Four places use it:

- the draft of a kind evaluates it in Python (`check_rules`);
- an import evaluates it over whole columns (`app.ingest.validation.vectorized_validation`);
- an import of some fields evaluates it in SQL, together with the registered values (`to_sql`);
- a table has its negation as a CHECK, if the rule has a `constraint` (`to_check`).

To add a rule, add it to `RULES`.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter, ge, lt
from typing import Any, Final, Literal

from sqlalchemy import CheckConstraint

from app.errors import to_pydantic_error
from app.geo.visibility.field_of_view import SCALES
from app.messages import Message

MAX_VIEW_OFFSET_DEG: Final = 1.0
"""A view polygon that is farther than this from its camera belongs to another camera."""


@dataclass(frozen=True)
class Given:
    """The field has a value."""

    field: str


@dataclass(frozen=True)
class Missing:
    """The field has no value."""

    field: str


@dataclass(frozen=True)
class Compare:
    """Both fields have values, and they compare so."""

    left: str
    operator: Literal["<", ">="]
    right: str


@dataclass(frozen=True)
class OneOf:
    """The field has one of the values."""

    field: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class NoneOf:
    """The field has a value, and it is not one of these."""

    field: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class FarFrom:
    """The shape is not within so many degrees of the location."""

    shape: str
    location: str
    degrees: float


@dataclass(frozen=True)
class All:
    """All of the conditions are true."""

    conditions: tuple["Condition", ...]


Condition = Given | Missing | Compare | OneOf | NoneOf | FarFrom | All


@dataclass(frozen=True)
class Rule:
    """One rule: when it is broken, and how that is reported."""

    code: str
    member: str
    """Field that the error is reported at."""
    message: Message
    broken: Condition
    is_stored: bool = True
    """Whether all its fields are columns of the table; a rule over other fields is checked in every draft."""
    constraint: str | None = None
    """Name of the CHECK of the table."""

    @cached_property
    def fields(self) -> frozenset[str]:
        """Fields that the rule reads."""
        return frozenset(_iter_fields(self.broken))

    @cached_property
    def is_broken(self) -> Callable[[Any], bool]:
        """Whether a draft breaks the rule."""
        return to_python(self.broken)


def _iter_fields(condition: Condition) -> Iterator[str]:
    match condition:
        case Given(field) | Missing(field) | OneOf(field) | NoneOf(field):
            yield field
        case Compare(left, _, right) | FarFrom(left, right):
            yield from (left, right)
        case All(conditions):
            for member in conditions:
                yield from _iter_fields(member)


def to_python(condition: Condition) -> Callable[[Any], bool]:
    """Return the function that says whether a condition is true of a draft; it is called for every row of an import."""
    match condition:
        case Given(field):
            value_of = attrgetter(field)
            return lambda record: value_of(record) is not None
        case Missing(field):
            value_of = attrgetter(field)
            return lambda record: value_of(record) is None
        case OneOf(field, values):
            value_of = attrgetter(field)
            return lambda record: value_of(record) in values
        case NoneOf(field, values):
            value_of = attrgetter(field)
            return lambda record: (value := value_of(record)) is not None and value not in values
        case Compare(left, operator, right):
            return _to_comparison(attrgetter(left), lt if operator == "<" else ge, attrgetter(right))
        case FarFrom(shape, location, degrees):
            shape_of, location_of = attrgetter(shape), attrgetter(location)
            return lambda record: (
                (area := shape_of(record)) is not None and not (location_of(record).buffer(degrees).contains(area))
            )
        case All(conditions):
            first, *others = map(to_python, conditions)
            return lambda record: first(record) and all(member(record) for member in others)


def _to_comparison(
    left_of: Callable[[Any], Any], compare: Callable[[Any, Any], bool], right_of: Callable[[Any], Any]
) -> Callable[[Any], bool]:
    def is_true(record: Any) -> bool:
        left = left_of(record)
        if left is None:
            return False
        right = right_of(record)
        return right is not None and compare(left, right)

    return is_true


def to_sql(condition: Condition) -> str:
    """Return a condition as SQL, with ``{name}`` for the value of each field; unknown (NULL) means not true."""
    match condition:
        case Given(field):
            return f"{{{field}}} IS NOT NULL"
        case Missing(field):
            return f"{{{field}}} IS NULL"
        case OneOf(field, values):
            return f"{{{field}}} IN ({_to_sql_list(values)})"
        case NoneOf(field, values):
            return f"{{{field}}} NOT IN ({_to_sql_list(values)})"
        case Compare(left, operator, right):
            return f"{{{left}}} {operator} {{{right}}}"
        case FarFrom(shape, location, degrees):
            # Shapely rounds a buffer with 16 segments to the quarter, too.
            buffer = f"ST_Buffer({{{location}}}, {degrees}, 'quad_segs=16')"
            return f"NOT ST_Contains({buffer}, ST_SetSRID(ST_GeomFromGeoJSON({{{shape}}}), 4326))"
        case All(conditions):
            return " AND ".join(f"({to_sql(member)})" for member in conditions)


def _to_sql_list(values: tuple[str, ...]) -> str:
    return ", ".join(f"'{value}'" for value in values)


def to_check(condition: Condition) -> str:
    """Return the SQL that holds where a condition is not true, over the columns of a table.

    >>> to_check(All((Given("owner_reference"), Missing("owner_unit"))))
    'owner_reference IS NULL OR owner_unit IS NOT NULL'
    """
    match condition:
        case Given(field):
            return f"{field} IS NULL"
        case Missing(field):
            return f"{field} IS NOT NULL"
        case All(conditions):
            return " OR ".join(to_check(member) for member in conditions)
        case _:
            sql = to_sql(condition)
            return f"({sql.format(**{name: name for name in _iter_fields(condition)})}) IS NOT TRUE"


_checked_fields: ContextVar[frozenset[str] | None] = ContextVar("checked_fields", default=None)


@contextmanager
def limit_rules(fields: frozenset[str] | None) -> Iterator[None]:
    """Check only the rules over these fields while drafts are validated; None: all rules.

    A context variable, because a model with an ``__init__`` does not pass on the validation context of pydantic.
    """
    token = _checked_fields.set(fields)
    try:
        yield
    finally:
        _checked_fields.reset(token)


def is_checked(rule: Rule, fields: frozenset[str] | None) -> bool:
    """Return whether a rule is checked in a draft of which only these fields are given; None: all are given."""
    return fields is None or not rule.is_stored or rule.fields <= fields


def check_rules(kind: str, record: object) -> None:
    """Raise the error of the first rule of a kind that a draft breaks."""
    fields = _checked_fields.get()
    for rule in RULES.get(kind, ()):
        if is_checked(rule, fields) and rule.is_broken(record):
            raise to_pydantic_error(rule.code, rule.message, rule.member)


def build_checks(kind: str) -> Iterator[CheckConstraint]:
    """Yield the CHECKs of the table of a kind."""
    for rule in RULES[kind]:
        if rule.constraint is not None:
            yield CheckConstraint(to_check(rule.broken), name=rule.constraint)


_OWNER: Final = Rule(
    "owner-missing",
    "owner_unit",
    Message("owner_reference needs owner_unit"),
    All((Given("owner_reference"), Missing("owner_unit"))),
    constraint="owner_reference",
)
_DATES: Final = tuple(
    Rule(
        "dates-in-disorder",
        "removed_on",
        Message("removed_on is before {name}", name=name),
        Compare("removed_on", "<", name),
    )
    for name in ("installed_on", "in_use_on")
)
_BLIND_ZONE: Final = tuple(
    Rule(
        "sees-nothing",
        "near_m",
        Message("the blind zone near_m reaches {name}, so the camera sees nothing", name=name),
        Compare("near_m", ">=", name),
    )
    for name in ("range_m", "reach_m")
)
_VIEW_POLYGON: Final = Rule(
    "view-elsewhere",
    "view_polygon",
    Message("view_polygon is more than {degrees} degrees away from the camera", degrees=MAX_VIEW_OFFSET_DEG),
    FarFrom("view_polygon", "geometry", MAX_VIEW_OFFSET_DEG),
)
_PICTURE_LEVEL: Final = (
    *(
        Rule("level-and-scale", lacking, Message("{name} needs {member}", name=name, member=lacking), condition)
        for name, lacking in (("required_level", "level_scale"), ("level_scale", "required_level"))
        for condition in (All((Given(name), Missing(lacking))),)
    ),
    *(
        Rule(
            "level-of-other-scale",
            "required_level",
            Message(
                "required_level is not a level of {scale}. Levels: {levels}", scale=scale, levels=", ".join(levels)
            ),
            All((OneOf("level_scale", (scale,)), NoneOf("required_level", tuple(levels)))),
        )
        for scale, levels in SCALES.items()
    ),
)
_STATE: Final = Rule(
    "state-missing",
    "state",
    Message("reported_at needs state"),
    All((Given("reported_at"), Missing("state"))),
    is_stored=False,
)

RULES: Final[Mapping[str, tuple[Rule, ...]]] = {
    "control_point": (_OWNER,),
    "checkpoint": (_STATE, *_DATES, _OWNER),
    "camera": (_STATE, *_DATES, _OWNER, *_BLIND_ZONE, _VIEW_POLYGON, *_PICTURE_LEVEL),
}
"""Rules by the name of the kind, in the order in which a draft checks them."""

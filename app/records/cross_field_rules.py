"""Rules over several fields of a record, each with the fields it is about.

A draft holds them all. An import that gives some fields of a registered record holds those whose
fields it gives; where one field is given and the other is registered, the registry is asked
(`app.imports.queries.staging`).
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

from pydantic_core import PydanticCustomError

from app.geo.visibility.field_of_view import SCALES

DRAWN_WITHIN_DEG: Final = 1.0
"""A view drawn farther than this from its camera was drawn for another one."""


@dataclass(frozen=True)
class Rule:
    """What must hold of a record between some of its fields."""

    fields: tuple[str, ...]
    check: Callable[[Any], None]
    """Raises ``PydanticCustomError`` when it does not hold."""


_GIVEN: ContextVar[frozenset[str] | None] = ContextVar("given", default=None)


@contextmanager
def giving(fields: frozenset[str] | None) -> Iterator[None]:
    """Say which fields are given while drafts are made; None: all of them.

    Not the context of pydantic: a model with an ``__init__`` of its own does not hand that on.
    """
    token = _GIVEN.set(fields)
    try:
        yield
    finally:
        _GIVEN.reset(token)


def hold(record: object, validator: str) -> None:
    """Hold the rules of a validator whose fields are all given."""
    given = _GIVEN.get()
    for rule in OF_VALIDATOR[validator]:
        if given is None or given.issuperset(rule.fields):
            rule.check(record)


def _removed_after(name: str) -> Callable[[Any], None]:
    def check(record: Any) -> None:
        day = getattr(record, name)
        if day is not None and record.removed_on is not None and record.removed_on < day:
            raise PydanticCustomError(
                "dates-in-disorder",
                "removed_on lies before {name}",
                {"name": name, "member": "removed_on"},
            )

    return check


def _owner_is_named(record: Any) -> None:
    if record.owner_reference is not None and record.owner_unit is None:
        raise PydanticCustomError("owner-missing", "owner_reference needs an owner_unit", {"member": "owner_unit"})


def _sees_beyond(name: str) -> Callable[[Any], None]:
    what = name.removesuffix("_m")

    def check(record: Any) -> None:
        far = getattr(record, name)
        if far is not None and record.near_m is not None and record.near_m >= far:
            raise PydanticCustomError("sees-nothing", f"the blind zone reaches to the {what}", {"member": "near_m"})

    return check


def _drawn_where_it_hangs(record: Any) -> None:
    if record.view_polygon is not None:
        here = record.geometry.buffer(DRAWN_WITHIN_DEG)
        if not here.contains(record.view_polygon):
            raise PydanticCustomError(
                "view-elsewhere",
                "what is drawn as seen lies farther than {most} degrees from the camera",
                {"most": DRAWN_WITHIN_DEG, "member": "view_polygon"},
            )


def _level_is_of_its_scale(record: Any) -> None:
    if (record.required_level is None) is not (record.level_scale is None):
        missing = "level_scale" if record.level_scale is None else "required_level"
        raise PydanticCustomError(
            "level-and-scale",
            "required_level and level_scale go together",
            {"member": missing},
        )
    if record.level_scale is not None and record.required_level not in SCALES[record.level_scale]:
        raise PydanticCustomError(
            "level-of-other-scale",
            "{scale} has the levels {levels}",
            {
                "scale": record.level_scale,
                "levels": ", ".join(SCALES[record.level_scale]),
                "member": "required_level",
            },
        )


OWNED: Final = Rule(("owner_reference", "owner_unit"), _owner_is_named)
"""What a unit calls a thing needs the unit."""
LIFE: Final = tuple(Rule(("removed_on", name), _removed_after(name)) for name in ("installed_on", "in_use_on"))
"""Days of a device's life do not contradict each other."""
SIGHT: Final = tuple(Rule(("near_m", name), _sees_beyond(name)) for name in ("range_m", "reach_m"))
"""The blind zone ends before the view does."""
DRAWN: Final = Rule(("view_polygon", "geometry"), _drawn_where_it_hangs)
LEVEL: Final = Rule(("required_level", "level_scale"), _level_is_of_its_scale)

OF_VALIDATOR: Final[Mapping[str, tuple[Rule, ...]]] = {
    "_owned": (OWNED,),
    "_life_in_order": (*LIFE, OWNED),
    "_can_see_something": SIGHT,
    "_drawn_where_it_hangs": (DRAWN,),
    "_level_is_of_its_scale": (LEVEL,),
}
"""Rules that the validators of drafts hold, by their names."""
OF_KIND: Final = {
    "control_point": (OWNED,),
    "checkpoint": (OWNED, *LIFE),
    "camera": (OWNED, *LIFE, *SIGHT, DRAWN, LEVEL),
}
"""Rules of each kind that meet in the registry; a test holds the questions to it against them."""

"""What a file does not give of whole records: refused, or told where its rows may be parts of them.

Rows that are parts of registered records need the key, and something to change.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from app.errors import Fault, Invalid
from app.intake.planned import Feed, Note, Plan
from app.intake.targets import LANE, LANES, Field, Kind
from app.schemas.kinds import BY_NAME

_KEYS: Final = frozenset({"code", "jurisdiction", "owner_unit", "owner_reference"})


def missing(kind: Kind, fed: Collection[str], key: str, *, placed: bool) -> tuple[str, ...]:
    """Return the fields a record needs and nothing gives, in order."""
    needed = {name for name, target in kind.fields.items() if target.required}
    if key == "owner_reference" and "code" not in fed:
        needed = needed - {"code"} | {"owner_unit", "owner_reference"}
    found = [name for name in kind.fields if name in needed - set(fed)]
    return (*found, *(("geometry",) if kind.shapes and not placed else ()))


def refuse_keyless(
    kind: Kind, fed: Collection[str], key: str, lacking: Sequence[str], ignored: Iterable[str]
) -> None:
    """Refuse a file whose rows do not say which record they are, or nothing of it.

    Raises
    ------
    Invalid
        ``fields-missing``.
    """
    needed = {"code"} if key == "code" else {"jurisdiction", "owner_unit", "owner_reference"}
    if "code" not in kind.fields:  # a ring
        needed = {"jurisdiction", "level"}
    if key == "owner_reference" and "code" in fed:
        needed = {"code", "jurisdiction"}
    if absent := [name for name in lacking if name in needed]:
        raise nothing_gives(absent, ignored)
    by = {"code", "jurisdiction", *needed} if key == "code" else _KEYS
    if lacking and not set(fed) - by:
        told = "Nothing gives a field to change: the file has the key of its records alone."
        fault = Fault("/mapping", "fields-missing", "no column gives a field to change")
        raise Invalid(_with_ignored(told, ignored), code="fields-missing", faults=[fault])
    lanes = [name for name in fed if name.startswith(LANE)]
    if lanes and LANES in kind.fields and "lane" not in fed and lacking:
        raise nothing_gives(["lane"], ignored)


def nothing_gives(names: Sequence[str], ignored: Iterable[str]) -> Invalid:
    """Return the refusal of a file that lacks fields of whole records."""
    told = "no column gives {}, and no default does"
    message = f"Nothing gives {', '.join(names)}: map a column to each, or give a default."
    return Invalid(
        _with_ignored(message, ignored),
        code="fields-missing",
        faults=[Fault(f"/mapping/{n}", "fields-missing", told.format(n)) for n in names],
    )


def half_a_place(columns: Sequence[str]) -> Invalid:
    """Return the refusal of a file with one coordinate: its places would stay, and nobody would know."""
    told = f"{', '.join(columns)} is half of a place, and no column gives the other half"
    return Invalid(
        f"No place can be read: {told}. Map a column to it, or name {', '.join(columns)} in "
        "drop_columns to keep the places that are registered.",
        code="fields-missing",
        faults=[Fault("/mapping/geometry", "fields-missing", told)],
    )


def lanes_alone(names: Sequence[str]) -> Invalid:
    """Return the refusal of lanes whose checkpoints are not registered."""
    return Invalid(
        f"These are lanes without their checkpoints, and none of those is registered: nothing gives "
        f"{', '.join(names)}. Send them in one file with their tollgates (TollgateListObject and "
        "LaneListObject side by side), or register the checkpoints first.",
        code="fields-missing",
        faults=[Fault("/mapping/geometry", "fields-missing", "lanes alone have no place")],
    )


def _with_ignored(message: str, ignored: Iterable[str]) -> str:
    names = ", ".join(ignored)
    if not names:
        return message
    return f"{message} Columns not used: {names}."


def refused(plan: Plan) -> Invalid:
    """Return the refusal of a plan for parts of records of which none is registered."""
    if plan.merges_lanes:
        return lanes_alone(plan.missing)
    return nothing_gives(plan.missing, plan.ignored)


def note(kind: Kind, feeds: Sequence[Feed], lacking: Sequence[str]) -> Note:
    """Tell that rows are parts of registered records."""
    title = BY_NAME[kind.name].title if kind.name in BY_NAME else kind.name
    needs = ", ".join(lacking)
    english = (
        f"the file gives only some fields of registered records: what it does not give stays as it is. "
        f"A row whose {title} is not registered is refused, because a new one needs {needs}"
    )
    chinese = f"文件只含已登记记录的部分字段，未给出的字段保持不变；尚未登记的行将被拒绝，因为新记录还需要 {needs}"
    if any(feed.field.name == "lane" for feed in feeds):
        english += ". Lanes are put among those that are registered by their number; others stay"
        chinese += "。车道按车道号并入已登记的车道，其余车道保留"
    return Note("some-fields", f"{english}.", f"{chinese}。")


def stand_in(target: Field) -> Any:
    """Return a value that a draft takes in place of what is registered, so that it judges the rest.

    Rules between fields are not held over a field that stands in.
    """
    if target.form == "words":
        return [target.words[0]]
    return target.words[0] if target.words else "000000"


def stand_ins(plan: Plan) -> Mapping[str, Any]:
    """Return what stands in for the fields that the file does not give."""
    fields = plan.kind.fields
    return {name: stand_in(fields[name]) for name in plan.missing if name in fields}

"""Specifications of everything that can be imported: the kinds of records, rings and state reports."""

import sys
from functools import cache
from typing import Final

from app.errors import Invalid
from app.ingest.columns import templates
from app.ingest.columns.field_specs import RecordSpec, build_record_spec
from app.messages import Message
from app.models.cross_field_rules import RULES
from app.records.drafts import RingDraft
from app.records.kinds import KINDS
from app.states.service import StateReport

RING: Final = build_record_spec("ring", "ring", RingDraft, shapes=("Polygon", "MultiPolygon"))
STATE: Final = build_record_spec("state", "state", StateReport)
SPECS: Final[tuple[RecordSpec, ...]] = (
    *(
        build_record_spec(kind.name, kind.title, kind.draft, rules=RULES.get(kind.name, ()))
        for kind in KINDS
        if kind.has_geometry
    ),
    RING,
    STATE,
)
_BY_NAME: Final = (
    {spec.name: spec for spec in SPECS}
    | {kind.plural: spec for kind in KINDS for spec in SPECS if spec.name == kind.name}
    | {"rings": RING, "states": STATE}
)


@cache
def find_record_spec(name: str) -> RecordSpec:
    """Return the specification of a kind, from its name or the plural of its route.

    Raises
    ------
    Invalid
        ``unknown-kind``.
    """
    if name not in _BY_NAME:
        kinds = ", ".join(spec.name for spec in SPECS)
        raise Invalid(
            Message("Unknown kind {name!r}. Kinds that can be imported: {kinds}.", name=name, kinds=kinds),
            code="unknown-kind",
        )
    return _BY_NAME[name]


if __name__ == "__main__":
    sys.stdout.write(templates.render_page(SPECS))

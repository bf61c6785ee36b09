"""Answers about cordons, and what would become of them: asked for over the one cache of answers.

Heavy work runs in worker threads, a few at a time, and is shared between those who ask the same.
"""

from functools import partial

import orjson

from app.access.roles import Principal
from app.analysis.cordon.report import (
    MOST_COST,
    SEALED,
    Costs,
    Wanted,
    build_leak_route,
    build_ring_cordon,
    build_sealing_plan,
    build_through_cordon,
)
from app.analysis.service import Answers
from app.analysis.single_flight import Gone
from app.errors import InvalidQuery

_NONE = orjson.dumps(SEALED)


def costs(**words: str) -> Costs:
    """Return costs by road class from their words: a whole number, or ``never``.

    Raises
    ------
    InvalidQuery
        when a cost is neither.
    """
    found: dict[str, int | None] = {}
    for name, word in words.items():
        number = int(word) if word.isascii() and word.isdigit() and len(word) <= 4 else 0
        if word != "never" and not 1 <= number <= MOST_COST:
            raise InvalidQuery(
                f"A cost is a whole number from 1 to {MOST_COST:,}, or never: {word[:20]!r} is not.",
                parameter=f"cost.{name}",
            )
        found[name] = None if word == "never" else number
    return found


async def get_ring_cordon(
    answers: Answers, jurisdiction: str, who: Principal, wanted: Wanted, gone: Gone | None = None
) -> bytes:
    """Return the cordon of one ring, both directions."""
    make = partial(build_ring_cordon, wanted=wanted)
    return await answers.document(jurisdiction, who, f"cordon {wanted}", make, gone)


async def get_through_cordon(
    answers: Answers, jurisdiction: str, who: Principal, wanted: Wanted, gone: Gone | None = None
) -> bytes:
    """Return the way through all rings, both directions."""
    make = partial(build_through_cordon, wanted=wanted)
    return await answers.document(jurisdiction, who, f"cordon {wanted}", make, gone)


async def get_leak_route(
    answers: Answers, jurisdiction: str, who: Principal, wanted: Wanted, gone: Gone | None = None
) -> bytes | None:
    """Return the shortest leak, or several; None where the cordon is sealed.

    Raises
    ------
    Conflict
        when leaks of this cordon cannot be assessed.
    """
    make = partial(build_leak_route, wanted=wanted)
    body = await answers.document(jurisdiction, who, f"leak {wanted}", make, gone)
    return None if body == _NONE else body


async def get_sealing_plan(
    answers: Answers, jurisdiction: str, who: Principal, wanted: Wanted, gone: Gone | None = None
) -> bytes:
    """Return the cheapest places to guard so that nothing leaks.

    Raises
    ------
    Conflict
        when leaks of this cordon cannot be assessed.
    """
    make = partial(build_sealing_plan, wanted=wanted)
    return await answers.document(jurisdiction, who, f"sealing {wanted}", make, gone)

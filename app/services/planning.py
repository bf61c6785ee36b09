"""Answers about cordons, and what would become of them: asked for over the one cache of answers.

Heavy work runs in worker threads, a few at a time, and is shared between those who ask the same.
"""

from functools import partial

import orjson

from app.errors import InvalidQuery
from app.services import cordon_report
from app.services.access import Principal
from app.services.cordon_report import MOST_COST, SEALED, Costs, Wanted
from app.services.coverage import Answers
from app.services.flights import Gone

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


async def ring(
    answers: Answers, jurisdiction: str, who: Principal, wanted: Wanted, gone: Gone | None = None
) -> bytes:
    """Return the cordon of one ring, both directions."""
    make = partial(cordon_report.ring, wanted=wanted)
    return await answers.document(jurisdiction, who, f"cordon {wanted}", make, gone)


async def through(
    answers: Answers, jurisdiction: str, who: Principal, wanted: Wanted, gone: Gone | None = None
) -> bytes:
    """Return the way through all rings, both directions."""
    make = partial(cordon_report.through, wanted=wanted)
    return await answers.document(jurisdiction, who, f"cordon {wanted}", make, gone)


async def leak(
    answers: Answers, jurisdiction: str, who: Principal, wanted: Wanted, gone: Gone | None = None
) -> bytes | None:
    """Return the shortest leak, or several; None where the cordon is sealed.

    Raises
    ------
    Conflict
        when leaks of this cordon cannot be assessed.
    """
    make = partial(cordon_report.leak, wanted=wanted)
    body = await answers.document(jurisdiction, who, f"leak {wanted}", make, gone)
    return None if body == _NONE else body


async def sealing_plan(
    answers: Answers, jurisdiction: str, who: Principal, wanted: Wanted, gone: Gone | None = None
) -> bytes:
    """Return the cheapest places to guard so that nothing leaks.

    Raises
    ------
    Conflict
        when leaks of this cordon cannot be assessed.
    """
    make = partial(cordon_report.sealing, wanted=wanted)
    return await answers.document(jurisdiction, who, f"sealing {wanted}", make, gone)

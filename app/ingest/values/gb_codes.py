"""GB/T 28181 device codes: twenty digits in six segments, and what can be checked of them.

Segments (GB/T 28181-2016 annex D, 2022 annex E, coding rule A): 8 digits centre (2+2+2 division of
GB/T 2260, 2 grass-roots unit), 2 industry, 3 type, 1 network, 6 serial. There is no check digit.
"""

import re
from dataclasses import dataclass
from typing import Final

from app.messages import Message

TWENTY_DIGITS: Final = re.compile(r"^[0-9]{20}$")

_NEARLY: Final = re.compile(r"^(?:[0-9]{17}|[0-9]{19}|[0-9]{21,23})$")
"""Lengths of a code that has lost or doubled digits."""

_PROVINCE_RANGES: Final = ((11, 15), (21, 23), (31, 37), (41, 46), (50, 54), (61, 65), (71, 71), (81, 82))
PROVINCES: Final = frozenset(str(number) for first, last in _PROVINCE_RANGES for number in range(first, last + 1))
"""First two digits of GB/T 2260 division codes."""

PERSON_TYPES: Final = range(300, 500)
"""Types 300-499 number users, who are people; a registry of equipment holds none."""

TYPES_OF: Final[dict[str, frozenset[int]]] = {
    "camera": frozenset({111, 118, 119, 122, 130, 131, 132}),
    "checkpoint": frozenset({119, 121}),
}
"""Type codes that fit a kind of record; recorders appear where a source numbers its channels so."""


@dataclass(frozen=True)
class GbCode:
    """The segments of a code."""

    division: str
    grassroots: str
    industry: str
    type: int
    network: str
    serial: str


def split_code(code: str) -> GbCode:
    """Return the segments of a twenty-digit code."""
    return GbCode(code[:6], code[6:8], code[8:10], int(code[10:13]), code[13], code[14:])


def find_errors(code: str, kind: str) -> list[Message]:
    """Return what is wrong with a code as the code of a kind; codes of other schemes have no errors.

    >>> find_errors("41080000001321000001", "camera")
    []
    >>> find_errors("41080000003001000001", "camera")
    ['digits 11-13 are 300: types 300-499 number users, and this registry holds no people']
    """
    if kind in TYPES_OF and _NEARLY.match(code):
        return [
            Message("the code has {count} digits: a GB/T 28181 code has 20 (or 18 in a local system)", count=len(code))
        ]
    if not TWENTY_DIGITS.match(code):
        return []
    segments = split_code(code)
    errors = []
    if segments.division[:2] not in PROVINCES:
        errors.append(
            Message("digits 1-2 are {digits}, which is not a province (GB/T 2260)", digits=segments.division[:2])
        )
    if segments.type in PERSON_TYPES:
        errors.append(
            Message(
                "digits 11-13 are {type}: types 300-499 number users, and this registry holds no people",
                type=segments.type,
            )
        )
    elif kind in TYPES_OF and segments.type not in TYPES_OF[kind]:
        errors.append(
            Message(
                "digits 11-13 are {type:03d}, and a {kind} has one of {types}",
                type=segments.type,
                kind=kind,
                types=", ".join(str(number) for number in sorted(TYPES_OF[kind])),
            )
        )
    return errors

"""GB/T 28181 device codes: twenty digits, four segments, and what can be checked about them.

Segments (GB/T 28181-2016 annex D, 2022 annex E, coding rule A): 8 digits centre (2+2+2 division of
GB/T 2260, 2 grass-roots unit), 2 industry, 3 type, 1 network, 6 serial. There is no check digit.
"""

import re
from dataclasses import dataclass
from typing import Final

TWENTY_DIGITS: Final = re.compile(r"^[0-9]{20}$")

_NEARLY: Final = re.compile(r"^(?:[0-9]{17}|[0-9]{19}|[0-9]{21,23})$")
"""Lengths a code has when digits were lost or doubled on the way."""

PROVINCES: Final = frozenset(
    str(number)
    for numbers in (
        range(11, 16), range(21, 24), range(31, 38), range(41, 47), range(50, 55), range(61, 66),
        (71, 81, 82),
    )
    for number in numbers
)  # fmt: skip
"""First two digits of GB/T 2260 division codes."""

PERSON_TYPES: Final = range(300, 500)
"""Types 300-499 number users, that is people; a registry of equipment holds none."""

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


def split(code: str) -> GbCode:
    """Return the segments of a twenty-digit code."""
    return GbCode(code[:6], code[6:8], code[8:10], int(code[10:13]), code[13], code[14:])


def faults(code: str, kind: str) -> list[str]:
    """Return what is wrong with ``code`` as the code of a ``kind``; other schemes pass unread.

    >>> faults("41080000001321000001", "camera")
    []
    >>> faults("41080000003001000001", "camera")
    ['digits 11-13 are 300: types 300-499 number users, and this registry holds no people']
    """
    if kind in TYPES_OF and _NEARLY.match(code):
        return [f"{len(code)} digits: a GB/T 28181 code has 20 (or 18 in a local system)"]
    if not TWENTY_DIGITS.match(code):
        return []
    parts = split(code)
    found = []
    if parts.division[:2] not in PROVINCES:
        found.append(f"digits 1-2 are {parts.division[:2]}, which no province has (GB/T 2260)")
    if parts.type in PERSON_TYPES:
        found.append(f"digits 11-13 are {parts.type}: types 300-499 number users, and this registry holds no people")
    elif kind in TYPES_OF and parts.type not in TYPES_OF[kind]:
        fitting = ", ".join(str(number) for number in sorted(TYPES_OF[kind]))
        found.append(f"digits 11-13 are {parts.type:03d}, and a {kind} has one of {fitting}")
    return found

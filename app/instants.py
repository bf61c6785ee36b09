"""Days and instants as text: YYYY-MM-DD, and RFC 3339 in UTC."""

import re
from contextlib import suppress
from datetime import UTC, date, datetime
from typing import Final

_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_INSTANT: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?"
    r"([Zz]|[+-][0-9]{2}:[0-9]{2})?"
)
_COMPLETE: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)


def parse_day(text: object) -> date | None:
    """Return the calendar day of a text, None if it is not one.

    >>> parse_day("2026-01-31"), parse_day("2026-02-31"), parse_day(20260131)
    (datetime.date(2026, 1, 31), None, None)
    """
    if isinstance(text, str) and _DAY.fullmatch(text):
        with suppress(ValueError):
            return date.fromisoformat(text)
    return None


def parse_instant(text: object, *, complete: bool = False) -> datetime | None:
    """Return the instant of a text as it is written, None if it is not one.

    Seconds and offset may be absent, unless it has to be ``complete``; without an offset it has no zone.

    >>> parse_instant("2026-01-31T08:00+08:00").isoformat(), parse_instant("2026-01-31"), parse_instant(0)
    ('2026-01-31T08:00:00+08:00', None, None)
    """
    if isinstance(text, str) and (_COMPLETE if complete else _INSTANT).fullmatch(text):
        with suppress(ValueError):
            return datetime.fromisoformat(text.upper())
    return None


def format_instant(instant: datetime) -> str:
    """Return an instant in UTC with the suffix Z.

    >>> format_instant(datetime.fromisoformat("2026-01-31T08:00:00+08:00"))
    '2026-01-31T00:00:00Z'
    """
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")

"""Days and instants as people, spreadsheets and platforms write them. Text in, ISO text out.

Promises to read nothing that could be two days: such a cell is ``Unreadable`` and says how to write it.
"""

import re
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Final

from app.ingest.values.cell_parsing import Unreadable, dashed
from app.instants import format_instant

_YMD: Final = re.compile(r"(\d{4})\s*[-/.年]\s*(\d{1,2})\s*[-/.月]\s*(\d{1,2})(?:\s*[日号])?", re.ASCII)
_COMPACT: Final = re.compile(r"(\d{4})(\d{2})(\d{2})")
_SERIAL: Final = re.compile(r"\d{5}(?:\.\d+)?")
_CLOCK: Final = re.compile(
    r"(?:T|t|\s)*(\d{1,2})[:时点](\d{1,2})(?:[:分](\d{1,2})(\.\d+)?秒?)?分?\s*(Z|z|[+-]\d{2}:?\d{2})?"
)
_WEEKDAY: Final = re.compile(r"\s*[(（]?(?:星期|周)[一二三四五六日天][)）]?")
_FORENOON: Final = re.compile(r"\s*(上午|下午|[AP]M)\s*(\d{1,2})(?=[:时点])", re.IGNORECASE)
_MILLISECONDS: Final = re.compile(r"1[0-9]{12}")
"""Milliseconds since 1970, of the years 2001 to 2033."""
_CLOCK_COMPACT: Final = re.compile(r"(\d{2})(\d{2})(\d{2})")
_EPOCH: Final = date(1899, 12, 30)
_SERIALS: Final = range(20_000, 80_000)
"""Spreadsheet serials of the years 1954 to 2119."""


def day(text: str) -> str:
    """Return a calendar day as YYYY-MM-DD; a time of day is left out.

    >>> [day(t) for t in ("2024/3/5", "20240305", "2024年3月5日", "2024.03.05 08:30", "45356")]
    ['2024-03-05', '2024-03-05', '2024-03-05', '2024-03-05', '2024-03-05']
    >>> day("2024年3月5日 星期二"), day("2024/3/5 下午 2:30"), day("2024–3–5")
    ('2024-03-05', '2024-03-05', '2024-03-05')
    """
    return _split_day(dashed(text).strip())[0].isoformat()


def _split_day(plain: str) -> tuple[date, str]:
    for pattern in (_YMD, _COMPACT):
        if found := pattern.match(plain):
            rest = _FORENOON.sub(_hour, _WEEKDAY.sub("", plain[found.end() :], count=1))
            if rest and pattern is _YMD and rest[0].isdigit():
                break
            if rest and not (_CLOCK.fullmatch(rest) or _CLOCK_COMPACT.fullmatch(rest)):
                break
            return _date(found), rest
    if _SERIAL.fullmatch(plain) and int(float(plain)) in _SERIALS:
        whole, _, part = plain.partition(".")
        return _EPOCH + timedelta(days=int(whole)), f".{part}" if part else ""
    raise _no_day()


def _hour(found: re.Match[str]) -> str:
    """Return an hour of the afternoon as one of the whole day."""
    later = found[1].lower() in ("下午", "pm") and int(found[2]) < 12
    return f" {int(found[2]) + 12 * later:02d}"


def _date(found: re.Match[str]) -> date:
    try:
        return date(int(found[1]), int(found[2]), int(found[3]))
    except ValueError:
        raise _no_day() from None


def _no_day() -> Unreadable:
    return Unreadable(
        "not-a-day",
        "a day of the calendar is needed",
        "应为日期",
        "write it as 2024-03-05, 2024/3/5 or 2024年3月5日; day-first and month-first spellings could mean two days",
    )


def instant(text: str, offset_h: float = 8.0) -> str:
    """Return an instant in UTC (RFC 3339); without an offset it is local time.

    >>> instant("2024-03-05 08:30:00"), instant("2024-03-05T08:30:00Z"), instant("1709596800000")
    ('2024-03-05T00:30:00Z', '2024-03-05T08:30:00Z', '2024-03-05T00:00:00Z')
    """
    plain = dashed(text).strip()
    if _MILLISECONDS.fullmatch(plain):
        return format_instant(datetime.fromtimestamp(int(plain) / 1000, UTC))
    found, rest = _split_day(plain)
    zone: timezone = timezone(timedelta(hours=offset_h))
    if rest.startswith("."):
        start = datetime(found.year, found.month, found.day, tzinfo=zone)
        moment = start + timedelta(seconds=round(float(rest) * 86_400))
    else:
        moment = _moment(found, rest, zone)
    try:
        return format_instant(moment)
    except OverflowError:
        raise _no_day() from None


def _moment(found: date, rest: str, zone: timezone) -> datetime:
    clock = _CLOCK.fullmatch(rest)
    hour, minute, second, micro = 0, 0, 0, 0
    if clock:
        hour, minute, second = int(clock[1]), int(clock[2]), int(clock[3] or 0)
        micro = round(float(clock[4] or 0) * 1_000_000)
        zone = _zone(clock[5]) or zone
    elif compact := _CLOCK_COMPACT.fullmatch(rest):
        hour, minute, second = (int(part) for part in compact.groups())
    try:
        return datetime(
            found.year,
            found.month,
            found.day,
            hour,
            minute,
            second,
            min(micro, 999_999),
            tzinfo=zone,
        )
    except ValueError:
        raise _no_day() from None


def _zone(text: str | None) -> timezone | None:
    if not text:
        return None
    if text in "Zz":
        return UTC
    hours, minutes = int(text[1:3]), int(text[-2:])
    if hours > 23 or minutes > 59:
        raise _no_day()
    turn = timedelta(hours=hours, minutes=minutes)
    return timezone(turn if text[0] == "+" else -turn)

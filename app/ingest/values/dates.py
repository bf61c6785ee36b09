"""Parsers of days and times as people, spreadsheets and platforms write them; the result is ISO text.

A cell that could mean two days is not parsed: its error says how to write the day.
"""

import re
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Final

from app.ingest.values.cell_parsing import CellError, normalize_dashes
from app.instants import format_instant
from app.messages import Message

_YEAR_MONTH_DAY: Final = re.compile(r"(\d{4})\s*[-/.年]\s*(\d{1,2})\s*[-/.月]\s*(\d{1,2})(?:\s*[日号])?", re.ASCII)
_COMPACT: Final = re.compile(r"(\d{4})(\d{2})(\d{2})")
_SERIAL: Final = re.compile(r"\d{5}(?:\.\d+)?")
_CLOCK: Final = re.compile(
    r"(?:T|t|\s)*(\d{1,2})[:时点](\d{1,2})(?:[:分](\d{1,2})(\.\d+)?秒?)?分?\s*(Z|z|[+-]\d{2}:?\d{2})?"
)
_WEEKDAY: Final = re.compile(r"\s*[(（]?(?:星期|周)[一二三四五六日天][)）]?")
_HALF_DAY: Final = re.compile(r"\s*(上午|下午|[AP]M)\s*(\d{1,2})(?=[:时点])", re.IGNORECASE)
_MILLISECONDS: Final = re.compile(r"1[0-9]{12}")
"""Milliseconds since 1970, of the years 2001 to 2033."""
_CLOCK_COMPACT: Final = re.compile(r"(\d{2})(\d{2})(\d{2})")
_EPOCH: Final = date(1899, 12, 30)
_SERIALS: Final = range(20_000, 80_000)
"""Day numbers of a spreadsheet, of the years 1954 to 2119."""


def parse_date(text: str) -> str:
    """Return a day as YYYY-MM-DD; a time of day is left out.

    >>> [parse_date(t) for t in ("2024/3/5", "20240305", "2024年3月5日", "2024.03.05 08:30", "45356")]
    ['2024-03-05', '2024-03-05', '2024-03-05', '2024-03-05', '2024-03-05']
    >>> parse_date("2024年3月5日 星期二"), parse_date("2024/3/5 下午 2:30"), parse_date("2024–3–5")
    ('2024-03-05', '2024-03-05', '2024-03-05')
    """
    return _split_day(normalize_dashes(text).strip())[0].isoformat()


def _split_day(plain: str) -> tuple[date, str]:
    """Return the day, and the time of day as text: a clock, or the fraction of a day number."""
    for pattern in (_YEAR_MONTH_DAY, _COMPACT):
        if match := pattern.match(plain):
            clock = _HALF_DAY.sub(_to_hour_of_day, _WEEKDAY.sub("", plain[match.end() :], count=1))
            if clock and pattern is _YEAR_MONTH_DAY and clock[0].isdigit():
                break
            if clock and not (_CLOCK.fullmatch(clock) or _CLOCK_COMPACT.fullmatch(clock)):
                break
            return _to_date(match), clock
    if _SERIAL.fullmatch(plain) and int(float(plain)) in _SERIALS:
        whole, _, fraction = plain.partition(".")
        return _EPOCH + timedelta(days=int(whole)), f".{fraction}" if fraction else ""
    raise _build_date_error()


def _to_hour_of_day(match: re.Match[str]) -> str:
    """Return an hour of the morning or the afternoon as one of 0 to 23."""
    is_afternoon = match[1].lower() in ("下午", "pm") and int(match[2]) < 12
    return f" {int(match[2]) + 12 * is_afternoon:02d}"


def _to_date(match: re.Match[str]) -> date:
    try:
        return date(int(match[1]), int(match[2]), int(match[3]))
    except ValueError:
        raise _build_date_error() from None


def _build_date_error() -> CellError:
    return CellError(
        "not-a-day",
        Message("The cell is not a day of the calendar"),
        Message("Write 2024-03-05, 2024/3/5 or 2024年3月5日. A day that starts with day or month could mean two days."),
    )


def parse_timestamp(text: str, offset_h: float = 8.0) -> str:
    """Return a time in UTC (RFC 3339); ``offset_h`` is the offset of cells without one.

    >>> (
    ...     parse_timestamp("2024-03-05 08:30:00"),
    ...     parse_timestamp("2024-03-05T08:30:00Z"),
    ...     parse_timestamp("1709596800000"),
    ... )
    ('2024-03-05T00:30:00Z', '2024-03-05T08:30:00Z', '2024-03-05T00:00:00Z')
    """
    plain = normalize_dashes(text).strip()
    if _MILLISECONDS.fullmatch(plain):
        return format_instant(datetime.fromtimestamp(int(plain) / 1000, UTC))
    day, clock = _split_day(plain)
    zone: timezone = timezone(timedelta(hours=offset_h))
    if clock.startswith("."):
        midnight = datetime(day.year, day.month, day.day, tzinfo=zone)
        moment = midnight + timedelta(seconds=round(float(clock) * 86_400))
    else:
        moment = _add_clock(day, clock, zone)
    try:
        return format_instant(moment)
    except OverflowError:
        raise _build_date_error() from None


def _add_clock(day: date, clock: str, zone: timezone) -> datetime:
    hour, minute, second, microsecond = 0, 0, 0, 0
    if match := _CLOCK.fullmatch(clock):
        hour, minute, second = int(match[1]), int(match[2]), int(match[3] or 0)
        microsecond = min(round(float(match[4] or 0) * 1_000_000), 999_999)
        zone = _parse_zone(match[5]) or zone
    elif compact := _CLOCK_COMPACT.fullmatch(clock):
        hour, minute, second = (int(digits) for digits in compact.groups())
    try:
        return datetime(day.year, day.month, day.day, hour, minute, second, microsecond, tzinfo=zone)
    except ValueError:
        raise _build_date_error() from None


def _parse_zone(text: str | None) -> timezone | None:
    if not text:
        return None
    if text in "Zz":
        return UTC
    hours, minutes = int(text[1:3]), int(text[-2:])
    if hours > 23 or minutes > 59:
        raise _build_date_error()
    offset = timedelta(hours=hours, minutes=minutes)
    return timezone(offset if text[0] == "+" else -offset)

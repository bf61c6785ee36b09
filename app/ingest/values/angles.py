"""Angles and pairs of coordinates as people write them, one cell at a time.

Promises that only what can be read in one way is read: None stands for everything else. The fast
way for plain numbers is `app.ingest.values.coordinates`; this is for the odd rows.
"""

import re
import unicodedata
from typing import Final, Literal, NamedTuple

Axis = Literal["lon", "lat"]

# Look-alikes of the signs of degrees, minutes and seconds, and wide punctuation, as plain ones.
_SIGNS: Final = str.maketrans(
    {
        **dict.fromkeys("°º˚∘℃度", "°"),
        **dict.fromkeys("′’‘´ʹ＇`分", "'"),
        **dict.fromkeys("″”“ʺ＂秒〃", '"'),
        **dict.fromkeys("－−–—﹣‐‑", "-"),
        "，": ",", "、": ";", "；": ";", "：": ":", "。": ".", "．": ".",
    }
)  # fmt: skip
_LETTERS: Final = re.compile(r"(\d)\s*D\s*(?=[\d\s]|$)")
_MINUTES: Final = re.compile(r"(°\s*\d+(?:\.\d+)?)\s*M\s*(?:(\d+(?:\.\d+)?)\s*S)?")
# A bare X or Y names no axis: surveyors in China call the northing X.
_WORDS: Final = (
    ("东经", "E"), ("西经", "W"), ("北纬", "N"), ("南纬", "S"), ("東經", "E"), ("西經", "W"),
    ("北緯", "N"), ("南緯", "S"), ("EAST", "E"), ("WEST", "W"), ("NORTH", "N"), ("SOUTH", "S"),
    ("LONGITUDE", "Λ"), ("LATITUDE", "Φ"), ("LONG", "Λ"), ("LNG", "Λ"), ("LON", "Λ"), ("LAT", "Φ"),
    ("经°", "Λ"), ("纬°", "Φ"), ("經°", "Λ"), ("緯°", "Φ"), ("东", "E"), ("西", "W"), ("北", "N"),
    ("南", "S"), ("X:", ""), ("X=", ""), ("Y:", ""), ("Y=", ""),
)  # fmt: skip
_AXES: Final[dict[str, Axis]] = {
    "E": "lon",
    "W": "lon",
    "Λ": "lon",
    "N": "lat",
    "S": "lat",
    "Φ": "lat",
}
_PLAIN: Final = re.compile(r"\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?")
_DECIMAL_COMMA: Final = re.compile(r"\d+,\d+")
_THOUSANDS: Final = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_PARTS: Final = re.compile(
    r"(?P<deg>\d+(?:[.,]\d+)?)\s*[°\s:-]\s*"
    r"(?:(?P<min>\d+(?:[.,]\d+)?)\s*(?:$|['\s:-])\s*(?:(?P<sec>\d+(?:[.,]\d+)?)\s*\"?)?)?"
)
_DOTTED: Final = re.compile(r"(?P<deg>\d+)\.(?P<min>\d+)\.(?P<sec>\d+(?:,\d+)?)")
_SEPARATORS: Final = (re.compile(r"\s*[;/|\n]\s*"), re.compile(r"\s*,\s+"), re.compile(r"\s*,\s*"))
_AFTER_LETTER: Final = re.compile(r"(?<=[NSEW])\s*,?\s*(?=[\d+-])")
_BEFORE_LETTER: Final = re.compile(r"(?<=[\d°'\"\s])\s*,?\s*(?=[NSEWΛΦ])")


class Angle(NamedTuple):
    """A number of degrees (or metres) and the axis it names itself, if it does."""

    value: float
    axis: Axis | None


class Pair(NamedTuple):
    """Two angles in the order they are written."""

    first: Angle
    second: Angle


def parse_angle(text: str) -> Angle | None:
    """Return the number a cell holds: decimal, or degrees with minutes and seconds.

    Examples
    --------
    >>> parse_angle("35°12′36″N"), parse_angle("东经113度30分")
    (Angle(value=35.21, axis='lat'), Angle(value=113.5, axis='lon'))
    >>> parse_angle("113-30-00"), parse_angle("３５，５")
    (Angle(value=113.5, axis=None), Angle(value=35.5, axis=None))
    >>> parse_angle("35°72'") is None
    True
    """
    return _parse_normalized(normalize_signs(text))


def parse_pair(text: str) -> Pair | None:
    """Return the two numbers of a cell that holds both coordinates.

    Examples
    --------
    >>> parse_pair("35.2, 113.5")
    Pair(first=Angle(value=35.2, axis=None), second=Angle(value=113.5, axis=None))
    >>> parse_pair("N35°30' E113°15'").second
    Angle(value=113.25, axis='lon')
    """
    plain = normalize_signs(text).strip("()[]{}").strip()
    for separator in _SEPARATORS:
        if found := _parse_both(separator.split(plain)):
            return found
    for edge in (_AFTER_LETTER, _BEFORE_LETTER):
        if found := _parse_both([part for part in edge.split(plain) if part.strip(" ,:=")]):
            return found
    words = plain.split()
    if len(words) % 2 == 0:
        half = len(words) // 2
        return _parse_both([" ".join(words[:half]), " ".join(words[half:])])
    return None


def _parse_both(parts: list[str]) -> Pair | None:
    if len(parts) != 2:
        return None
    first, second = _parse_normalized(parts[0]), _parse_normalized(parts[1])
    if first is None or second is None:
        return None
    if first.axis is not None and first.axis == second.axis:
        return None
    return Pair(first, second)


def normalize_signs(text: str) -> str:
    plain = text.translate(_SIGNS)
    if not plain.isascii():
        plain = unicodedata.normalize("NFKC", plain)
    plain = plain.replace("''", '"').upper()
    for word, sign in _WORDS:
        plain = plain.replace(word, sign)
    plain = _LETTERS.sub(r"\1°", plain)
    return _MINUTES.sub(_format_minutes, plain).strip()


def _format_minutes(found: re.Match[str]) -> str:
    return f"{found[1]}'{found[2]}\"" if found[2] else f"{found[1]}'"


def _parse_normalized(text: str) -> Angle | None:
    body = text.strip(" ,")
    axis: Axis | None = None
    sign = 1.0
    for letter, rest in _split_axis_letters(body):
        if axis is not None and axis != _AXES[letter]:
            return None
        axis = _AXES[letter]
        sign = -1.0 if letter in "SW" else sign
        body = rest
    if body[:1] in ("+", "-"):
        if body[0] == "-" and sign < 0:
            return None
        sign = -1.0 if body[0] == "-" else sign
        body = body[1:].lstrip()
    value = parse_size(body)
    return None if value is None else Angle(sign * value, axis)


def _split_axis_letters(body: str) -> list[tuple[str, str]]:
    """Return axis letters at the beginning and the end, each with what is left without it."""
    found = []
    while body[:1] in _AXES and body:
        letter, body = body[0], body[1:].lstrip(" :=,")
        found.append((letter, body))
    while body[-1:] in _AXES and body:
        letter, body = body[-1], body[:-1].rstrip()
        found.append((letter, body))
    return found


def parse_size(body: str) -> float | None:
    if _PLAIN.fullmatch(body):
        return float(body)
    if body.endswith("°") and _PLAIN.fullmatch(body[:-1].rstrip()):
        return float(body[:-1])
    if _THOUSANDS.fullmatch(body) and (body.count(",") > 1 or "." in body):
        return float(body.replace(",", ""))
    if _DECIMAL_COMMA.fullmatch(body.removesuffix("°").rstrip()):
        return float(body.removesuffix("°").replace(",", "."))
    found = _PARTS.fullmatch(body) or _DOTTED.fullmatch(body)
    return None if found is None else _to_degrees(found["deg"], found["min"], found["sec"])


def _to_degrees(degrees: str, minutes: str | None, seconds: str | None) -> float | None:
    whole, part, rest = (float(text.replace(",", ".")) if text else 0.0 for text in (degrees, minutes, seconds))
    # Only the last of the three may have a fraction, and none may run over.
    broken = (minutes and whole % 1) or (seconds and part % 1)
    if broken or part >= 60 or rest >= 60:
        return None
    return whole + part / 60 + rest / 3600

"""Angles and pairs of coordinates as people write them, one cell at a time.

Only text with one meaning is parsed; the result of other text is None. `app.ingest.values.coordinates` parses plain
numbers as columns and sends only the other rows to this module.
"""

import re
import unicodedata
from typing import Final, Literal, NamedTuple

Axis = Literal["lon", "lat"]

# Characters that look like the signs of degrees, minutes and seconds, and wide punctuation, as ASCII or °.
_SIGNS: Final = str.maketrans(
    {
        **dict.fromkeys("°º˚∘℃度", "°"),
        **dict.fromkeys("′’‘´ʹ＇`分", "'"),
        **dict.fromkeys("″”“ʺ＂秒〃", '"'),
        **dict.fromkeys("－−–—﹣‐‑", "-"),
        "，": ",",
        "、": ";",
        "；": ";",
        "：": ":",
        "。": ".",
        "．": ".",
    }
)
_LETTERS: Final = re.compile(r"(\d)\s*D\s*(?=[\d\s]|$)")
_MINUTES: Final = re.compile(r"(°\s*\d+(?:\.\d+)?)\s*M\s*(?:(\d+(?:\.\d+)?)\s*S)?")
# A bare X or Y names no axis: surveyors in China call the northing X.
_AXIS_WORDS: Final = (
    ("东经", "E"),
    ("西经", "W"),
    ("北纬", "N"),
    ("南纬", "S"),
    ("東經", "E"),
    ("西經", "W"),
    ("北緯", "N"),
    ("南緯", "S"),
    ("EAST", "E"),
    ("WEST", "W"),
    ("NORTH", "N"),
    ("SOUTH", "S"),
    ("LONGITUDE", "Λ"),
    ("LATITUDE", "Φ"),
    ("LONG", "Λ"),
    ("LNG", "Λ"),
    ("LON", "Λ"),
    ("LAT", "Φ"),
    ("经°", "Λ"),
    ("纬°", "Φ"),
    ("經°", "Λ"),
    ("緯°", "Φ"),
    ("东", "E"),
    ("西", "W"),
    ("北", "N"),
    ("南", "S"),
    ("X:", ""),
    ("X=", ""),
    ("Y:", ""),
    ("Y=", ""),
)
_AXES: Final[dict[str, Axis]] = {
    "E": "lon",
    "W": "lon",
    "Λ": "lon",
    "N": "lat",
    "S": "lat",
    "Φ": "lat",
}
_DECIMAL: Final = re.compile(r"\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?")
_DECIMAL_COMMA: Final = re.compile(r"\d+,\d+")
_THOUSANDS: Final = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_SEXAGESIMAL: Final = re.compile(
    r"(?P<deg>\d+(?:[.,]\d+)?)\s*[°\s:-]\s*"
    r"(?:(?P<min>\d+(?:[.,]\d+)?)\s*(?:$|['\s:-])\s*(?:(?P<sec>\d+(?:[.,]\d+)?)\s*\"?)?)?"
)
_DOTTED: Final = re.compile(r"(?P<deg>\d+)\.(?P<min>\d+)\.(?P<sec>\d+(?:,\d+)?)")
_SEPARATORS: Final = (re.compile(r"\s*[;/|\n]\s*"), re.compile(r"\s*,\s+"), re.compile(r"\s*,\s*"))
_AFTER_LETTER: Final = re.compile(r"(?<=[NSEW])\s*,?\s*(?=[\d+-])")
_BEFORE_LETTER: Final = re.compile(r"(?<=[\d°'\"\s])\s*,?\s*(?=[NSEWΛΦ])")


class Angle(NamedTuple):
    """A number of degrees or metres, and the axis that its text names."""

    value: float
    axis: Axis | None


class Pair(NamedTuple):
    """Two angles in the order in which they are written."""

    first: Angle
    second: Angle


def parse_angle(text: str) -> Angle | None:
    """Return the number in a cell: decimal, or degrees with minutes and seconds.

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
    """Return the two numbers of a cell with both coordinates.

    Examples
    --------
    >>> parse_pair("35.2, 113.5")
    Pair(first=Angle(value=35.2, axis=None), second=Angle(value=113.5, axis=None))
    >>> parse_pair("N35°30' E113°15'").second
    Angle(value=113.25, axis='lon')
    """
    normalized = normalize_signs(text).strip("()[]{}").strip()
    for separator in _SEPARATORS:
        if pair := _parse_both(separator.split(normalized)):
            return pair
    for edge in (_AFTER_LETTER, _BEFORE_LETTER):
        if pair := _parse_both([piece for piece in edge.split(normalized) if piece.strip(" ,:=")]):
            return pair
    words = normalized.split()
    if len(words) % 2 == 0:
        half = len(words) // 2
        return _parse_both([" ".join(words[:half]), " ".join(words[half:])])
    return None


def _parse_both(texts: list[str]) -> Pair | None:
    if len(texts) != 2:
        return None
    first, second = _parse_normalized(texts[0]), _parse_normalized(texts[1])
    if first is None or second is None:
        return None
    if first.axis is not None and first.axis == second.axis:
        return None
    return Pair(first, second)


def normalize_signs(text: str) -> str:
    """Return text with ASCII punctuation, and one letter for each word that names an axis."""
    text = text.translate(_SIGNS)
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    text = text.replace("''", '"').upper()
    for word, sign in _AXIS_WORDS:
        text = text.replace(word, sign)
    text = _LETTERS.sub(r"\1°", text)
    return _MINUTES.sub(_format_minutes, text).strip()


def _format_minutes(match: re.Match[str]) -> str:
    return f"{match[1]}'{match[2]}\"" if match[2] else f"{match[1]}'"


def _parse_normalized(text: str) -> Angle | None:
    size = text.strip(" ,")
    axis: Axis | None = None
    sign = 1.0
    for letter, remaining in _split_axis_letters(size):
        if axis is not None and axis != _AXES[letter]:
            return None
        axis = _AXES[letter]
        sign = -1.0 if letter in "SW" else sign
        size = remaining
    if size[:1] in ("+", "-"):
        if size[0] == "-" and sign < 0:
            return None
        sign = -1.0 if size[0] == "-" else sign
        size = size[1:].lstrip()
    value = parse_size(size)
    return None if value is None else Angle(sign * value, axis)


def _split_axis_letters(text: str) -> list[tuple[str, str]]:
    """Return the axis letters at both ends of a text, each with the remaining text."""
    letters = []
    while text[:1] in _AXES and text:
        letter, text = text[0], text[1:].lstrip(" :=,")
        letters.append((letter, text))
    while text[-1:] in _AXES and text:
        letter, text = text[-1], text[:-1].rstrip()
        letters.append((letter, text))
    return letters


def parse_size(text: str) -> float | None:
    """Return a number without sign and axis."""
    if _DECIMAL.fullmatch(text):
        return float(text)
    if text.endswith("°") and _DECIMAL.fullmatch(text[:-1].rstrip()):
        return float(text[:-1])
    if _THOUSANDS.fullmatch(text) and (text.count(",") > 1 or "." in text):
        return float(text.replace(",", ""))
    if _DECIMAL_COMMA.fullmatch(text.removesuffix("°").rstrip()):
        return float(text.removesuffix("°").replace(",", "."))
    match = _SEXAGESIMAL.fullmatch(text) or _DOTTED.fullmatch(text)
    return None if match is None else _to_degrees(match["deg"], match["min"], match["sec"])


def _to_degrees(degrees_text: str, minutes_text: str | None, seconds_text: str | None) -> float | None:
    texts = (degrees_text, minutes_text, seconds_text)
    degrees, minutes, seconds = (float(text.replace(",", ".")) if text else 0.0 for text in texts)
    # Only the last of the three may have a fraction, and minutes and seconds are less than 60.
    has_inner_fraction = (minutes_text and degrees % 1) or (seconds_text and minutes % 1)
    if has_inner_fraction or minutes >= 60 or seconds >= 60:
        return None
    return degrees + minutes / 60 + seconds / 3600

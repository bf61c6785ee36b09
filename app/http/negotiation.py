"""Content negotiation (RFC 9110, section 12.5): media types and languages by their weights."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final, Literal

from werkzeug.http import parse_accept_header

JSON: Final = "application/json"
GEOJSON: Final = "application/geo+json"
_MAX_HEADER_LENGTH: Final = 1000


def parse_weights(header: str | None) -> Mapping[str, float]:
    """Return the weight of each media range, or language range, of a header; names are in lower case.

    >>> dict(parse_weights("text/html, */*;q=0.1"))
    {'*/*': 0.1, 'text/html': 1}
    """
    return _parse_weights((header or "")[:_MAX_HEADER_LENGTH])


@lru_cache(maxsize=1000)
def _parse_weights(header: str) -> Mapping[str, float]:
    # The parser gives the highest weight of a repeated range first.
    ranges = reversed(list(parse_accept_header(header)))
    return {name.lower().replace("; ", ";"): weight for name, weight in ranges}


def choose_media_type(accept: str | None, offered: tuple[str, ...]) -> str | None:
    """Return the media type of the highest weight, the first of several; None when none is accepted."""
    return _choose_media_type((accept or "*/*")[:_MAX_HEADER_LENGTH], offered)


@lru_cache(maxsize=1000)
def _choose_media_type(accept: str, offered: tuple[str, ...]) -> str | None:
    weights = _parse_weights(accept)
    best = max(offered, key=lambda media_type: _find_weight(media_type, weights))
    return best if _find_weight(best, weights) > 0 else None


def _find_weight(media_type: str, weights: Mapping[str, float]) -> float:
    """Return the weight of the most specific media range that includes a media type."""
    main_type = media_type.partition("/")[0]
    ranges = (media_type, media_type.partition(";")[0], f"{main_type}/*", "*/*")
    return next((weights[name] for name in ranges if name in weights), 0.0)


def prefers_geojson(accept: str | None) -> bool:
    """Return whether a client names GeoJSON, and names JSON with no higher weight."""
    weights = parse_weights(accept)
    return weights.get(GEOJSON, 0.0) >= max(weights.get(JSON, 0.0), 0.001)


def choose_language(accept_language: str | None) -> Literal["zh", "en"]:
    """Return Chinese when a client gives it a higher weight than English.

    >>> choose_language("zh-CN,zh;q=0.9,en;q=0.8"), choose_language(None)
    ('zh', 'en')
    """
    best = {"zh": 0.0, "en": 0.0}
    for name, weight in parse_weights(accept_language).items():
        language = name.partition("-")[0]
        if language in best:
            best[language] = max(best[language], weight)
    return "zh" if best["zh"] > best["en"] else "en"

"""Names of fields and columns that the registry refuses: people, media, logins; the table is ``forbidden_names.toml``.

One table serves the members of JSON and the headings of files. Only names are read, values are not.
"""

import re
import tomllib
import unicodedata
from pathlib import Path
from typing import Final

from app.ingest.values.text import to_simplified


def is_forbidden_name(name: str) -> bool:
    """Return whether a field or column of this name is refused, whatever its values are.

    >>> [is_forbidden_name(name) for name in ("Password", "联系人电话", "plateNo", "过车数量", "ImageSensor")]
    [True, True, True, False, False]
    """
    plain = _to_plain_form(name)
    if plain in _HARMLESS_NAMES:
        return False
    if plain in _INITIALS:
        return True
    for part in _HARMLESS_PARTS:
        plain = plain.replace(part, "")
    return any(part in plain for part in _PARTS)


def _to_plain_form(name: str) -> str:
    return to_simplified(re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", name).lower()))


_TABLE: Final[dict[str, str]] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
FORBIDDEN_PARTS: Final = tuple(_TABLE["parts"].split())
"""Parts of refused names, as written."""
_PARTS: Final = tuple(_to_plain_form(part) for part in FORBIDDEN_PARTS)
_INITIALS: Final = frozenset(_TABLE["initials"].split())
_HARMLESS_PARTS: Final = tuple(_TABLE["harmless_parts"].split())
_HARMLESS_NAMES: Final = frozenset(_TABLE["harmless_names"].split())

"""Texts for people in English and Chinese, from one catalogue.

A text is written in the code as an English template with named parameters. Its Chinese is in
``app/locale/zh/LC_MESSAGES/messages.po``, found by the template. A test holds that every template has a
translation and that both use the same parameters.
"""

from functools import cache
from pathlib import Path
from typing import Any, Final, Literal, Self

from babel.messages.pofile import read_po

Language = Literal["en", "zh"]

_CATALOGUE: Final = Path(__file__).parent / "locale" / "zh" / "LC_MESSAGES" / "messages.po"


class Message(str):
    """A text in English that knows its template and parameters, so that it can be translated.

    A parameter may be a message itself; it is translated with the whole.

    >>> text = Message("Unknown format {format!r}. Formats: {known}.", format="dwg", known="csv, xlsx")
    >>> text, text.parameters["format"]
    ("Unknown format 'dwg'. Formats: csv, xlsx.", 'dwg')
    """

    template: str
    parameters: dict[str, Any]

    def __new__(cls, template: str, /, **parameters: Any) -> Self:
        """Return the English text; raise KeyError if a parameter of the template is missing."""
        text = super().__new__(cls, template.format(**parameters))
        text.template, text.parameters = template, parameters
        return text


def translate_message(text: str, language: Language) -> str:
    """Return a text in a language; a text that is not a message, or has no translation, stays English.

    >>> translate_message("plain text", "zh")
    'plain text'
    """
    if language == "en" or not isinstance(text, Message):
        return text
    template = load_translations().get(text.template)
    if template is None:
        return text
    return template.format(**{name: _translate_parameter(value) for name, value in text.parameters.items()})


def _translate_parameter(value: Any) -> Any:
    return translate_message(value, "zh") if isinstance(value, str) else value


@cache
def load_translations() -> dict[str, str]:
    """Return the Chinese templates by their English templates."""
    with _CATALOGUE.open("rb") as file:
        catalogue = read_po(file)
    return {str(entry.id): str(entry.string) for entry in catalogue if entry.id and entry.string}

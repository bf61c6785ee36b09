"""What words and codes in cells mean, by topic; the table is ``code_lists.toml``.

A topic has words that hold in every source, and one code list for each source, of which one is in force for a column:
the same digit is another direction in GB/T 28181 than in GA/T 1400. Nothing is guessed: a code that the list in force
does not have is an error. What a sender or a profile says of a cell (`values`) comes before both.
"""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from app.messages import Message

ALL_ROUND: Final = "all round"
"""Value of a direction that covers all directions: stored as no azimuth."""


@dataclass(frozen=True, eq=False)
class Topic:
    """The words and code lists of one topic."""

    name: str
    fields: tuple[str, ...] = ()
    words: Mapping[str, Any] = field(default_factory=dict)
    """Word in plain form to value."""
    lists: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Name of the list to its codes, without leading zeros, and their values."""
    default: str | None = None
    """The list in force if neither the column, the options nor a profile name one."""
    disputed_codes: frozenset[str] = frozenset()
    """Codes that mean different things in the disputed lists."""
    disputed_lists: frozenset[str] = frozenset()

    def build_table(self, code_list: str | None = None) -> dict[str, Any]:
        """Return cell text in plain form to value, with one list in force.

        >>> TOPICS["direction"].build_table("gat1400")["7"], TOPICS["direction"].build_table("gbt28181")["07"]
        (135, 225)
        """
        codes = self.find_codes(code_list)
        padded = {code.zfill(width): value for code, value in codes.items() for width in (2, 3)}
        return {**self.words, **padded, **codes}

    def find_codes(self, code_list: str | None) -> Mapping[str, Any]:
        """Return the codes of a list, else of the default list."""
        return self.lists.get(code_list or self.default or "", {})


def find_topic(field_name: str, form: str = "") -> Topic | None:
    """Return the topic of a field, None if its cells have neither words nor codes."""
    return _BY_FIELD.get(field_name) or (TOPICS["boolean"] if form == "boolean" else None)


def find_lists(name: str) -> Iterator[str]:
    """Yield the names of the code lists of a field or a topic."""
    for topic in (TOPICS.get(name), _BY_FIELD.get(name)):
        if topic is not None:
            yield from topic.lists


def describe_unknown_list(name: str, code_list: str) -> Message:
    """Return the message that a field or a topic does not have a code list."""
    known = ", ".join(dict.fromkeys(find_lists(name)))
    if not known:
        return Message("{name} has no code lists, so {code_list!r} is unknown", name=name, code_list=code_list)
    return Message(
        "unknown code list {code_list!r} for {name}. Lists: {known}", name=name, code_list=code_list, known=known
    )


def _load_topics() -> dict[str, Topic]:
    tables = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
    topics: dict[str, Topic] = {}
    for name, table in tables.items():
        words = _read_words(table)
        if name == "direction":
            words = _add_direction_words(words)
        if "includes" in table:
            words = _read_words(tables[table["includes"]]) | words
        lists = {
            list_name: {code: None if value == "" else value for code, value in codes.items()}
            for list_name, codes in table.get("lists", {}).items()
        }
        disputed = table.get("disagree", {"codes": "", "lists": ()})
        topics[name] = Topic(
            name,
            tuple(table.get("fields", ())),
            words,
            lists,
            table.get("default"),
            frozenset(disputed["codes"].split()),
            frozenset(disputed["lists"]),
        )
    return topics


def _read_words(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return word to value of one topic of the file."""
    value_type = table.get("value_type")
    words: dict[str, Any] = {}
    for text, listed in table.get("words", {}).items():
        value: Any = text
        if value_type == "boolean":
            value = text == "true"
        elif value_type == "integer" and text.isdigit():
            value = int(text)
        words |= dict.fromkeys(listed.split(), value)
    return words


_COMPASS: Final = ("n", "nne", "ne", "ene", "e", "ese", "se", "sse", "s", "ssw", "sw", "wsw", "w", "wnw", "nw", "nnw")


def _add_direction_words(words: Mapping[str, Any]) -> dict[str, Any]:
    """Return the words of directions with the compass points and the Chinese forms of them.

    An arrow is read as 向. 东西 and 东-西 are an axis, not a direction.
    """
    chinese = {word: value for word, value in words.items() if value != ALL_ROUND and not word.isascii()}
    travel = {
        f"{start}{verb}{end}": degrees
        for start, opposite in chinese.items()
        for end, degrees in chinese.items()
        if (opposite + 180) % 360 == degrees
        for verb in "向往至到"
    }
    built: dict[str, Any] = {point: index * 22.5 for index, point in enumerate(_COMPASS)}
    built |= {word: value for word, value in words.items() if value != ALL_ROUND}
    for word, degrees in chinese.items():
        if len(word) == 1:
            built |= {f"正{word}{ending}": degrees for ending in ("", "向", "方向", "方")}
        built |= {f"{word}{ending}": degrees for ending in ("向", "方向", "侧")}
        built |= {f"{start}{word}": degrees for start in "朝向往"}
    built |= travel
    built |= {f"{start}{word}": degrees for start in "由自从" for word, degrees in travel.items()}
    return built | {word: value for word, value in words.items() if value == ALL_ROUND}


TOPICS: Final[Mapping[str, Topic]] = _load_topics()
_BY_FIELD: Final = {field_name: topic for topic in TOPICS.values() for field_name in topic.fields}

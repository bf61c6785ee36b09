"""The page of documentation that lists what is recognised, made from the code.

``python -m app.intake.documented`` writes it to standard output; a test holds the page to it.
"""

import sys
from collections.abc import Iterator
from typing import Final

from app.intake import aliases, codes, faults
from app.intake.headers import known_names
from app.intake.options import BUILT_IN
from app.intake.targets import kind_of, names
from app.schemas.titles import title

_HEAD: Final = """# What an import recognises

Made from the code by `python -m app.intake.documented`; a test holds this page to it.

A heading is compared in its plain form: fullwidth letters narrowed, lower case, without spaces, marks,
and the unit or datum beside it (`经度(度)`, `Range (km)`, `安装高度/米`, `经度(GCJ-02)`). The sender's mapping
comes first, then the profile, then the field's own name and title, then the names below. Two headings
for one field are reported and, for a code or a coordinate, refused. Headings that are not recognised are
listed in the report and not read. Headings that tell of people, images, plates or logins refuse the file
unless `drop_columns` (or a mapping to `null`) names them.
"""


def page() -> str:
    """Return the page."""
    return "\n".join([_HEAD, *_kinds(), *_undecided(), *_profiles(), *_lists(), *_faults()])


def _kinds() -> Iterator[str]:
    for name in names():
        kind = kind_of(name)
        yield f"## {title_of(name)}\n"
        yield "| field | 中文 | also recognised |"
        yield "|---|---|---|"
        table = known_names(name)
        for field in [*kind.fields, *kind.helpers]:
            found = [
                f"{word}{_list_mark(target)}"
                for target in sorted(table)
                if target.partition("@")[0] == field
                for word in sorted(table[target])
            ]
            need = " (needed)" if (known := kind.fields.get(field)) and known.required else ""
            yield f"| `{field}`{need} | {title(field, 'zh')} | {' '.join(found)} |"
        yield ""


def title_of(kind: str) -> str:
    """Return the heading of a kind's part."""
    return kind.replace("_", " ").capitalize()


def _list_mark(target: str) -> str:
    code_list = target.partition("@")[2]
    return f"@{code_list}" if code_list else ""


def _undecided() -> Iterator[str]:
    yield "## Headings that the cells decide\n"
    yield "Read as the one field whose words all sampled cells are; digits decide nothing.\n"
    yield "| heading | may be |"
    yield "|---|---|"
    for name, targets in aliases.UNDECIDED.items():
        yield f"| {name} | {', '.join(f'`{target}`' for target in targets)} |"
    yield ""
    yield "## Understood, and not kept\n"
    told = [f"`{name}` ({why})" for name, why in aliases.KNOWN_BUT_NOT_KEPT.items()]
    yield "; ".join(told) + ".\n"


def _profiles() -> Iterator[str]:
    yield "## Built-in profiles\n"
    for profile in BUILT_IN.values():
        columns = ", ".join(f"`{name}` → `{target}`" for name, target in profile.columns.items())
        yield f"**`{profile.name}`** {profile.title_zh}: {profile.title_en}. {columns or 'No columns of its own.'}\n"


def _lists() -> Iterator[str]:
    yield "## Code lists\n"
    yield "In force: the list the column names (`field@list`), else `code_lists`, else the profile's, else the first"
    yield "one marked *. Leading zeros do not matter.\n"
    yield "| topic | list | codes |"
    yield "|---|---|---|"
    for topic, listed in codes.LISTS.items():
        for name, table in listed.items():
            mark = " *" if codes.DEFAULTS.get(topic) == name else ""
            told = ", ".join(f"{code} = {value}" for code, value in table.items())
            yield f"| {topic} | `{name}`{mark} | {told} |"
    yield ""


def _faults() -> Iterator[str]:
    yield "## What can be wrong with a row\n"
    yield "| code | meaning |"
    yield "|---|---|"
    for code, meaning in faults.ROW_CODES.items():
        yield f"| `{code}` | {meaning} |"
    yield ""


if __name__ == "__main__":
    sys.stdout.write(page())

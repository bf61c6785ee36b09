"""Tables to fill in: headings, two example rows, and what each column takes, in Chinese and English.

Rows of text only; whoever writes a workbook writes these. The examples import as they stand.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from app.ingest.columns import headings
from app.ingest.columns.field_specs import LANES, FieldSpec, RecordSpec
from app.ingest.columns.headings import find_known_names
from app.ingest.columns.options import BUILT_IN
from app.ingest.validation import issues
from app.ingest.values.code_lists import TOPICS, find_topic
from app.models.titles import build_heading, find_title

Language = Literal["zh", "en"]


@dataclass(frozen=True)
class Template:
    """A table to fill in."""

    kind: str
    language: Language
    headings: tuple[str, ...]
    examples: tuple[tuple[str, ...], ...]
    columns: tuple[tuple[str, str, str, str], ...]
    """For each column: heading, field, whether it is needed, what it takes."""
    columns_heading: tuple[str, str, str, str]


_EXAMPLES: Final[dict[str, tuple[str, str]]] = {
    "jurisdiction": ("410800", "410800"), "division_code": ("410802", "410811"),
    "name_zh": ("解放路与民主路口东", "人民路卡口"), "name_en": ("Jiefang Road, east", "Renmin Road"),
    "address": ("解放路与民主路交叉口东侧", "人民路 18 号"), "category": ("core_junction", "city_road"),
    "road_name": ("解放路", "人民路"), "inbound_bearing_deg": ("90", "182.5"),
    "requirements": ('[{"function":"vehicle","directions":["inbound"],"working":1}]', "face"),
    "owner_unit": ("市公安局技术支队", "市交通运输局"), "owner_reference": ("A-0001", "A-0002"),
    "maintenance_unit": ("某运维公司", "某运维公司"), "retention_days": ("30", "90"),
    "sign_present": ("yes", "no"), "lifecycle": ("in_use", "repair"), "manufacturer": ("甲公司", "乙公司"),
    "model": ("X-100", "Y-200"), "installed_on": ("2024-03-05", "2023-11-20"),
    "kind": ("vehicle", "face"), "tollgate_category": ("30", "31"), "tollgate_usage": ("80", "81"),
    "capture_side": ("front", "rear"), "lane": ("1", "1"), "lane_direction": ("inbound", "outbound"),
    "lane_bearing_deg": ("90", "270"), "lane_max_speed_kmh": ("60", "80"),
    "functions": ("vehicle/structured", "face"), "structure": ("fixed", "dome"),
    "direction": ("inbound", "both"), "azimuth_deg": ("90", "182.5"), "opening_deg": ("45", "60"),
    "range_m": ("30", "25"), "near_m": ("3", "2"), "horizontal_pixels": ("1920", "2560"),
    "vertical_pixels": ("1080", "1440"), "mount_height_m": ("6.5", "5"), "tilt_deg": ("-15", "-10"),
    "indoor": ("no", "no"), "point_class": ("1", "2"), "state": ("online", "offline"),
    "reported_at": ("2024-03-05T08:30:00+08:00", "2024-03-05T08:31:00+08:00"),
    "road_class": ("urban_arterial", "national"), "road_number": ("", "G327"), "oneway": ("no", "forward"),
    "layer": ("0", "1"), "bridge": ("no", "yes"), "tunnel": ("no", "no"), "height_m": ("24", "9.5"),
    "levels": ("8", "3"), "level": ("core", "urban"), "tolerance_m": ("5", "5"),
    "lon": ("113.2418", "113.2533"), "lat": ("35.2159", "35.2207"),
}  # fmt: skip
_CODES: Final[dict[str, tuple[str, str]]] = {
    "camera": ("41080200001321000001", "41080200001321000002"),
    "checkpoint": ("41080205001211000001", "41080205001211000002"),
    "state": ("41080200001321000001", "41080200001321000002"),
    "control_point": ("KP-0001", "KP-0002"), "road": ("R-0001", "R-0002"), "building": ("B-0001", "B-0002"),
}  # fmt: skip
_SHAPES: Final[dict[str, tuple[str, str]]] = {
    "LineString": (
        "LINESTRING (113.2418 35.2159, 113.2533 35.2207)", "LINESTRING (113.25 35.22, 113.26 35.23)",
    ),
    "Polygon": (
        "POLYGON ((113.24 35.21, 113.26 35.21, 113.26 35.23, 113.24 35.23, 113.24 35.21))",
        "POLYGON ((113.20 35.18, 113.30 35.18, 113.30 35.26, 113.20 35.26, 113.20 35.18))",
    ),
}  # fmt: skip
_CHINESE: Final[dict[str, str]] = {
    "yes": "是", "no": "否", "face": "人脸", "vehicle": "车辆", "vehicle/structured": "车辆、结构化", "fixed": "枪机",
    "dome": "球机", "inbound": "进城", "outbound": "出城", "both": "双向", "in_use": "在用", "repair": "维修",
    "online": "在线", "offline": "离线", "front": "车头", "rear": "车尾", "core_junction": "重点路口",
    "city_road": "出入市境道路", "urban_arterial": "主干路", "national": "国道", "forward": "单向",
    "core": "主城区", "urban": "环城",
}  # fmt: skip


def build_template(spec: RecordSpec, language: Language = "zh") -> Template:
    """Return the table to fill in for a kind of record."""
    fields = _columns(spec)
    zh = language == "zh"
    return Template(
        spec.name,
        language,
        tuple(build_heading(field.name, language) for field in fields),
        tuple(tuple(_example(spec, field, index, zh) for field in fields) for index in (0, 1)),
        tuple((build_heading(f.name, language), f.name, _need(spec, f, zh), _takes(f, zh)) for f in fields),
        ("列", "字段", "必填", "说明") if zh else ("Column", "Field", "Needed", "What it takes"),
    )


def render_csv(spec: RecordSpec, language: Language = "zh") -> str:
    """Return the headings and examples as CSV."""
    found = build_template(spec, language)
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(found.headings)
    writer.writerows(found.examples)
    return text.getvalue()


def _columns(kind: RecordSpec) -> list[FieldSpec]:
    """Return what a table of a kind has: its fields, the place, one lane."""
    fields = [field for name, field in kind.fields.items() if name != LANES]
    needed = ["code", "jurisdiction", "name_zh", "name_en"]
    fields.sort(key=lambda field: needed.index(field.name) if field.name in needed else len(needed))
    if "Point" in kind.shapes:
        place = [kind.helpers["lon"], kind.helpers["lat"]]
    else:
        place = [kind.helpers["geometry"]] if kind.shapes else []
    lanes = [field for name, field in kind.helpers.items() if name.startswith("lane")]
    head = [field for field in fields if field.name in needed]
    return [*head, *place, *(field for field in fields if field.name not in needed), *lanes]


def _example(kind: RecordSpec, field: FieldSpec, index: int, zh: bool) -> str:
    if field.name == "code":
        return _CODES.get(kind.name, ("C-0001", "C-0002"))[index]
    if field.name == "geometry":
        return _SHAPES["LineString" if "LineString" in kind.shapes else "Polygon"][index]
    if field.name == "kind" and kind.name == "state":
        return "camera"
    text = _EXAMPLES.get(field.name, ("", ""))[index]
    return _CHINESE.get(text, text) if zh else text


def _need(kind: RecordSpec, field: FieldSpec, zh: bool) -> str:
    needed = field.required or field.name in ("lon", "lat", "geometry")
    if zh:
        return "是" if needed else "否"
    return "yes" if needed else "no"


def _takes(field: FieldSpec, zh: bool) -> str:
    texts = [find_title(field.name, "zh") if zh else field.description.rstrip(".")]
    if words := _spoken(field, zh):
        texts.append(("取值：" if zh else "one of ") + words)
    if bounds := _bounds(field):
        texts.append(("范围：" if zh else "range ") + bounds)
    if field.form in _FORMS:
        texts.append(_FORMS[field.form][0 if zh else 1])
    return ("；" if zh else "; ").join(texts)


_FORMS: Final[dict[str, tuple[str, str]]] = {
    "day": ("日期，如 2024-03-05", "a day such as 2024-03-05"),
    "instant": (
        "时间，如 2024-03-05 08:30:00；未写时区按东八区",
        "a time; without an offset it is UTC+8",
    ),
    "boolean": ("是/否", "yes or no"),
    "words": ("可多个，用“/”或“、”分隔", "several are divided by /"),
    "json": ("JSON", "JSON"),
    "code": (
        "按文本填写，20 位编码不得变成科学计数法",
        "as text: twenty digits must not become 4.1E+19",
    ),
}


def _spoken(field: FieldSpec, zh: bool) -> str:
    if not zh:
        return ", ".join(str(word) for word in field.words)
    topic = find_topic(field.name, field.form)
    known: dict[Any, str] = {}
    for spoken, value in ({} if topic is None else topic.words).items():
        if not spoken.isascii():
            known.setdefault(str(value), spoken)
    return "、".join(f"{known[str(word)]}({word})" if str(word) in known else str(word) for word in field.words)


def _bounds(field: FieldSpec) -> str:
    low = field.least if field.above is None else field.above
    high = field.most if field.below is None else field.below
    if low is None or high is None:
        return ""
    left, right = "(" if field.above is not None else "[", ")" if field.below is not None else "]"
    return f"{left}{low:g}, {high:g}{right}"


# The page of documentation that lists what is recognised, made from the code.
#
# ``python -m app.imports.record_specs`` writes it to standard output; a test compares the page with it.

_HEAD: Final = """# What an import recognises

Made from the code by `python -m app.imports.record_specs`; a test compares this page with it.

A heading is compared in its plain form: fullwidth letters narrowed, lower case, without spaces, marks,
its unit and its datum (`经度(度)`, `Range (km)`, `安装高度/米`, `经度(GCJ-02)`). The sender's mapping
comes first, then the profile, then the field's own name and title, then the names below. Two headings
for one field are reported and, for a code or a coordinate, refused. Headings that are not recognised are
listed in the report and not read. Headings that tell of people, images, plates or logins refuse the file
unless `drop_columns` (or a mapping to `null`) names them.
"""


def render_page(specs: Sequence[RecordSpec]) -> str:
    """Return the page."""
    return "\n".join([_HEAD, *_kinds(specs), *_undecided(), *_profiles(), *_lists(), *_faults()])


def _kinds(specs: Sequence[RecordSpec]) -> Iterator[str]:
    for kind in specs:
        yield f"## {to_title(kind.name)}\n"
        yield "| field | 中文 | also recognised |"
        yield "|---|---|---|"
        table = find_known_names(kind)
        for field in [*kind.fields, *kind.helpers]:
            found = [
                f"{word}{_list_mark(target)}"
                for target in sorted(table)
                if target.partition("@")[0] == field
                for word in sorted(table[target])
            ]
            need = " (needed)" if (known := kind.fields.get(field)) and known.required else ""
            yield f"| `{field}`{need} | {find_title(field, 'zh')} | {' '.join(found)} |"
        yield ""


def to_title(kind: str) -> str:
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
    for name, targets in headings.UNDECIDED.items():
        yield f"| {name} | {', '.join(f'`{target}`' for target in targets)} |"
    yield ""
    yield "## Understood, and not kept\n"
    texts = [f"`{name}` ({why})" for name, why in headings.KNOWN_BUT_NOT_KEPT.items()]
    yield "; ".join(texts) + ".\n"


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
    for topic in TOPICS.values():
        for name, table in topic.lists.items():
            mark = " *" if topic.default == name else ""
            texts = ", ".join(f"{code} = {value}" for code, value in table.items())
            yield f"| {topic.name} | `{name}`{mark} | {texts} |"
    yield ""


def _faults() -> Iterator[str]:
    yield "## What can be wrong with a row\n"
    yield "| code | meaning |"
    yield "|---|---|"
    for code, meaning in issues.ROW_CODES.items():
        yield f"| `{code}` | {meaning} |"
    yield ""

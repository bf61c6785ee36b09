"""What only the registry can tell is wrong with a row, in English and Chinese."""

from collections.abc import Sequence

from app.ingest.messages.chinese import in_chinese
from app.ingest.validation.issues import RowFault, shown
from app.records.drafts import MOST_LANES


def duplicate(row: int, code: str, first: int) -> RowFault:
    """Say that an earlier row has the code."""
    return RowFault(
        row, None, "code", code, "duplicate-code",
        f"code {code!r} stands in row {first} already",
        f"编码“{code}”在第 {first} 行已出现",
        "keep one of the two rows",
    )  # fmt: skip


def duplicate_reference(row: int, reference: str, first: int) -> RowFault:
    """Say that an earlier row has the owner's reference."""
    short = shown(reference)
    return RowFault(
        row, None, "owner_reference", short, "duplicate-reference",
        f"the owner's reference {short!r} stands in row {first} already",
        f"单位自编号“{short}”在第 {first} 行已出现",
        "keep one of the two rows",
    )  # fmt: skip


def no_jurisdiction(row: int, jurisdiction: str) -> RowFault:
    """Say that there is no such jurisdiction: absent and out of scope look the same."""
    return RowFault(
        row, None, "jurisdiction", jurisdiction, "unknown-reference",
        f"there is no jurisdiction {jurisdiction!r}",
        f"没有辖区“{jurisdiction}”",
        "register the jurisdiction first, or send with a key that may write it",
    )  # fmt: skip


def misplaced(row: int, code: str, message: str, turn: str) -> RowFault:
    """Say that a place lies outside the jurisdiction, or would lie inside with axes swapped.

    ``turn`` is what helps then.
    """
    swapped = code == "swapped-coordinates"
    return RowFault(
        row, None, "geometry", None, code, message,
        "经纬度写反了：对调后位于辖区内" if swapped else "坐标位于辖区范围之外",
        turn if swapped
        else "check the coordinates, their CRS or datum, and the extent of the jurisdiction",
    )  # fmt: skip


def taken(row: int, code: str, title: str) -> RowFault:
    """Say that the code is a record's of another jurisdiction."""
    return RowFault(
        row, None, "code", code, "already-exists",
        f"code {code!r} is taken by a {title} of another jurisdiction",
        f"编码“{code}”已被其他辖区使用",
        "codes are unique in the service; records do not move between jurisdictions",
    )  # fmt: skip


def exists(row: int, code: str) -> RowFault:
    """Say that create_only met a record."""
    return RowFault(
        row, None, "code", code, "already-exists",
        f"code {code!r} is registered already, and only new records are taken",
        f"编码“{code}”已登记，而本次只接受新增",
        "use mode=upsert to update it",
    )  # fmt: skip


Keys = tuple[str, str]
"""Owner unit and its reference."""


def _named(code: str, title: str, key: Keys | None) -> tuple[str, str]:
    """Return what is not registered, in both languages."""
    if key is None:
        return f"code {code!r}", f"编码“{code}”"
    unit, reference = shown(key[0]), shown(key[1])
    return f"a {title} {reference!r} of {unit!r}", f"“{unit}”自编号“{reference}”的记录"


def absent(row: int, code: str, title: str, key: Keys | None = None, *, whole: bool = True) -> RowFault:
    """Say that update_only met no record; ``whole``: the row could make one."""
    english, chinese = _named(code, title, key)
    return RowFault(
        row, None, "code" if key is None else "owner_reference", code if key is None else key[1],
        "not-found",
        f"{english} is not registered, and only known records are taken",
        f"{chinese}尚未登记，而本次只接受更新",
        "use mode=upsert to create it" if whole else "check the code, or register the record first",
    )  # fmt: skip


def incomplete(row: int, code: str, title: str, missing: Sequence[str], key: Keys | None = None) -> RowFault:
    """Say that a row without a record does not give what a new one needs."""
    english, chinese = _named(code, title, key)
    needs = ", ".join(missing)
    return RowFault(
        row, None, "code" if key is None else "owner_reference", code if key is None else key[1],
        "not-found",
        f"{english} is not registered, and the file does not give what a new {title} needs: {needs}",
        f"{chinese}尚未登记，而文件缺少新增所需的 {needs}",
        "check the code, register the record first, or map a column to each of these fields",
    )  # fmt: skip


def bad_lanes(row: int, lane: int | None) -> RowFault:
    """Say that lanes cannot be put among those of their checkpoint."""
    if lane is None:
        return RowFault(
            row, None, "lanes", None, "too-long",
            f"with these lanes the checkpoint would have more than {MOST_LANES}",
            f"并入后该卡口的车道超过 {MOST_LANES} 条",
        )  # fmt: skip
    return RowFault(
        row, None, "lane_direction", str(lane), "missing",
        f"lane {lane} is new to the checkpoint, and nothing gives its direction",
        f"第 {lane} 车道尚未登记，且未给出方向",
        "map a column to lane_direction",
    )  # fmt: skip


def pointing_nowhere(row: int, column: str, what: str, jurisdiction: str, code: str) -> RowFault:
    """Say that a reference names nothing in the jurisdiction."""
    return RowFault(
        row, None, column, code, "unknown-reference",
        f"there is no {what} {code!r} in {jurisdiction}",
        f"辖区 {jurisdiction} 中没有编码为“{code}”的记录（{column}）",
        f"import the {what} first, or leave the cell blank",
    )  # fmt: skip


def reference_taken(row: int, other: str) -> RowFault:
    """Say that the owner's reference is that of another record."""
    return RowFault(
        row, None, "owner_reference", None, "already-exists",
        f"the owner's reference is that of {other!r} already",
        f"该单位自编号已属于“{other}”",
        "use key=owner_reference to update that record",
    )  # fmt: skip


def ahead(row: int) -> RowFault:
    """Say that a report comes from the future."""
    return RowFault(
        row, None, "reported_at", None, "future-time",
        "the report comes from the future", "上报时间晚于当前时间",
        "check the clock and the time zone of the source",
    )  # fmt: skip


_BROKEN = {
    "dates-in-disorder": (
        "removed_on lies before a day of the device's life that is registered",
        "拆除日期早于已登记的安装或启用日期",
    ),
    "sees-nothing": (
        "the blind zone reaches to the range or reach that is registered",
        "近端盲区已达到或超过可视距离",
    ),
    "owner-missing": (
        "owner_reference needs an owner_unit: one of the two is registered without the other",
        "有单位自编号而没有产权单位：两者须同时登记",
    ),
    "view-elsewhere": (
        "what is drawn as seen lies too far from the camera, as one of the two is registered",
        "绘制的视域与摄像机位置相距过远（其中之一为已登记的值）",
    ),
    "level-and-scale": (
        "required_level and level_scale go together: one of the two would be left alone",
        "图像等级与等级标准须同时登记：其一将单独存在",
    ),
    "level-of-other-scale": (
        "the level is none of the scale, as one of the two is registered",
        "图像等级不属于该标准（其中之一为已登记的值）",
    ),
}


def broken(row: int, member: str, code: str) -> RowFault:
    """Say that a row and what stays registered contradict each other."""
    english, chinese = _BROKEN[code]
    return RowFault(row, None, member, None, code, english, chinese)


def unknown_device(row: int, kind: str, code: str) -> RowFault:
    """Say that a state speaks of no device."""
    return RowFault(
        row, None, "code", code, "unknown-reference",
        f"there is no {kind} {code!r}", f"没有编码为“{code}”的设备",
        "register the device first",
    )  # fmt: skip


def refused(row: int, field: str | None, code: str, message: str) -> RowFault:
    """Say what a service refused, in its own words."""
    return RowFault(row, None, field, None, code, message, in_chinese(message))


def still_referenced(code: str, table: str, dependent: str) -> RowFault:
    """Say that a record cannot be removed, because another points to it."""
    return RowFault(
        0, None, "code", code, "still-referenced",
        f"{code!r} is not in the file and is still pointed to by {table} {dependent!r}",
        f"“{code}”不在文件中，但仍被 {table}“{dependent}”引用，不能移除",
        "remove or change those first, or keep the row in the file",
    )  # fmt: skip

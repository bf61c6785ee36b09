"""Cells that must not be kept whatever their column is called.

Logins in addresses, pictures, structures with members that tell of people, images or logins; in free
text a password or a personal phone with the word for it beside. Names of columns are refused for the
whole file by the plan; this looks at what stands in the cells of columns with innocent names. Promises that such a cell is blanked before anybody sees it, and its row
refused. Costs a search for a few bytes in columns that have nothing of the kind.
"""

import re
import unicodedata
from collections.abc import Collection
from dataclasses import replace
from typing import Any, Final

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from app.ingest.readers.opening import Batch, FormatIssue
from app.ingest.values.text import to_simplified

# What the registry never holds, told by the names of fields and columns: people, media, logins.
#
# Names are read, values are not. One list serves JSON members and the column headers of files; a name
# that only sounds alike (an image sensor, a template) passes.

FORBIDDEN_WORDS: Final = (
    "password", "passwd", "passphrase", "pwd", "login", "logon", "username", "user_name", "user_id",
    "credential", "secret_key", "access_key", "photo", "image", "picture", "snapshot", "plate",
    "face_id", "face_library", "face_feature", "person", "id_card", "id_number", "mobile", "phone",
    "email", "e_mail", "contact", "recording", "watchlist", "watch_list", "blacklist", "vehicle_owner",
    "driver",
    "密码", "口令", "密钥", "账号", "帐号", "账户", "帐户", "用户名", "登录", "登陆",
    "照片", "图片", "相片", "截图", "抓拍图", "实景", "特写", "头像", "人脸图", "人脸库", "人脸特征",
    "姓名", "联系人", "联络人", "联络方式", "负责人", "责任人", "管理人", "维护人", "安装人",
    "填报人", "录入人", "审核人", "审批人", "经办人", "操作人", "值班人", "民警",
    "身份证", "身分证", "证件号", "电邮", "手机", "电话", "联系方式", "邮箱", "微信",
    "车牌", "号牌", "牌照", "车主", "驾驶员", "司机", "黑名单", "布控", "录像文件",
)  # fmt: skip
"""Parts of names that tell of people, media or logins: refused by name, not only as unknown."""

_PINYIN: Final = frozenset({"gldwlxfs", "lxfs", "lxdh", "lxr", "lxrdh", "sjhm", "sfzh", "hphm", "yhm", "dlm", "dlmm"})
"""Initials of the same in the archive's column names: contacts, phones, identity, plates, logins."""

_SOUND_ALIKE: Final = (
    "mobiledevice", "imagesensor", "imagingtype", "imagetype", "imageresolution", "imagesize",
    "template", "plateau", "personcheckpoint", "contactless", "recordingday", "recordingretention",
    "driverversion", "imageformat", "phonebooth", "phonebox", "mobilesignal", "mobilecoverage",
    "mobilenetwork", "photoelectric", "图片分辨率", "照片分辨率",
    "电话亭", "手机信号", "电话报警柱", "电话柱",
)  # fmt: skip
"""Names of equipment in which such a part occurs by accident."""


_ABILITIES: Final = frozenset(
    {
        "车牌识别", "号牌识别", "车牌识别功能", "号牌识别功能", "支持车牌识别", "是否支持车牌识别",
        "platereader", "platereaderfunction", "platerecognition", "supportsplaterecognition",
    }
)  # fmt: skip
"""Whole names that tell what a device can do, not what it has seen."""


def forbidden(name: str) -> bool:
    """Tell whether a field or column of this name is refused, whatever stands in it.

    >>> [forbidden(name) for name in ("Password", "联系人电话", "plateNo", "过车数量", "ImageSensor")]
    [True, True, True, False, False]
    """
    plain = _plain(name)
    if plain in _ABILITIES:
        return False
    if plain in _PINYIN:
        return True
    for word in _SOUND_ALIKE:
        plain = plain.replace(word, "")
    return any(word in plain for word in _WORDS)


def _plain(name: str) -> str:
    return to_simplified(re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", name).lower()))


_WORDS: Final = tuple(_plain(word) for word in FORBIDDEN_WORDS)


_LOGIN: Final = r"://[^/\s:@]*:[^/\s@]*@"
_PICTURE: Final = r"^(?:data:image/|/9j/4AA|iVBORw0KGgo)"
_PICTURES: Final = (b"data:image/", b"/9j/4AA", b"iVBORw0KGgo")
_SHORTEST: Final = 30
"""Bytes of a cell that can be a picture."""
_STRUCTURE: Final = r"^\s*(?:\{|\[\s*\{)"
_NAMES: Final = re.compile(r'"(\w*)"\s*:')
_OF_SHAPES: Final = frozenset({"type", "coordinates", "geometries", "crs", "properties", "name", "bbox"})
"""Members of a geometry as GeoJSON, which may be long."""
_MESSAGE: Final = "A cell holds a login or a picture; the registry holds equipment and places only. It is left out."
_TOLD: Final = (
    r"(?i)(?:密码|口令|password|passwd|pwd)\s*(?:[:：=为是]\s*\S|[A-Za-z0-9@#$!]{4})"
    r"|(?:电话|手机|联系|责任人|负责人|phone|mobile)[^0-9]{0,20}(?:86[- ]?)?1[3-9][0-9][- ]?[0-9]{4}[- ]?[0-9]{4}(?:[^0-9]|$)"
    r"|身份证[^0-9]{0,9}[0-9]{17}[0-9Xx]"
)
"""A password, the phone or the identity number of a person, with the word that says so beside it."""
_REDACTED_WORDS: Final = tuple(word.encode() for word in ("密", "口令", "话", "手机", "联系", "责", "证"))
"""Short, as they are looked for in every cell; the pattern decides."""
_ASCII: Final = {
    sign: tuple(word for part in parts for word in (part, part.upper()))
    for sign, parts in ((b"w", (b"assword", b"asswd", b"pwd", b"Pwd")), (b"o", (b"hone", b"obile")))
}
"""Letter that a column of numbers and codes has not -> words with it."""


def withheld(batch: Batch, dropped: Collection[str]) -> Batch:
    """Return a batch without such cells, and its rows told as at fault.

    Parameters
    ----------
    dropped : collection of str
        Columns that are not read anyhow.
    """
    columns, odd = dict(batch.columns), list(batch.issues)
    for name, column in batch.columns.items():
        if name in dropped or column.null_count == len(column):
            continue
        rows = _found(column)
        if not len(rows):
            continue
        mask = np.zeros(len(column), dtype=bool)
        mask[rows] = True
        columns[name] = pc.if_else(pa.array(mask), pa.scalar(None, pa.string()), column)
        odd += [FormatIssue(int(batch.row_numbers[at]), "forbidden-content", _MESSAGE, name, "error") for at in rows]
    return batch if len(odd) == len(batch.issues) else replace(batch, columns=columns, issues=tuple(odd))


def told(batch: Batch, dropped: Collection[str]) -> dict[int, list[str]]:
    """Blank the cells of a batch in which somebody has written of a login or a person, in place.

    Returns
    -------
    dict
        Place of the row to the columns of such cells.
    """
    found: dict[int, list[str]] = {}
    for name, column in batch.columns.items():
        if name in dropped or not _may_tell(column):
            continue
        rows = np.flatnonzero(_matching(column, _TOLD))
        for at in rows:
            found.setdefault(int(at), []).append(name)
        if len(rows):
            mask = np.zeros(len(column), dtype=bool)
            mask[rows] = True
            batch.columns[name] = pc.if_else(pa.array(mask), pa.scalar(None, pa.string()), column)
    return found


def _may_tell(column: Any) -> bool:
    """Look for the words in all cells at once: in nearly all columns there is none of them."""
    _, places, data = column.buffers()
    if data is None or places is None:
        return False
    offsets = np.frombuffer(places, np.int32, len(column) + 1, column.offset * 4)
    content = memoryview(data)[offsets[0] : offsets[-1]].tobytes()
    for sign, words in _ASCII.items():
        if (sign in content or sign.upper() in content) and any(word in content for word in words):
            return True
    return not content.isascii() and any(word in content for word in _REDACTED_WORDS)


def _found(column: Any) -> Any:
    """Return the places of cells that must not be kept; most columns cost a look for two signs."""
    found = np.zeros(len(column), dtype=bool)
    _, places, data = column.buffers()
    if data is None or places is None:
        return np.flatnonzero(found)
    offsets = np.frombuffer(places, np.int32, len(column) + 1, column.offset * 4)
    content = memoryview(data)[offsets[0] : offsets[-1]].tobytes()
    if b"@" in content and b"://" in content:
        found |= _matching(column, _LOGIN)
    if np.diff(offsets).max() >= _SHORTEST and any(sign in content for sign in _PICTURES):
        found |= _matching(column, _PICTURE)
    if b"{" in content:
        for at in np.flatnonzero(_matching(column, _STRUCTURE)):
            found[at] |= _tells(column[int(at)].as_py())
    return np.flatnonzero(found)


def _matching(column: Any, pattern: str) -> Any:
    told = pc.fill_null(pc.match_substring_regex(column, pattern), False)
    return np.asarray(told.to_numpy(zero_copy_only=False), dtype=bool)


def _tells(text: str) -> bool:
    """Tell whether JSON text has a member of a forbidden name; what is no JSON has no members."""
    if text.startswith('{"type"') and set(_NAMES.findall(text)) <= _OF_SHAPES:
        return False
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            if any(forbidden(str(name)) for name in one):
                return True
            left += one.values()
        elif isinstance(one, list):
            left += one
    return False

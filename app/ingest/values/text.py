"""Clean text from files: remove invisible characters, make unusual spaces plain, trim the ends.

A cell and a whole column are cleaned alike, and blank text becomes null. Fullwidth letters, quotes and punctuation stay
as they are. Also: traditional characters of headings as simplified ones.
"""

import re
import unicodedata
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

# Zero-width and joining marks, directional marks, soft hyphen, byte order mark, controls other than
# line feed; Unicode 15, general categories Cc and Cf.
_INVISIBLE: Final = (
    "\x00-\x08\x0b-\x1f\x7f\xad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff\ufff9-\ufffb"
)
# Characters that print as a gap: tab, next line, category Zs other than the space, line separators, and the
# Braille and Hangul blanks that editors insert.
_GAPS: Final = "\t\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u2800\u3000\u3164"
_REMOVED: Final = re.compile(f"[{_INVISIBLE}]")
_SPACED: Final = re.compile(f"[{_GAPS}]")
# Every text with an invisible character or an unusual gap has one of these byte sequences. They are grouped by their
# first byte, because most text has none of these bytes.
_SIGNS: Final = {
    b"\x7f": (b"\x7f",),
    b"\xc2": (b"\xc2\x85", b"\xc2\xa0", b"\xc2\xad"),
    b"\xd8": (b"\xd8\x9c",),
    b"\xe1": (b"\xe1\x9a\x80", b"\xe1\xa0\x8e"),
    b"\xe2": (b"\xe2\x80", b"\xe2\x81", b"\xe2\xa0\x80"),
    b"\xe3": (b"\xe3\x80\x80", b"\xe3\x85\xa4"),
    b"\xef": (b"\xef\xbb\xbf", b"\xef\xbf\xb9", b"\xef\xbf\xba", b"\xef\xbf\xbb"),
}


def clean_cell(text: str | None) -> str | None:
    r"""Return the cleaned text of one cell, None if it is blank.

    Examples
    --------
    >>> clean_cell(" 4108\u200b0000\u00a0 ")
    '41080000'
    >>> clean_cell("\u3000") is None
    True
    """
    if text is None:
        return None
    return _SPACED.sub(" ", _REMOVED.sub("", text)).strip(" \n") or None


def clean_column(array: pa.StringArray) -> pa.StringArray:
    """Return a column with every cell cleaned as by `clean_cell`."""
    values, offsets = _text_buffers(array)
    if has_unusual_characters(values):
        array = pc.replace_substring_regex(array, f"[{_to_re2(_INVISIBLE)}]", "")
        array = pc.replace_substring_regex(array, f"[{_to_re2(_GAPS)}]", " ")
        values, offsets = _text_buffers(array)
    if has_untrimmed_ends(values, offsets):
        array = pc.utf8_trim(array, characters=" \n")
        values, offsets = _text_buffers(array)
    blank = np.diff(offsets) == 0
    if blank.any() and pc.any(pc.equal(array, "")).as_py():
        array = pc.if_else(pc.equal(array, ""), pa.scalar(None, pa.string()), array)
    return array


def remove_guards(array: pa.StringArray) -> pa.StringArray:
    """Return a column without the apostrophe that keeps a cell from being read as a formula.

    Spreadsheet programs and our export (`app.ingest.writers.model`) write it.

    Examples
    --------
    >>> remove_guards(pa.array(["'=1+1", "''-5", "'s", "-5"])).to_pylist()
    ['=1+1', "'-5", "'s", '-5']
    """
    if array.nbytes == 0 or b"'" not in _text_buffers(array)[0].tobytes():
        return array
    return pc.replace_substring_regex(array, "^'('*[=+\\-@])", "\\1")


def to_narrow(text: str) -> str:
    """Return text with fullwidth letters, digits and signs as ASCII ones.

    Examples
    --------
    >>> to_narrow("１１３．２５")
    '113.25'
    """
    return text if text.isascii() else unicodedata.normalize("NFKC", text)


def build_text_column(values: list[str | None]) -> pa.StringArray:
    """Return a column from raw cells, cleaned; half a character (an unpaired surrogate) is written as an escape."""
    try:
        array = pa.array(values, pa.string())
    except UnicodeEncodeError:
        array = pa.array([None if text is None else escape_surrogates(text) for text in values], pa.string())
    return clean_column(array)


def escape_surrogates(text: str) -> str:
    r"""Return text that can be written as UTF-8.

    Examples
    --------
    >>> escape_surrogates("东\ud800")
    '东\\ud800'
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _to_re2(members: str) -> str:
    # RE2 takes the characters themselves; only NUL must be spelt.
    return members.replace("\x00", r"\x00")


def _text_buffers(array: pa.StringArray) -> tuple[memoryview, NDArray[np.int64]]:
    _, offset_buffer, data = array.buffers()
    if offset_buffer is None or not len(array):
        return memoryview(b""), np.zeros(len(array) + 1, np.int64)
    offsets = np.frombuffer(offset_buffer, np.int32, len(array) + 1, array.offset * 4).astype(np.int64)
    content = memoryview(data) if data is not None else memoryview(b"")
    return content[offsets[0] : offsets[-1]], offsets - offsets[0]


def has_unusual_characters(values: memoryview) -> bool:
    """Return whether text may have invisible characters or unusual gaps."""
    content = values.tobytes()
    controls = np.count_nonzero(np.frombuffer(content, np.uint8) < 32) - content.count(b"\n")
    return bool(controls > 0) or any(
        lead in content and any(sign in content for sign in signs) for lead, signs in _SIGNS.items()
    )


def has_untrimmed_ends(values: memoryview, offsets: NDArray[np.int64]) -> bool:
    """Return whether any text begins or ends with a blank."""
    begin, end = offsets[:-1], offsets[1:]
    filled = end > begin
    if not filled.any():
        return False
    codes = np.frombuffer(values, np.uint8)
    firsts, lasts = codes[begin[filled]], codes[end[filled] - 1]
    return bool(((firsts <= 32) | (lasts <= 32)).any())


# Traditional characters, and below them the simplified ones: only those in names of fields, in code lists and in names
# of rejected columns. Stored text is not changed.

_TRADITIONAL: Final = (
    "設備編碼號稱經緯類狀態監機鏡頭頻點門區縣鄉鎮廠離線斷檢測驗單責權屬註說時間啟裝護運範圍遠視場寬長"
    "車輛進雙東幹國環際關鍵應錄儲標誌證據復審數級規劃質聯絡繫電話帳戶賬圖駛駕員職務檔無尋暫詳報廢壞廣"
    "擺攝貨載與業產負處體術繼續維項試資訊網層邊緣對觀內華個別張許陳計總匯製"
)
_SIMPLIFIED: Final = (
    "设备编码号称经纬类状态监机镜头频点门区县乡镇厂离线断检测验单责权属注说时间启装护运范围远视场宽长"
    "车辆进双东干国环际关键应录储标志证据复审数级规划质联络系电话帐户账图驶驾员职务档无寻暂详报废坏广"
    "摆摄货载与业产负处体术继续维项试资讯网层边缘对观内华个别张许陈计总汇制"
)
_FOLDED: Final = str.maketrans(_TRADITIONAL, _SIMPLIFIED)


def to_simplified(text: str) -> str:
    """Return a name with simplified characters.

    >>> to_simplified("設備編碼"), to_simplified("聯絡電話"), to_simplified("code")
    ('设备编码', '联络电话', 'code')
    """
    return text if text.isascii() else text.translate(_FOLDED)

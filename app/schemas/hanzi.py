"""Traditional characters of headings and codes as the simplified ones; nothing that is stored.

Only the characters that the names of fields, the words of code lists and the names of what is refused
are written with. Data only.
"""

from typing import Final

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


def simplified(text: str) -> str:
    """Return a name with its traditional characters as simplified ones.

    >>> simplified("設備編碼"), simplified("聯絡電話"), simplified("code")
    ('设备编码', '联络电话', 'code')
    """
    return text if text.isascii() else text.translate(_FOLDED)

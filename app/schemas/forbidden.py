"""What the registry never holds, told by the names of fields and columns: people, media, logins.

Names are read, values are not. One list serves JSON members and the column headers of files; a name
that only sounds alike (an image sensor, a template) passes.
"""

import re
import unicodedata
from typing import Final

from app.schemas.hanzi import simplified

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

_PINYIN: Final = frozenset(
    {"gldwlxfs", "lxfs", "lxdh", "lxr", "lxrdh", "sjhm", "sfzh", "hphm", "yhm", "dlm", "dlmm"}
)
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

    >>> [
    ...     forbidden(name)
    ...     for name in ("Password", "联系人电话", "plateNo", "过车数量", "ImageSensor")
    ... ]
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
    return simplified(re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", name).lower()))


_WORDS: Final = tuple(_plain(word) for word in FORBIDDEN_WORDS)

"""Chinese for sentences that are made in English alone: notes of the readers, hints, endings.

The readers of `app.formats` speak English only. A sentence is found again by its fixed words; what
stands between them (names, numbers, other sentences) is carried over. A sentence that is not known
here stays as it is.
"""

import re
from functools import cache
from typing import Final

from app.intake.refusals import REFUSALS

_LONGEST: Final = 5000
"""Signs of a sentence that is looked for; what is longer carries a long list, and stays as it is."""

_NOTES: Final[dict[str, str]] = {
    "Sheet {} is read; the workbook also has {}.": "读取的是工作表 {}；工作簿中还有 {}。",
    "{} tables have the same header and are read as one.": "有 {} 个表格表头相同，合为一个读取。",
    "Layer {} is read; the file also has {}.": "读取的是图层 {}；文件中还有 {}。",
    "Formulas have no computed values and are read as {}; open the workbook in a spreadsheet programme and save it.":
        "公式没有计算结果，按 {} 读取；请用表格软件打开工作簿并保存。",
    "The workbook counts days from 1904; a day that is formatted as a plain number is read as counted from 1900, four years and a day early. Format such columns as dates.":
        "该工作簿的日期从 1904 年起算；未设日期格式的数字按 1900 年起算读取，会早四年零一天。请把这些列设为日期格式。",
    "Merged cells are read as the same value in every row they span.": "合并单元格按其跨越的每一行均为同一值读取。",
    "The header takes rows {} and {}.": "表头为第 {} 行和第 {} 行。",
    "The header is row {}; what stands above it is not read.": "表头为第 {} 行，其上内容未读取。",
    "No row looks like a header; the columns are numbered.": "没有像表头的行，各列按序号命名。",
    "Column {} has values and no header; it is called {}.": "第 {} 列有值而无表头，命名为 {}。",
    "Two columns are called {}; one is called {}.": "有两列都叫 {}，其中一列改称 {}。",
    "The file is not UTF-8; it reads as {}. Name the encoding if that is wrong.":
        "文件不是 UTF-8，按 {} 读取；如不正确请指明编码。",
    "The file has no byte order mark; it reads as {}.": "文件没有字节顺序标记，按 {} 读取。",
    "The file says {}, its text reads as UTF-8; that is taken.": "文件声明为 {}，内容实为 UTF-8，按 UTF-8 读取。",
    "The Shapefile names no encoding; its text reads as {}.": "Shapefile 未说明编码，文字按 {} 读取。",
    "The Shapefile says {}, its text reads as {}; that is taken.": "Shapefile 声明为 {}，文字实为 {}，按后者读取。",
    "Columns of a kind that is not read: {}.": "以下列的类型不予读取：{}。",
    "Quotation marks stand inside cells; they are kept as they are.": "单元格中间有引号，原样保留。",
    "Cells contain line breaks; rows are counted as a spreadsheet programme counts them.":
        "单元格内有换行，行号按表格软件的计法。",
    "A row has more cells than the header; its values may stand in the wrong columns.":
        "有的行单元格多于表头，其值可能错列。",
    "A row has fewer cells than the header; the rest is blank.": "有的行单元格少于表头，其余视为空白。",
    "A text is too long for a Shapefile, and the beginning that stands there was changed; change it in another format.":
        "长文本超出 Shapefile 字段长度，其开头部分被改动；请用其他格式修改。",
    "A text goes on in {}, which is not in the zip as it was exported.": "长文本的其余部分在 {} 中，压缩包内没有导出时的该文件。",
    "Layers {} are read, one after the other.": "依次读取图层 {}。",
    "A text of the attribute table is cut in the middle of a character.": "属性表中有文字在字符中间被截断。",
    "A text was cut in the middle of a character when it was written.": "有文字在写出时被截断在字符中间。",
    "An item has bytes that are no text in the encoding of the file.": "有的条目含有不属于文件编码的字节。",
    "The file names a CRS that is not known: {}.": "文件指明的坐标系无法识别：{}。",
    "Column {} holds shapes and the file does not say of which CRS; state it.":
        "列 {} 是几何，而文件未说明其坐标系，请指明。",
    "The attribute table is cut off: {} of {} records are there.": "属性表不完整：{1} 条记录中只有 {0} 条。",
    "An item is not valid XML and cannot be read.": "有的条目不是有效的 XML，无法读取。",
    "A member of the list is no feature.": "列表中有的成员不是要素。",
    "A member of the list is no object.": "列表中有的成员不是对象。",
    "The last item is cut off.": "最后一个条目不完整。",
    "The geometry of a row is curved; save it with straight segments.": "有的行几何含曲线，请转为直线段后再保存。",
    "The geometry of a row cannot be read.": "有的行几何无法读取。",
    "The layer has {}; state it.": "图层没有可识别的坐标系，请指明。",
    "The GeoPackage was open in a program when it was copied; what was not yet saved is missing.":
        "GeoPackage 复制时仍在其他程序中打开，尚未存盘的内容不在其中。",
    "The Shapefile has {} shapes and {} records; the rest is not read.": "Shapefile 有 {} 个图形、{} 条记录，多出的未读取。",
    "Names of columns have {} bytes at most in a Shapefile; these may be cut: {}. Map those that are not recognised.":
        "Shapefile 的列名最多 {} 字节，以下列名可能被截断：{}。未识别的列请自行映射。",
    "The KML links to other files; they are not fetched.": "KML 链接了其他文件，不会去获取。",
    "The CRS {} is by its numbers none of EPSG's; it is used as the file defines it.":
        "坐标系 {} 的参数与任何 EPSG 坐标系都不同，按文件中的定义使用。",
    "The file has no CRS with an EPSG number; state it.": "文件没有带 EPSG 编号的坐标系，请指明。",
    "{} lanes are joined with their tollgates.": "{} 条车道已并入所属卡口。",
    "{} of them belong to no tollgate of the file and are not read.": "其中 {} 条不属于文件中的任何卡口，未读取。",
    "{} items of answers of another kind ({}) are not read.": "其他类型应答（{1}）的 {0} 个条目未读取。",
    "The answers announce {} items; the file has {}.": "应答声明共 {} 个条目，文件中有 {} 个。",
    "{} Rows: {} ({}).": "{}共 {} 行（{}）。",
}  # fmt: skip

_HINTS: Final[dict[str, str]] = {
    "take the code from the source again, with the column formatted as text before it is pasted":
        "请从源头重新取得编码，粘贴前先把该列设为文本格式",
    "mend the formula or type the value, or leave the cell blank": "请修正公式或直接填写数值，没有值则留空",
    "compare it with the source": "请与源头核对",
    "take the codes from the source again, kept as text on the whole way": "请从源头重新取得编码，全程按文本保存",
    "a ring of a polygon ends where it begins and has four points or more; coordinates are numbers":
        "多边形的环须首尾同点、至少四点；坐标应为数字",
    "give each member a column of its own, or leave the column out": "请让每个成员自成一列，或略去该列",
    "take it out of the text, or name the column in drop_columns": "请从文字中去掉，或在 drop_columns 中列出该列",
    "map a column to it, or give it a default": "请为其映射一列或给出默认值",
    "with key=owner_reference every row has both the owner unit and its reference, or a code":
        "key=owner_reference 时每行须有产权单位和自编号，或有编码",
    "take spaces, Chinese signs and other marks out of it": "请去掉其中的空格、汉字和其他符号",
    "such as 410800 (GB/T 2260)": "例如 410800（GB/T 2260）",
    "it is kept as it is written; compare it with the source: O may be 0, I and l may be 1":
        "已按原样保留；请与源头核对：O 可能是 0，I 和 l 可能是 1",
    "check the code against the device list of the platform": "请与平台的设备清单核对编码",
    "one of {}, or say in the profile what it means": "应为 {} 之一，或在配置中说明其含义",
    "degrees such as 113.2418, or degrees, minutes and seconds": "写作 113.2418 这样的度数，或度分秒",
    "say in which CRS the coordinates are": "请指明坐标系",
    "WGS84, CGCS2000, GCJ02, BD09 or EPSG:n; or drop the column and say crs for the whole file":
        "写作 WGS84、CGCS2000、GCJ02、BD09 或 EPSG:n；或略去该列并为整个文件指明 crs",
    "{}; they look like {}": "{}；数值像是 {}",
    "give the place of the device itself as a point; an outline or a field of view is not the place":
        "请以点表示设备自身的位置；范围面或视域不是位置",
    "one row has one place: give each point a row and a code of its own": "一行一个位置：请为每个点单列一行并给出各自的编码",
    "the parts do not join end to end: give each part a row and a code of its own, or mend the gap":
        "各段首尾不相接：请为每段单列一行并给出各自的编码，或修补断口",
    "close the line and save it as a polygon": "请将线闭合并存为面",
    "another layer of the file, or another kind, may be meant": "可能应选文件的其他图层，或其他类别",
    "another CRS or zone may be meant": "可能是其他坐标系或分带",
    "give longitude and latitude columns of their own, or map the column to position@latlon":
        "请把经度、纬度分为两列，或将该列映射到 position@latlon",
    "map the two columns the other way round": "请在映射中交换两列",
    "longitude comes first in a shape; map a column of two numbers to position@latlon if latitude stands before longitude in it":
        "几何中经度应在前；如单元格是两个数且纬度在前，请将该列映射到 position@latlon",
    "longitude comes first in the geometry of a file": "文件的几何中经度应在前",
    "write it without the comma, or with a point": "请去掉逗号，或用小数点",
    "units read here: {}": "可识别的单位：{}",
    "write it as 2024-03-05, 2024/3/5 or 2024年3月5日; day-first and month-first spellings could mean two days":
        "写作 2024-03-05、2024/3/5 或 2024年3月5日；日或月在前的写法可能有两种含义",
    "keep one of the two rows": "两行只留一行",
    "register the jurisdiction first, or send with a key that may write it": "请先登记该辖区，或使用有权写入的密钥",
    "check the coordinates, their CRS or datum, and the extent of the jurisdiction":
        "请核对坐标、坐标系或基准，以及辖区范围",
    "codes are unique in the service; records do not move between jurisdictions":
        "编码在全系统唯一，记录不能在辖区间移动",
    "use mode=upsert to update it": "如需更新请用 mode=upsert",
    "use mode=upsert to create it": "如需新增请用 mode=upsert",
    "check the code, or register the record first": "请核对编码，或先登记该记录",
    "check the code, register the record first, or map a column to each of these fields":
        "请核对编码、先登记该记录，或为这些字段各映射一列",
    "fill the cell, or leave the column out with drop_columns: then what is registered stays":
        "请填写该单元格，或用 drop_columns 略去该列以保留已登记的值",
    "map a column to lane_direction": "请为 lane_direction 映射一列",
    "import the {} first, or leave the cell blank": "请先导入被引用的记录（{}），或将单元格留空",
    "use key=owner_reference to update that record": "如需更新该记录请用 key=owner_reference",
    "check the clock and the time zone of the source": "请核对源头的时钟和时区",
    "register the device first": "请先登记该设备",
    "remove or change those first, or keep the row in the file": "请先移除或修改引用方，或在文件中保留该行",
}  # fmt: skip

_ENDINGS: Final[dict[str, str]] = {
    "{} of {} rows are refused, so none is written.": "{1} 行中有 {0} 行被拒绝，因此均未写入。",
    "{} rows, or records to be removed, are refused, so none is written.": "{} 行（或将被移除的记录）被拒绝，因此均未写入。",
    "The import was cancelled; nothing was written.": "导入已取消，未写入任何数据。",
    "The service ended while this import was under way; nothing was written. Send the file again.":
        "导入过程中服务终止，未写入任何数据，请重新发送文件。",
    "{} of {} {} are not in the file and would be removed; at most {} may be: say max_remove_share if this is meant.":
        "{1} 条记录（{2}）中有 {0} 条不在文件中，将被移除；最多允许 {3}，如确需如此请给出 max_remove_share。",
}  # fmt: skip


_SHAPES: Final[dict[str, str]] = {
    "The {} ring must cover the {} ring: it falls short by {} m at [{}], and {} m are tolerated.":
        "{0} 圈应包住 {1} 圈：在 [{3}] 处短少 {2} 米，允许偏差 {4} 米。",
    "[{}] lies outside the extent of jurisdiction {}: [{}]": "[{}] 位于辖区 {} 的范围 [{}] 之外",
    "longitude and latitude are swapped: [{}] lies in the jurisdiction, [{}] does not":
        "经纬度颠倒：[{}] 在辖区内，[{}] 不在",
    "A ring may have {} vertices, this one has {}.": "圈层边界最多 {} 个顶点，此边界有 {} 个。",
    "Self-intersection[{}]": "边线自相交，位于 [{}]",
    "Ring Self-intersection[{}]": "边线自触，位于 [{}]",
    "Too few points in geometry component[{}]": "顶点过少，位于 [{}]",
    "Hole lies outside shell[{}]": "孔洞在外环之外，位于 [{}]",
    "Holes are nested[{}]": "孔洞互相嵌套，位于 [{}]",
    "Nested shells[{}]": "外环互相嵌套，位于 [{}]",
    "Duplicate Rings[{}]": "环重复，位于 [{}]",
    "Interior is disconnected[{}]": "内部被分割，位于 [{}]",
}  # fmt: skip
"""What is wrong with a boundary or an area, in the words of the service and of GEOS."""


def in_chinese(sentence: str) -> str:
    """Return a sentence in Chinese where it is known, else as it is.

    >>> in_chinese("The header takes rows 3 and 4."), in_chinese("no such words")
    ('表头为第 3 行和第 4 行。', 'no such words')
    """
    for pattern, chinese in _patterns() if len(sentence) <= _LONGEST else ():
        if found := pattern.fullmatch(sentence):
            return chinese.format(*(in_chinese(part) for part in found.groups()))
    return sentence


@cache
def _patterns() -> tuple[tuple[re.Pattern[str], str], ...]:
    """Return what is looked for, those with the most fixed words first."""
    known = _NOTES | _HINTS | _ENDINGS | _SHAPES | REFUSALS
    return tuple(
        (re.compile("(.+)".join(map(re.escape, english.split("{}"))), re.DOTALL), chinese)
        for english, chinese in sorted(known.items(), key=lambda pair: -_fixed(pair[0]))
    )


def _fixed(english: str) -> int:
    return len(english) - 2 * english.count("{}")

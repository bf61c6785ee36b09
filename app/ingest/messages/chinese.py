"""Chinese for sentences that are made in English alone: notes of the readers, hints, endings.

The readers of `app.formats` speak English only. A sentence is found again by its fixed words; what
stands between them (names, numbers, other sentences) is carried over. A sentence that is not known
here stays as it is.
"""

import re
from functools import cache
from typing import Final

from app.messages import Message, translate_message

# Chinese for the refusal of a whole file: what it is instead, what is wrong with it, what to say.
#
# Read by `app.ingest.messages.chinese`, which finds a sentence again by its fixed words. The sentences are those
# of `app.formats`, of the plan, and of the options; a test holds the two together.

_READING: Final[dict[str, str]] = {
    "The file is empty.": "文件为空。",
    "The archive is empty.": "压缩包为空。",
    "The GeoPackage has no layers.": "GeoPackage 中没有图层。",
    "The file is a GB/T 28181 message of another kind ({}). What is read: Catalog.":
        "文件是其他类型的 GB/T 28181 消息（{}），可读取的是 Catalog。",
    "The file has nothing that can be read.": "文件中没有可读取的内容。",
    "The KML has no places, only links to other files; send the file it links to.":
        "KML 中没有地点，只有指向其他文件的链接；请发送所链接的文件。",
    "The file cannot be read: it has no layers.": "文件无法读取：没有图层。",
    "The file cannot be read: {}.": "文件无法读取：{}。",
    "The file is one of {}.": "文件的类型是 {}，与预期不符。",
    "The file is {}. What can be read: {}.": "文件是{}，不能读取。可读取的有：{}。",
    "The file was named as {}, and it is {}.": "文件被指明为 {}，实际是 {}。",
    "There is no format {}; known are {}.": "没有格式 {}；可用的有 {}。",
    "The archive cannot be read: {}.": "压缩包无法读取：{}。",
    "The archive has {} files; at most {} are taken.": "压缩包内有 {} 个文件，最多接受 {} 个。",
    "The archive is protected with a password.": "压缩包设有密码。",
    "The archive holds a path or link that leads out of it: {}.": "压缩包内含有指向包外的路径或链接：{}。",
    "The file unpacks to more than {} MB; split it into smaller ones.": "文件解压后超过 {} MB，请拆分成较小的文件。",
    "There is no room to unpack the file.": "没有空间解压该文件。",
    "There is no coordinate system {}; use EPSG:n, {}.": "没有坐标系 {}；请用 EPSG:n 或 {}。",
    "{} is no system of places on the ground.": "{} 不是地面位置的坐标系。",
    "The attribute table (.dbf) cannot be read: {}.": "属性表（.dbf）无法读取：{}。",
    "its header makes no sense": "文件头不成立",
    "its header is cut off": "文件头不完整",
    "its columns are wider than its records": "各列宽度之和大于记录长度",
    "A cell of row {} is longer than {} signs: this is no table, or its line ends are missing.":
        "第 {} 行有单元格超过 {} 个字符：文件不是表格，或缺少换行。",
    "A quotation mark opened in row {} is not closed, or the row is longer than {} MB.":
        "第 {} 行的引号没有闭合，或该行超过 {} MB。",
    "The delimiter must be one character, such as , ; | or tab, not {}.":
        "分隔符应为一个字符，如逗号、分号、竖线或制表符，而不是 {}。",
    "The rows from {} on cannot be read as a table: {}.": "从第 {} 行起无法按表格读取：{}。",
    "The file does not read as {}: byte {}, in line {}, is not valid there. Save it again in one encoding, or name the encoding it has.":
        "文件不能按 {} 读取：第 {} 个字节（第 {} 行）无效。请以同一种编码重新保存，或指明其编码。",
    "The file reads as {}, but line {} is UTF-8. Save it again in one encoding.":
        "文件按 {} 读取，但第 {} 行是 UTF-8。请以同一种编码重新保存。",
    "There is no text encoding {}; usual ones are {}.": "没有文字编码 {}；常用的有 {}。",
    "An object of the file is no APE, tollgate or lane of GA/T 1400: it has {}.":
        "文件中有对象不是 GA/T 1400 的采集设备、卡口或车道：其成员为 {}。",
    "The file is JSON and not GeoJSON: {} is no feature.": "文件是 JSON 而不是 GeoJSON：{} 不是要素。",
    "Row {} was named as the header, and it is blank or not there.": "指明第 {} 行为表头，但该行为空或不存在。",
    "The JSON is nested too deeply.": "JSON 嵌套过深。",
    "A value of the file is nested too deeply.": "文件中有值嵌套过深。",
    "The file is not valid JSON: {}, line {}, sign {}.": "文件不是有效的 JSON：{}，第 {} 行第 {} 个字符。",
    "The file is not valid JSON: {}, line {}, sign {}.{}": "文件不是有效的 JSON：{}，第 {} 行第 {} 个字符{}",
    " The file seems to be cut off.": "；文件可能不完整。",
    "an object or a list is expected": "此处应为对象或列表",
    "the text ends inside a list": "文件在列表中间结束",
    "a member name is expected": "此处应为成员名",
    "a colon is expected": "此处应为冒号",
    "one value is longer than {} million signs": "有值超过 {} 百万个字符",
    "There is no {} in the KMZ; it has {}.": "KMZ 中没有 {}；其中有 {}。",
    "The XML has a document type or entities, which are not read; save it without them.":
        "XML 含有文档类型或实体声明，不予读取，请去除后重新保存。",
    "The file is not valid XML: line {}, sign {}.": "文件不是有效的 XML：第 {} 行第 {} 个字符。",
    "There is no geometry column {}; the file has {}.": "没有几何列 {}；文件中有 {}。",
    "The geometry column is written as {}; save it as WKB.": "几何列的写法是 {}，请保存为 WKB。",
    "The Shapefile {} has no .dbf file in the zip.": "压缩包内的 Shapefile {} 缺少 .dbf 文件。",
    "A sheet reaches to {} rows and {} columns (a value at {}): more than {} cells. Remove stray values far from the table, or save it as CSV.":
        "工作表达到 {} 行 {} 列（{} 处有值），超过 {} 个单元格。请删除远离表格的零散内容，或另存为 CSV。",
    "The workbook has no visible sheet with cells.": "工作簿中没有可见且有内容的工作表。",
    "There is no sheet {}; the workbook has {}.": "没有工作表 {}；工作簿中有 {}。",
    "There is no layer {}; the file has {}.": "没有图层 {}；文件中有 {}。",
    "The workbook is protected with a password; save it without one.": "工作簿设有密码，请去除密码后重新保存。",
    "The workbook cannot be read: {} is no place of a row or cell.": "工作簿无法读取：行或单元格的位置 {} 不成立。",
    "A table has more than {} columns or {} rows, or too many merged cells; save it as CSV.":
        "表格超过 {} 列或 {} 行，或合并单元格过多，请另存为 CSV。",
    "The page has a tag or a text of more than {} million signs.": "网页中有标签或文字超过 {} 百万个字符。",
    "The page cannot be read: {}.": "网页无法读取：{}。",
    "The page has too many tables, or tables nested too deeply.": "网页中的表格过多或嵌套过深。",
    "The workbook cannot be read: it is broken.": "工作簿已损坏，无法读取。",
    "The workbook cannot be read: {}.": "工作簿无法读取：{}。",
}  # fmt: skip

_INSTEAD: Final[dict[str, str]] = {
    "a PDF document": " PDF 文档",
    "a Windows program": " Windows 程序",
    "a program": "程序",
    "a picture ({})": "图片（{}）",
    "a sound or video file": "音频或视频文件",
    "a RAR archive; pack it as zip": " RAR 压缩包（请改用 zip）",
    "a 7-Zip archive; pack it as zip": " 7-Zip 压缩包（请改用 zip）",
    "a bzip2 archive; pack it as zip": " bzip2 压缩包（请改用 zip）",
    "an xz archive; pack it as zip": " xz 压缩包（请改用 zip）",
    "a Zstandard archive; pack it as zip": " Zstandard 压缩包（请改用 zip）",
    "a text document (RTF)": " RTF 文档",
    "one file of a Shapefile; pack .shp, .shx, .dbf and .prj into one zip":
        " Shapefile 的其中一个文件（请把 .shp、.shx、.dbf、.prj 打成一个 zip）",
    "one file of a Shapefile (DBF); pack .shp, .shx, .dbf and .prj into one zip":
        " Shapefile 的其中一个文件 DBF（请把 .shp、.shx、.dbf、.prj 打成一个 zip）",
    "a database of Microsoft SQL Server": " SQL Server 数据库",
    "an Access database; export the table as XLSX or CSV": " Access 数据库（请把表导出为 XLSX 或 CSV）",
    "a CAD drawing; save its points as a table with coordinates, or as a Shapefile":
        " CAD 图纸（请把点位导出为带坐标的表格或 Shapefile）",
    "one file of a MapInfo table; pack .tab, .dat, .map and .id, or .mif and .mid, into one zip":
        " MapInfo 表的单个文件（请将 .tab、.dat、.map、.id，或 .mif、.mid 一起打成 zip）",
    "an SQL dump; export the table as CSV": " SQL 脚本（请把表导出为 CSV）",
    "a recorded HTTP message; save its body alone": " HTTP 报文记录（请只保存其正文）",
    "a web page without a table of several columns and rows (perhaps a login page)":
        "网页，其中没有多行多列的表格（可能是登录页）",
    "a web archive (MHT); save it as XLSX": "网页存档 MHT（请另存为 XLSX）",
    "a binary Excel workbook (XLSB); save it as XLSX": " XLSB 工作簿（请另存为 XLSX）",
    "a GML file": " GML 文件",
    "a GPX file": " GPX 文件",
    "an OpenStreetMap file": " OpenStreetMap 文件",
    "a GDAL virtual file": " GDAL 虚拟文件",
    "a Word document": " Word 文档",
    "slides": "演示文稿",
    "a program for Android": "安卓程序",
    "an archive with {} files and no Shapefile or KML ({})": "含 {} 个文件而没有 Shapefile 或 KML 的压缩包（{}）",
    "an OpenDocument file that is no spreadsheet": "不是表格的 OpenDocument 文件",
    "an old Office document that is no workbook": "旧版 Office 文档而非工作簿",
    "an SQLite database that is no GeoPackage": "不是 GeoPackage 的 SQLite 数据库",
    "of no known kind; it is not text": "未知类型且不是文本",
    "an XML file of another kind (<{}>)": "其他类型的 XML 文件（<{}>）",
    "TopoJSON or Esri JSON; save it as GeoJSON": " TopoJSON 或 Esri JSON（请另存为 GeoJSON）",
    "a JSON file of another kind": "其他类型的 JSON 文件",
    "a file of format {}": "格式为 {} 的文件",
}  # fmt: skip

_PLANNING: Final[dict[str, str]] = {
    "There is no kind {} to import; there are {}.": "没有可导入的类型 {}；可用的有 {}。",
    "Columns {}: say in the mapping which is meant.": "列{}，请在映射中指定采用哪一列。",
    "{} and {} both mean {}": "{} 与 {} 都表示 {}",
    "{} is {} and {} is {}": "{} 为 {} 而 {} 为 {}",
    "The CRS is not known: {}.": "坐标系无法识别：{}。",
    "there is no CRS {}; say EPSG:4547, gcj02, bd09 ...": "没有坐标系 {}；请写作 EPSG:4547、gcj02、bd09 等",
    "No place can be read: {}.": "无法读取位置：{}。",
    "layer {} holds {}, and this kind is a {}; the file has {}": "图层 {} 的几何为 {}，该类记录应为 {}；文件中有 {}",
    "A CRS is needed: {}. Say crs=EPSG:...": "需要指明坐标系：{}。请给出 crs=EPSG:...",
    "{} are no degrees, and nothing says of which CRS they are metres": "{} 不是度数，也未说明是哪个坐标系的米制坐标",
    "the numbers of the geometry": "几何的坐标",
    "The file is refused for its columns {}: the registry holds equipment and places, never people, images, recognitions or logins. Name them in drop_columns to import the rest without them.":
        "文件因含有列 {} 被拒绝：本库只存设备和位置，不存人员、图像、识别结果或登录信息。如要导入其余各列，请在 drop_columns 中列出这些列。",
    "column {} is refused": "列 {} 被拒绝",
    "Nothing gives {}: map a column to each, or give a default. Columns not used: {}.":
        "没有任何列提供 {}：请为其映射一列或给出默认值。未使用的列：{}。",
    "Nothing gives {}: map a column to each, or give a default.": "没有任何列提供 {}：请为其映射一列或给出默认值。",
    "These are lanes without their checkpoints, and none of those is registered: nothing gives {}. Send them in one file with their tollgates (TollgateListObject and LaneListObject side by side), or register the checkpoints first.":
        "只有车道而没有所属卡口，且这些卡口均未登记：缺少 {}。请与卡口放在同一文件中发送（TollgateListObject 与 LaneListObject 并列），或先登记卡口。",
    "Nothing gives a field to change: the file has the key of its records alone. Columns not used: {}.":
        "没有任何列提供要修改的字段：文件中只有记录的标识。未使用的列：{}。",
    "Nothing gives a field to change: the file has the key of its records alone.":
        "没有任何列提供要修改的字段：文件中只有记录的标识。",
    "no column gives a field to change": "没有列提供要修改的字段",
    "No place can be read: {} is half of a place, and no column gives the other half. Map a column to it, or name {} in drop_columns to keep the places that are registered.":
        "无法读取位置：{} 只是坐标的一半，没有列给出另一半。请为其映射一列，或在 drop_columns 中列出 {} 以保留已登记的位置。",
    "{} is half of a place, and no column gives the other half": "{} 只是坐标的一半，没有列给出另一半",
    "lanes alone have no place": "仅有车道而没有位置",
    "no column gives {}, and no default does": "没有列提供 {}，也没有默认值",
    "The options do not fit the file: {}.": "选项与文件不符：{}。",
    "the file has no column {}; it has {}": "文件没有列 {}；其列有 {}",
    "a {} has no field {}; it has {}": "{} 没有字段 {}；其字段有 {}",
    "a {} has no field {}": "{} 没有字段 {}",
    "there is no code list {} for {}; there are {}": "{1} 没有代码表 {0}；可用的有 {2}",
    "no topic has a code list {}": "没有名为 {} 的代码表",
    "the default of {} cannot be used: {}": "{} 的默认值不可用：{}",
    "a default cannot give {}: {}": "默认值不能给出 {}：{}",
    "every row has a place of its own": "位置须由每一行给出",
    "say name_zh or name_en": "请用 name_zh 或 name_en",
    "say horizontal_pixels and vertical_pixels": "请用 horizontal_pixels 和 vertical_pixels",
    "The profile is not valid: {}.": "配置无效：{}。",
}  # fmt: skip

_ASKING: Final[dict[str, str]] = {
    "The import is not valid: {}.": "导入请求无效：{}。",
    "a file of format {} has no {}": "{} 格式的文件没有 {}",
    "{} is given twice": "{} 给出了两次",
    "{} is JSON, or looks like column=field": "{} 应为 JSON，或写作 列=字段",
    "{} is not valid JSON: {}": "{} 不是有效的 JSON：{}",
    "{}: Field required": "{}：缺少必填项",
    "Field required": "缺少必填项",
    "{}: Extra inputs are not permitted": "{}：没有此选项",
    "Extra inputs are not permitted": "没有此选项",
    "{}: Input should be {}": "{}：取值应为 {}",
    "Input should be {}": "取值应为 {}",
    "{}: String should match pattern {}": "{}：格式应符合 {}",
    "String should match pattern {}": "格式应符合 {}",
    "Replace_missing=remove is not possible for a {}.": "{} 不支持 replace_missing=remove。",
    "Mode={} is not possible for a {}.": "{1} 不支持 mode={0}。",
    "A {} has no owner_reference to go by.": "{} 没有可作为依据的 owner_reference。",
    "There is no jurisdiction {}.": "没有辖区 {}。",
    "There is no import profile {}.": "没有导入配置 {}。",
    "There is no file of import {}.": "导入 {} 没有可取回的文件。",
    "There is no import {}.": "没有导入 {}。",
    "One part named 'file' with a file is needed, there are {}.": "需要且仅需要一个名为 file 的文件部分，现有 {} 个。",
    "one part named 'file' with a file is needed, there are {}": "需要且仅需要一个名为 file 的文件部分，现有 {} 个",
    "The body ended before it was complete.": "请求体不完整。",
    "The multipart body does not say its boundary.": "multipart 请求体没有说明分界。",
    "The multipart body ended before it was complete.": "multipart 请求体不完整。",
    "The multipart body has more or longer fields than an import takes.": "multipart 请求体的字段过多或过长。",
    "The fields of the multipart body are not UTF-8.": "multipart 请求体的字段不是 UTF-8。",
    "The multipart body is not valid: {}.": "multipart 请求体无效：{}。",
    "There is no space left to keep the file; nothing of it was kept.": "没有空间保存该文件，未保留任何内容。",
    "The import has ended: it is {}.": "导入已结束，状态为 {}。",
    "The profile {} comes with the product; save yours under another name.": "配置 {} 随产品提供，请以其他名称保存。",
    "The profile {} comes with the product.": "配置 {} 随产品提供，不能移除。",
    "The name in the body is not the name in the url, {}.": "请求体中的名称与地址中的名称 {} 不一致。",
    "the name in the body is not the name in the URL, {}": "请求体中的名称与地址中的名称 {} 不一致",
}  # fmt: skip

REFUSALS: Final = _READING | _INSTEAD | _PLANNING | _ASKING
"""English sentence to Chinese, with ``{}`` where names and numbers stand."""


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
    if isinstance(sentence, Message):
        return translate_message(sentence, "zh")
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

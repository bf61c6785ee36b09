"""Chinese for the refusal of a whole file: what it is instead, what is wrong with it, what to say.

Read by `app.intake.chinese`, which finds a sentence again by its fixed words. The sentences are those
of `app.formats`, of the plan, and of the options; a test holds the two together.
"""

from typing import Final

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

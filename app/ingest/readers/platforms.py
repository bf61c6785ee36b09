"""Catalogues of video platforms: GB/T 28181 (XML) and GA/T 1400 (JSON).

GB/T 28181: the items of one or many responses in one file, as platforms really leave them: responses one after the
other, fragments of one response, SIP headers between them, GB2312 declared above UTF-8, names cut in the middle of a
character. Each item is parsed alone, so a broken item gets an issue and the others are read. Children of ``Info`` are
called ``Info.PTZType``.

GA/T 1400: lists of a view library (capture devices (APE), tollgates, lanes, device states) with the wrappers of the
standard (``APEListObject``, ``APEObject`` ...), bare lists and single objects, with names in any case (``apeId``,
``ape_id``). Lanes in one file with their tollgates become the column ``lanes`` of the tollgates, a JSON list of lane
objects with the names of the standard. Lanes alone are rows, to be grouped by ``TollgateID``.
"""

import re
from collections.abc import Iterator
from typing import Any, Final
from xml.etree.ElementTree import ParseError

from typing_extensions import override

from app.errors import Invalid
from app.ingest.readers import encoding as encodings
from app.ingest.readers.content import FileContent
from app.ingest.readers.encoding import Encoding
from app.ingest.readers.json.geojson import has_geojson_type
from app.ingest.readers.json.stream import JsonStream
from app.ingest.readers.model import DetectedFormat, IssueLog, ReadOptions, SourceFile, TableReader, choose_layer
from app.ingest.readers.named_items import NamedItem, collect_items
from app.ingest.readers.xml_text import detect_xml_encoding, iter_safe_text, parse_element, repair_element
from app.messages import Message

LONGEST_ITEM: Final = 1 << 20
_CATALOGUE: Final = re.compile(r"<(?:Item|DeviceList)\b|<CmdType>\s*Catalog", re.IGNORECASE)
_MARK: Final = re.compile(
    r"<(?P<answer>Response|Notify|Query|Control)\b"
    r"|<CmdType>\s*(?P<command>\w*)\s*</CmdType>"
    r"|<SN>\s*(?P<number>\w*)\s*</SN>"
    r"|<SumNum>\s*(?P<sum>\d{1,9})\s*</SumNum>"
    r"|<(?P<item>Item)\b",
    re.IGNORECASE,
)
_LONGEST_MARK: Final = 64
_ITEM_END: Final = re.compile(r"</Item\s*>", re.IGNORECASE)
_CATALOGUE_COMMANDS: Final = ("", "catalog")
_UNDECODED: Final = "\ufffd"
_MAX_BROKEN_SHARE: Final = 0.01
"""Share of the non-ASCII characters that may be broken. If more are, the file has another encoding."""
_BROKEN_TEXT: Final = ("bad-item", Message("An item has bytes that are not text in the encoding of the file."))
_CUT_TEXT: Final = ("cut-text", Message("A text was cut in the middle of a character when it was written."))
_BROKEN_ITEM: Final = ("bad-item", Message("An item is not valid XML and cannot be read."))
_CUT_ITEM: Final = ("cut-item", Message("The last item is cut off."))


def is_catalogue(content: FileContent) -> bool:
    """Return whether a file has items of a GB/T 28181 catalogue."""
    return "<" in content.text and _CATALOGUE.search(content.text) is not None


def open_catalogue(file: SourceFile, options: ReadOptions) -> TableReader:
    """Open a GB/T 28181 catalogue.

    Raises
    ------
    Invalid
        ``unsafe-file``, ``wrong-encoding``.
    """
    encoding = detect_xml_encoding(file, options.encoding)
    check_encoding(file, encoding)
    issue_log = IssueLog()
    table = collect_items(iter_catalogue_items(file, encoding, issue_log))
    detected = DetectedFormat(
        format="gb28181",
        encoding=encoding.name,
        layer="Catalog",
        rows=table.count,
        notes=(*encoding.notes, *issue_log.build_notes()),
    )
    return table.create_reader(detected)


def check_encoding(file: SourceFile, encoding: Encoding) -> None:
    """Raise Invalid if a file has another encoding; a few broken bytes become issues of their items."""
    broken = others = 0
    is_ordinary = True
    for piece in iter_safe_text(file, encoding, errors="replace"):
        characters = [character for character in piece if character > "\x7f"]
        in_piece = characters.count(_UNDECODED)
        broken, others = broken + in_piece, others + len(characters)
        if in_piece:
            sample = "".join(characters).replace(_UNDECODED, "")
            is_ordinary &= encodings.is_ordinary_text(sample.encode(encoding.codec), encoding.codec)
    if broken and (broken > 1 + others * _MAX_BROKEN_SHARE or not is_ordinary):
        for _ in iter_safe_text(file, encoding):
            pass  # raises at the first broken byte


def iter_catalogue_items(file: SourceFile, encoding: Encoding, issue_log: IssueLog) -> Iterator[NamedItem]:
    """Yield the items of catalogue responses, and add notes about everything else."""
    command, number = "", ""
    announced: dict[str, int] = {}
    other_counts: dict[str, int] = {}
    count, text, offset = 0, "", 0
    for piece in iter_safe_text(file, encoding, errors="replace"):
        text, offset = text[offset:] + piece, 0
        while mark := _MARK.search(text, offset):
            if mark["answer"]:
                command, number = "", ""
            elif mark["command"] is not None:
                command = mark["command"].lower()
            elif mark["number"] is not None:
                number = mark["number"]
            elif mark["sum"] and command in _CATALOGUE_COMMANDS:
                announced[number] = int(mark["sum"])
            elif mark["item"]:
                end = _ITEM_END.search(text, mark.end())
                if end is None and len(text) - mark.start() <= LONGEST_ITEM:
                    offset = mark.start()
                    break
                if command in _CATALOGUE_COMMANDS:
                    count += 1
                    yield parse_item(text[mark.start() : end.end()]) if end else NamedItem({}, issue=_CUT_ITEM)
                else:
                    other_counts[command] = other_counts.get(command, 0) + 1
                offset = end.end() if end else mark.end()
                continue
            offset = mark.end()
        else:
            # The end of the piece may cut a mark.
            last = text.rfind("<", max(offset, len(text) - _LONGEST_MARK))
            offset = last if last >= 0 else len(text)
    if _MARK.match(text, offset) and text[offset : offset + 5].lower() == "<item" and command in _CATALOGUE_COMMANDS:
        count += 1
        yield NamedItem({}, issue=_CUT_ITEM)
    _add_catalogue_notes(issue_log, count, announced, other_counts)


def _add_catalogue_notes(
    issue_log: IssueLog, count: int, announced: dict[str, int], other_counts: dict[str, int]
) -> None:
    if not count and other_counts:
        message = Message(
            "The file is a GB/T 28181 message of another kind ({commands}). Send a response to a Catalog query.",
            commands=", ".join(sorted(other_counts)),
        )
        raise Invalid(message, code="unsupported-format")
    for name, items in other_counts.items():
        issue_log.add_note(
            Message("{count:,} items of responses of another kind ({command}) are not read.", count=items, command=name)
        )
    if announced and sum(announced.values()) != count:
        issue_log.add_note(
            Message(
                "The responses announce {announced:,} items; the file has {count:,}.",
                announced=sum(announced.values()),
                count=count,
            )
        )


def parse_item(text: str) -> NamedItem:
    """Return one item of a catalogue."""
    repaired = repair_element(text)
    try:
        element = parse_element(repaired)
    except ParseError:
        return NamedItem({}, issue=_BROKEN_ITEM)
    values: dict[str, Any] = {}
    for child in element:
        if len(child):
            for inner in child:
                _add_value(values, f"{child.tag}.{inner.tag}", "".join(inner.itertext()))
        else:
            _add_value(values, str(child.tag), child.text or "")
    return drop_cut_characters(values) if _UNDECODED in repaired else NamedItem(values)


def drop_cut_characters(values: dict[str, Any]) -> NamedItem:
    """Return an item without cut characters at the end of its texts: the fields of devices are short."""
    texts = {name: text.rstrip(_UNDECODED).rstrip() for name, text in values.items()}
    if any(_UNDECODED in text for text in texts.values()):
        return NamedItem({name: text.replace(_UNDECODED, "") for name, text in texts.items()}, None, _BROKEN_TEXT)
    return NamedItem(texts, None, _CUT_TEXT, "warning")


def _add_value(values: dict[str, Any], name: str, text: str) -> None:
    """Add a value; several values of one name are joined as the standard joins lists."""
    text = text.strip()
    previous = values.get(name)
    if previous and text and text not in previous.split("/"):
        text = f"{previous}/{text}"
    values[name] = text or previous or ""


# GA/T 1400

KINDS: Final = ("APE", "Tollgate", "Lane", "APEStatus")
"""Names of the layers, in the order of preference."""
_VIEW_LIBRARY: Final = re.compile(
    r'"(?:APE|Tollgate|Lane)_?(?:List_?Object|List|Object)"\s*:|"(?:Ape|Tollgate|Lane)_?ID"\s*:',
    re.IGNORECASE,
)
_LISTS: Final = {
    "apeobject": "APE",
    "tollgateobject": "Tollgate",
    "laneobject": "Lane",
    "apestatusobject": "APEStatus",
    "apelist": "APE",
    "tollgatelist": "Tollgate",
    "lanelist": "Lane",
    "data": None,
    "rows": None,
    "records": None,
    "list": None,
}
_KEYS: Final = {
    "apeid": "ApeID",
    "tollgateid": "TollgateID",
    "laneid": "LaneId",
    "name": "Name",
    "currenttime": "CurrentTime",
}
"""Members that classify and join objects, as the standard writes them."""
_LANES: Final = "lanes"


def is_view_library(content: FileContent) -> bool:
    """Return whether a file is JSON with objects of GA/T 1400."""
    return content.is_json and _VIEW_LIBRARY.search(content.text) is not None and not has_geojson_type(content)


def open_view_library(file: SourceFile, options: ReadOptions) -> TableReader:
    """Open the named list (APE, Tollgate, Lane, APEStatus), or the first one.

    Raises
    ------
    Invalid
        ``damaged-file``, ``too-deep``, ``unknown-layer``, ``wrong-encoding``, ``unsupported-format``: an object of
        another kind.
    """
    encoding = encodings.detect_encoding(file.path, options.encoding, narrow=True)
    counts: dict[str, int] = {}
    lanes: dict[str, list[Any]] = {}
    for kind, value in iter_objects(file, encoding):
        counts[kind] = counts.get(kind, 0) + 1
        if kind == "Lane":
            lanes.setdefault(str(value.get("TollgateID")), []).append(value)
    layers = tuple(kind for kind in KINDS if kind in counts)
    layer, notes = choose_layer(layers, (), options.layer_name)
    if layer != "Tollgate" or "Lane" not in counts:
        lanes = {}
    tollgates: set[str] = set()
    table = collect_items(iter_layer_items(file, encoding, layer, lanes, tollgates))
    if lanes:
        notes = (*notes, *_describe_lanes(counts["Lane"], lanes, tollgates))
    detected = DetectedFormat(
        format="gat1400",
        encoding=encoding.name,
        layer=layer,
        layers=layers,
        rows=table.count,
        notes=(*encoding.notes, *notes),
    )
    return table.create_reader(detected)


def _describe_lanes(count: int, lanes: dict[str, list[Any]], tollgates: set[str]) -> Iterator[Message]:
    yield Message("{count:,} lanes are joined with their tollgates.", count=count)
    unread = sum(len(of_tollgate) for tollgate, of_tollgate in lanes.items() if tollgate not in tollgates)
    if unread:
        yield Message("{count:,} lanes belong to no tollgate of the file and are not read.", count=unread)


def iter_layer_items(
    file: SourceFile, encoding: Encoding, layer: str, lanes: dict[str, list[Any]], tollgates: set[str]
) -> Iterator[NamedItem]:
    """Yield the objects of a layer; add the tollgates whose lanes are joined to `tollgates`."""
    for kind, value in iter_objects(file, encoding):
        if kind != layer:
            continue
        own_lanes = None
        if lanes:
            tollgate = str(value.get("TollgateID"))
            tollgates.add(tollgate)
            own_lanes = lanes.get(tollgate)
        yield NamedItem({**value, _LANES: own_lanes} if own_lanes else value)


def iter_objects(file: SourceFile, encoding: Encoding) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield all objects with their kinds."""
    stream = JsonStream(encodings.iter_utf8_blocks(file.path, encoding))
    for name, value in stream.iter_items(_AnyCaseNames(_LISTS)):
        kind = _LISTS.get(_normalize_name(name))
        if not isinstance(value, dict):
            if kind:
                yield kind, {}  # becomes a row without values, which gets an error
                continue
            raise _unknown_object(value)
        members = {_KEYS.get(_normalize_name(str(key)), str(key)): member for key, member in value.items()}
        yield kind or detect_object_kind(members), members


class _AnyCaseNames(frozenset[str]):
    """Names that match in any case, with or without underscores."""

    @override
    def __contains__(self, name: object) -> bool:
        return super().__contains__(_normalize_name(str(name)))


def _normalize_name(name: str) -> str:
    return name.replace("_", "").lower()


def detect_object_kind(value: dict[str, Any]) -> str:
    """Return the kind of an object outside the lists of the standard, by its members."""
    if "LaneId" in value:
        return "Lane"
    if "TollgateID" in value:
        return "Tollgate"
    if "ApeID" in value:
        return "APEStatus" if "Name" not in value and "CurrentTime" in value else "APE"
    raise _unknown_object(value)


def _unknown_object(value: Any) -> Invalid:
    names = ", ".join(repr(str(key)) for key in list(value)[:5]) if isinstance(value, dict) else "?"
    message = Message(
        "An object of the file is not an APE, tollgate or lane of GA/T 1400: its members are {members}. "
        "Send the lists of the standard.",
        members=names or "-",
    )
    return Invalid(message, code="unsupported-format")

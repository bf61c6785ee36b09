"""Catalogue of a GB/T 28181 platform: the items of one or many answers in one file.

Reads what platforms really leave behind: answers one after the other, fragments of one answer,
SIP headers between them, GB2312 declared above UTF-8, names cut in the middle of a character. Each
item is parsed by itself, so that one broken item is told and the rest is read. Children of ``Info``
are called ``Info.PTZType``.
"""

import re
from collections.abc import Iterator
from typing import Any, Final
from xml.etree.ElementTree import ParseError

from typing_extensions import override

from app.errors import Invalid
from app.ingest.readers import encoding as encodings
from app.ingest.readers.encoding import Encoding
from app.ingest.readers.gis.gdal import choose_layer
from app.ingest.readers.json.stream import JsonStream
from app.ingest.readers.model import DetectedFormat, IssueLog, ReadOptions, SourceFile, TableReader
from app.ingest.readers.named_items import NamedItem, collect_items
from app.ingest.readers.xml_text import detect_xml_encoding, iter_safe_text, parse_element

LONGEST_ITEM: Final = 1 << 20
_MARK: Final = re.compile(
    r"<(?P<answer>Response|Notify|Query|Control)\b"
    r"|<CmdType>\s*(?P<command>\w*)\s*</CmdType>"
    r"|<SN>\s*(?P<number>\w*)\s*</SN>"
    r"|<SumNum>\s*(?P<sum>\d{1,9})\s*</SumNum>"
    r"|<(?P<item>Item)\b",
    re.IGNORECASE,
)
_CLOSE: Final = re.compile(r"</Item\s*>", re.IGNORECASE)
_ALONE: Final = re.compile(r"&(?!(?:#\d+|#x[0-9a-fA-F]+|amp|lt|gt|quot|apos);)")
_ILLEGAL: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_UNREAD: Final = "\ufffd"
_MOST_BROKEN: Final = 0.01
"""Share of the signs beyond ASCII that may be broken; more of them, and the encoding is another."""
_NO_TEXT: Final = ("bad-item", "An item has bytes that are no text in the encoding of the file.")
_CUT_TEXT: Final = ("cut-text", "A text was cut in the middle of a character when it was written.")
_BROKEN: Final = ("bad-item", "An item is not valid XML and cannot be read.")
_CUT: Final = ("cut-item", "The last item is cut off.")


def open_catalogue(file: SourceFile, wanted: ReadOptions) -> TableReader:
    """Open a catalogue dump.

    Raises
    ------
    Invalid
        ``unsafe-file``, ``wrong-encoding``.
    """
    coding = detect_xml_encoding(file, wanted.encoding)
    check_encoding(file, coding)
    told = IssueLog()
    found = collect_items(iter_catalogue_items(file, coding, told))
    detected = DetectedFormat(
        format="gb28181",
        encoding=coding.name,
        layer="Catalog",
        rows=found.count,
        notes=(*coding.notes, *told.build_notes()),
    )
    return found.create_reader(detected)


def check_encoding(file: SourceFile, coding: Encoding) -> None:
    """Refuse a file of another encoding; a few broken bytes are told with their items."""
    broken = other = 0
    ordinary = True
    for piece in iter_safe_text(file, coding, errors="replace"):
        signs = [sign for sign in piece if sign > "\x7f"]
        broken, other = broken + signs.count(_UNREAD), other + len(signs)
        if signs.count(_UNREAD):
            sample = "".join(signs).replace(_UNREAD, "")
            ordinary &= encodings.is_ordinary_text(sample.encode(coding.codec), coding.codec)
    if broken and (broken > 1 + other * _MOST_BROKEN or not ordinary):
        for _ in iter_safe_text(file, coding):
            pass  # raises at the first of them


def iter_catalogue_items(file: SourceFile, coding: Encoding, told: IssueLog) -> Iterator[NamedItem]:
    """Yield the items of catalogue answers, and note what else there was."""
    command, number = "", ""
    announced: dict[str, int] = {}
    others: dict[str, int] = {}
    count, held, at = 0, "", 0
    for piece in iter_safe_text(file, coding, errors="replace"):
        held, at = held[at:] + piece, 0
        while mark := _MARK.search(held, at):
            if mark["answer"]:
                command, number = "", ""
            elif mark["command"] is not None:
                command = mark["command"].lower()
            elif mark["number"] is not None:
                number = mark["number"]
            elif mark["sum"] and command in ("", "catalog"):
                announced[number] = int(mark["sum"])
            elif mark["item"]:
                end = _CLOSE.search(held, mark.end())
                if end is None and len(held) - mark.start() <= LONGEST_ITEM:
                    at = mark.start()
                    break
                if command in ("", "catalog"):
                    count += 1
                    yield parse_item(held[mark.start() : end.end()]) if end else _cut_item()
                else:
                    others[command] = others.get(command, 0) + 1
                at = end.end() if end else mark.end()
                continue
            at = mark.end()
        else:
            # A mark may be cut by the end of the piece.
            last = held.rfind("<", max(at, len(held) - 64))
            at = last if last >= 0 else len(held)
    if _MARK.match(held, at) and held[at : at + 5].lower() == "<item" and command in ("", "catalog"):
        count += 1
        yield _cut_item()
    if not count and others:
        kinds = ", ".join(sorted(others))
        raise Invalid(
            f"The file is a GB/T 28181 message of another kind ({kinds}). What is read: Catalog.",
            code="unsupported-format",
        )
    for name, items in others.items():
        told.add_note(f"{items:,} items of answers of another kind ({name}) are not read.")
    if announced and sum(announced.values()) != count:
        told.add_note(f"The answers announce {sum(announced.values()):,} items; the file has {count:,}.")


def _cut_item() -> NamedItem:
    return NamedItem({}, issue=_CUT)


def parse_item(text: str) -> NamedItem:
    repaired = _ALONE.sub("&amp;", _ILLEGAL.sub("", text))
    try:
        item = parse_element(repaired)
    except ParseError:
        return NamedItem({}, issue=_BROKEN)
    values: dict[str, Any] = {}
    for child in item:
        if len(child):
            for inner in child:
                _add_value(values, f"{child.tag}.{inner.tag}", "".join(inner.itertext()))
        else:
            _add_value(values, str(child.tag), child.text or "")
    return drop_cut_characters(values) if _UNREAD in repaired else NamedItem(values)


def drop_cut_characters(values: dict[str, Any]) -> NamedItem:
    """Return an item without half a character at the end of its texts: fields of devices are short."""
    kept = {name: text.rstrip(_UNREAD).rstrip() for name, text in values.items()}
    if any(_UNREAD in text for text in kept.values()):
        return NamedItem({name: text.replace(_UNREAD, "") for name, text in kept.items()}, None, _NO_TEXT)
    return NamedItem(kept, None, _CUT_TEXT, "warning")


def _add_value(values: dict[str, Any], name: str, text: str) -> None:
    """Put a value; several of one name are joined as the standard joins lists."""
    text = text.strip()
    before = values.get(name)
    if before and text and text not in before.split("/"):
        text = f"{before}/{text}"
    values[name] = text or before or ""


# Lists of a GA/T 1400 view library: capture devices (APE), tollgates, lanes, device states.
#
# Takes the standard's wrappers (``APEListObject``/``APEObject`` and so on), bare lists and single
# objects, with their names in any case (``apeId``, ``ape_id``). Lanes that stand in one file with their
# tollgates come as the column ``lanes`` of the tollgates, a JSON list of lane objects with the names
# of the standard; lanes alone are rows of their own, to be grouped by ``TollgateID``.

KINDS: Final = ("APE", "Tollgate", "Lane", "APEStatus")
"""Names of the layers, in the order of preference."""
_LISTS: Final = {
    "apeobject": "APE", "tollgateobject": "Tollgate", "laneobject": "Lane",
    "apestatusobject": "APEStatus", "apelist": "APE", "tollgatelist": "Tollgate", "lanelist": "Lane",
    "data": None, "rows": None, "records": None, "list": None,
}  # fmt: skip
_KEYS: Final = {
    "apeid": "ApeID", "tollgateid": "TollgateID", "laneid": "LaneId", "name": "Name",
    "currenttime": "CurrentTime",
}  # fmt: skip
"""Members by which objects are told apart and joined, as the standard writes them."""
_LANES: Final = "lanes"


def open_view_library(file: SourceFile, wanted: ReadOptions) -> TableReader:
    """Open the named list (APE, Tollgate, Lane, APEStatus), or the first there is.

    Raises
    ------
    Invalid
        ``damaged-file``, ``too-deep``, ``unknown-layer``, ``wrong-encoding``,
        ``unsupported-format``: an object that is none of these.
    """
    coding = encodings.detect_encoding(file.path, wanted.encoding, narrow=True)
    counts: dict[str, int] = {}
    lanes: dict[str, list[Any]] = {}
    for kind, value in iter_objects(file, coding):
        counts[kind] = counts.get(kind, 0) + 1
        if kind == "Lane":
            lanes.setdefault(str(value.get("TollgateID")), []).append(value)
    layers = tuple(kind for kind in KINDS if kind in counts)
    layer, notes = choose_layer(layers, (), wanted.layer or wanted.sheet)
    if layer != "Tollgate" or "Lane" not in counts:
        lanes = {}
    known: set[str] = set()
    found = collect_items(iter_layer_items(file, coding, layer, lanes, known))
    if lanes:
        notes = _describe_lanes(notes, counts, lanes, known)
    detected = DetectedFormat(
        format="gat1400",
        encoding=coding.name,
        layer=layer,
        layers=layers,
        rows=found.count,
        notes=(*coding.notes, *notes),
    )
    return found.create_reader(detected)


def _describe_lanes(
    notes: tuple[str, ...], counts: dict[str, int], lanes: dict[str, list[Any]], known: set[str]
) -> tuple[str, ...]:
    lost = sum(len(of) for gate, of in lanes.items() if gate not in known)
    told = [f"{counts['Lane']:,} lanes are joined with their tollgates."]
    if lost:
        told.append(f"{lost:,} of them belong to no tollgate of the file and are not read.")
    return (*notes, *told)


def iter_layer_items(
    file: SourceFile, coding: Encoding, layer: str, lanes: dict[str, list[Any]], known: set[str]
) -> Iterator[NamedItem]:
    """Yield the objects of a layer; `known` takes the tollgates whose lanes are looked for."""
    for kind, value in iter_objects(file, coding):
        if kind != layer:
            continue
        own = None
        if lanes:
            gate = str(value.get("TollgateID"))
            known.add(gate)
            own = lanes.get(gate)
        yield NamedItem({**value, _LANES: own} if own else value)


def iter_objects(file: SourceFile, coding: Encoding) -> Iterator[tuple[str, dict[str, Any]]]:
    stream = JsonStream(encodings.iter_utf8_blocks(file.path, coding))
    for name, value in stream.items(_AnyCaseNames(_LISTS)):
        kind = _LISTS.get(_normalize_name(name))
        if not isinstance(value, dict):
            if kind:
                yield kind, {}  # told as a row without anything
                continue
            raise _unknown_object(value)
        found = {_KEYS.get(_normalize_name(str(key)), str(key)): member for key, member in value.items()}
        yield kind or detect_object_kind(found), found


class _AnyCaseNames(frozenset[str]):
    """Names that are found however their letters are written."""

    @override
    def __contains__(self, name: object) -> bool:
        return super().__contains__(_normalize_name(str(name)))


def _normalize_name(name: str) -> str:
    return name.replace("_", "").lower()


def detect_object_kind(value: dict[str, Any]) -> str:
    if "LaneId" in value:
        return "Lane"
    if "TollgateID" in value:
        return "Tollgate"
    if "ApeID" in value:
        return "APEStatus" if "Name" not in value and "CurrentTime" in value else "APE"
    raise _unknown_object(value)


def _unknown_object(value: Any) -> Invalid:
    shown = ", ".join(repr(str(key)) for key in list(value)[:5]) if isinstance(value, dict) else "?"
    return Invalid(
        f"An object of the file is no APE, tollgate or lane of GA/T 1400: it has {shown or 'nothing'}.",
        code="unsupported-format",
    )

"""Lists of a GA/T 1400 view library: capture devices (APE), tollgates, lanes, device states.

Takes the standard's wrappers (``APEListObject``/``APEObject`` and so on), bare lists and single
objects, with their names in any case (``apeId``, ``ape_id``). Lanes that stand in one file with their
tollgates come as the column ``lanes`` of the tollgates, a JSON list of lane objects with the names
of the standard; lanes alone are rows of their own, to be grouped by ``TollgateID``.
"""

from collections.abc import Iterator
from typing import Any, Final

from typing_extensions import override

from app.errors import Invalid
from app.formats import encoding as encodings
from app.formats.encoding import Encoding
from app.formats.jsonstream import JsonStream
from app.formats.model import Detected, Named, Opened, Wanted
from app.formats.records import Record, gather
from app.formats.vector import chosen

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


def open_lists(file: Named, wanted: Wanted) -> Opened:
    """Open the named list (APE, Tollgate, Lane, APEStatus), or the first there is.

    Raises
    ------
    Invalid
        ``damaged-file``, ``too-deep``, ``unknown-layer``, ``wrong-encoding``,
        ``unsupported-format``: an object that is none of these.
    """
    coding = encodings.detect(file.path, wanted.encoding, narrow=True)
    counts: dict[str, int] = {}
    lanes: dict[str, list[Any]] = {}
    for kind, value in _objects(file, coding):
        counts[kind] = counts.get(kind, 0) + 1
        if kind == "Lane":
            lanes.setdefault(str(value.get("TollgateID")), []).append(value)
    layers = tuple(kind for kind in KINDS if kind in counts)
    layer, notes = chosen(layers, (), wanted.layer or wanted.sheet)
    if layer != "Tollgate" or "Lane" not in counts:
        lanes = {}
    known: set[str] = set()
    found = gather(_records(file, coding, layer, lanes, known))
    if lanes:
        notes = _joined(notes, counts, lanes, known)
    detected = Detected(
        format="gat1400",
        encoding=coding.name,
        layer=layer,
        layers=layers,
        rows=found.count,
        notes=(*coding.notes, *notes),
    )
    return found.opened(detected)


def _joined(
    notes: tuple[str, ...], counts: dict[str, int], lanes: dict[str, list[Any]], known: set[str]
) -> tuple[str, ...]:
    lost = sum(len(of) for gate, of in lanes.items() if gate not in known)
    told = [f"{counts['Lane']:,} lanes are joined with their tollgates."]
    if lost:
        told.append(f"{lost:,} of them belong to no tollgate of the file and are not read.")
    return (*notes, *told)


def _records(
    file: Named, coding: Encoding, layer: str, lanes: dict[str, list[Any]], known: set[str]
) -> Iterator[Record]:
    """Yield the objects of a layer; `known` takes the tollgates whose lanes are looked for."""
    for kind, value in _objects(file, coding):
        if kind != layer:
            continue
        own = None
        if lanes:
            gate = str(value.get("TollgateID"))
            known.add(gate)
            own = lanes.get(gate)
        yield Record({**value, _LANES: own} if own else value)


def _objects(file: Named, coding: Encoding) -> Iterator[tuple[str, dict[str, Any]]]:
    stream = JsonStream(encodings.text_blocks(file.path, coding))
    for name, value in stream.items(_AnyCase(_LISTS)):
        kind = _LISTS.get(_bare(name))
        if not isinstance(value, dict):
            if kind:
                yield kind, {}  # told as a row without anything
                continue
            raise _refused(value)
        found = {_KEYS.get(_bare(str(key)), str(key)): member for key, member in value.items()}
        yield kind or _kind(found), found


class _AnyCase(frozenset[str]):
    """Names that are found however their letters are written."""

    @override
    def __contains__(self, name: object) -> bool:
        return super().__contains__(_bare(str(name)))


def _bare(name: str) -> str:
    return name.replace("_", "").lower()


def _kind(value: dict[str, Any]) -> str:
    if "LaneId" in value:
        return "Lane"
    if "TollgateID" in value:
        return "Tollgate"
    if "ApeID" in value:
        return "APEStatus" if "Name" not in value and "CurrentTime" in value else "APE"
    raise _refused(value)


def _refused(value: Any) -> Invalid:
    shown = ", ".join(repr(str(key)) for key in list(value)[:5]) if isinstance(value, dict) else "?"
    return Invalid(
        f"An object of the file is no APE, tollgate or lane of GA/T 1400: it has {shown or 'nothing'}.",
        code="unsupported-format",
    )

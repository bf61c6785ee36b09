"""A file and what its sender says, made into a source of rows and a plan; in a thread, no database.

What cannot be read at all is refused here, before anything is kept of it.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import orjson
from pydantic import ValidationError

from app.errors import Invalid, Issue
from app.imports.schemas import ImportRequest
from app.ingest.columns.field_specs import kind_of
from app.ingest.columns.options import Options
from app.ingest.columns.planner import Note, Plan, plan_for
from app.ingest.columns.profiles import Profile
from app.ingest.readers.opening import Batch, Detected, Source, open_source
from app.ingest.validation.batch_validation import judge
from app.ingest.validation.redaction import withheld
from app.records import payloads
from app.records.kinds import BY_NAME

_SAMPLE = 2000
_CHUNK = 1 << 20
_TRIED = 8
"""Sheets or layers that are tried when the first does not give what is needed."""


@dataclass(frozen=True)
class Arrived:
    """A file on this machine's disk, and the name it was sent under."""

    path: Path
    name: str
    size: int
    sha256: str


def arrived(path: Path, name: str | None = None) -> Arrived:
    """Return a file with its size and digest."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return Arrived(path, name or path.name, size, digest.hexdigest())


def request_of(payload: Mapping[str, Any]) -> ImportRequest:
    """Return what is asked for.

    Raises
    ------
    Invalid
        with every fault.
    """
    try:
        return ImportRequest.model_validate(payload)
    except ValidationError as error:
        faults = payloads.faults_of(error)
        detail = f"The import is not valid: {faults[0].pointer}: {faults[0].message}."
        raise Invalid(detail, issues=faults) from error


_MAPS = frozenset({"mapping", "defaults", "values"})


def payload_of(given: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Return the options of form fields, query parameters or a command line, all of them text.

    A map is JSON, or ``column=field`` as often as it takes; a list is JSON, or repeated. What is
    blank is not given.

    >>> payload_of([("kind", "camera"), ("mapping", "编码=code"), ("drop_columns", "姓名")])
    {'kind': 'camera', 'mapping': {'编码': 'code'}, 'drop_columns': ['姓名']}

    Raises
    ------
    Invalid
        when JSON is none, or an option is given twice.
    """
    payload: dict[str, Any] = {}
    for name, text in given:
        if not text.strip():
            continue
        if name in _MAPS:
            payload[name] = payload.get(name, {}) | _map(name, text)
        elif name == "drop_columns":
            payload[name] = [*payload.get(name, []), *_list(name, text)]
        elif name in payload:
            raise _bad(name, f"{name} is given twice")
        else:
            payload[name] = _json(name, text) if text.lstrip().startswith("{") else text
    return payload


def _map(name: str, text: str) -> dict[str, Any]:
    if text.lstrip().startswith("{"):
        found: dict[str, Any] = _json(name, text)
        return found
    key, equals, value = text.rpartition("=") if name == "mapping" else text.partition("=")
    if not equals or not key:
        raise _bad(name, f"{name} is JSON, or looks like column=field")
    return {key.strip(): value.strip() or None}


def _list(name: str, text: str) -> list[Any]:
    if not text.lstrip().startswith("["):
        return [text]
    found: list[Any] = _json(name, text)
    return found


def _json(name: str, text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise _bad(name, f"{name} is not valid JSON: {error}") from error


def _bad(name: str, message: str) -> Invalid:
    detail = f"The import is not valid: {message}."
    return Invalid(detail, issues=(Issue(f"/{name}", "invalid-option", message),))


@contextmanager
def opened(file: Arrived, wanted: ImportRequest, profile: Profile | None) -> Iterator[tuple[Source, Plan]]:
    """Give the rows of a file and how they are read.

    Raises
    ------
    Invalid
        when the file cannot be read, has forbidden columns, does not give what the kind needs, or
        an option says something of it that its format does not have.
    """
    with ExitStack() as held:
        source, sample = _first(held, file, wanted, wanted.layer)
        _refuse_unused(wanted, source.detected.format)
        how, notes = _by_its_own_mapping(options(wanted, profile), source)
        try:
            found = _planned(held, file, wanted, how, (source, sample))
        except Invalid as error:
            if error.code != "fields-missing" or how.some_fields or not _may_be_parts(wanted):
                raise
            try:
                how = replace(how, some_fields=True)
                found = _planned(held, file, wanted, how, (source, sample))
            except Invalid:
                raise error from None
        source, plan = found
        yield source, replace(plan, notes=(*notes, *plan.notes))


def _by_its_own_mapping(how: Options, source: Source) -> tuple[Options, tuple[Note, ...]]:
    """Return options with the mapping that an export of ours has in its zip, unless one is stated."""
    own = source.detected.mapping
    if own is None or how.mapping or how.profile is not None:
        return how, ()
    kind = kind_of(how.kind)
    mapping = {
        column: target
        for column, target in own.items()
        if column in source.columns and (target is None or kind.field(target.partition("@")[0]) is not None)
    }
    if not mapping:
        return how, ()
    note = Note(
        "mapping-found",
        f"the columns are read by the mapping.json of the zip ({len(mapping)} columns), as an export of "
        "the registry has it. State a mapping or a profile to have them read otherwise.",
        f"已按压缩包内本系统导出时附带的 mapping.json 读取各列（{len(mapping)} 列）；如需其他读法请指定映射或配置。",
    )
    return replace(how, mapping=mapping), (note,)


def _may_be_parts(wanted: ImportRequest) -> bool:
    """Tell whether rows may give only some fields of records that are registered."""
    name = kind_of(wanted.kind).name
    if name == "ring":
        return wanted.mode == "update_only"
    return wanted.mode != "create_only" and name in BY_NAME


def _planned(
    held: ExitStack,
    file: Arrived,
    wanted: ImportRequest,
    how: Options,
    first: tuple[Source, Batch | None],
) -> tuple[Source, Plan]:
    """Return the first sheet or layer, else another that gives what is needed, and how it is read."""
    source, sample = first
    try:
        return source, plan_for(how, source.detected, source.columns, sample)
    except Invalid as error:
        if error.code != "fields-missing" or wanted.layer or wanted.sheet:
            raise
        found = _other(held, file, wanted, how, source.detected)
        if found is None:
            raise
        return found


def sampled(source: Source, plan: Plan) -> Any:
    """Return the first rows judged good; in a thread."""
    batch = next(iter(source.batches(_SAMPLE)), None)
    return None if batch is None else judge(plan, withheld(batch, plan.dropped)).good


def _first(held: ExitStack, file: Arrived, wanted: ImportRequest, layer: str | None) -> tuple[Source, Batch | None]:
    """Return a layer of a file, and its first rows."""
    source = held.enter_context(
        open_source(
            file.path, name=file.name, format=wanted.format, encoding=wanted.encoding,
            delimiter=wanted.delimiter, header_row=wanted.header_row, sheet=wanted.sheet,
            layer=layer,
        )
    )  # fmt: skip
    return source, next(iter(source.batches(_SAMPLE)), None)


def _other(
    held: ExitStack, file: Arrived, wanted: ImportRequest, how: Options, told: Detected
) -> tuple[Source, Plan] | None:
    """Return another sheet or layer that gives what the kind needs: explanations may come first."""
    for layer in [name for name in told.layers if name != told.layer][:_TRIED]:
        try:
            source, sample = _first(held, file, wanted, layer)
            plan = plan_for(how, source.detected, source.columns, sample)
        except Invalid as error:
            if error.code in ("fields-missing", "no-such-row", "empty-file"):
                continue
            raise
        note = Note(
            "layer-chosen",
            f"{layer!r} is read, because {told.layer!r} does not give what is needed. Name the sheet "
            "or layer if another is meant.",
            f"读取的是“{layer}”，因为“{told.layer}”缺少必需的列；如需读取其他工作表或图层请指明。",
        )
        return source, replace(plan, notes=(*plan.notes, note))
    return None


_MARKUP: Final = ("html", "xml-spreadsheet")
_TABLES: Final = ("xlsx", "xls", "ods", *_MARKUP)
_TEXTS: Final = ("csv", "tsv")
_LAYERED: Final = (
    *_TABLES, "gpkg", "fgb", "shapefile", "gat1400", "json", "topojson", "mapinfo", "filegdb",
)  # fmt: skip
_USED_BY: Final = {
    "sheet": _LAYERED,
    "layer": (*_LAYERED, "kml", "parquet"),
    "delimiter": _TEXTS,
    "header_row": (*_TEXTS, *_TABLES),
    "encoding": (
        *_TEXTS, "geojson", "geojsonseq", "shapefile", "kml", "gb28181", "gat1400", "json", *_MARKUP,
    ),
}  # fmt: skip
"""Formats that an option says something of; sheet and layer are two words for one thing."""


def _refuse_unused(wanted: ImportRequest, found: str) -> None:
    """Refuse an option that would be passed over: its sender believes that it counts."""
    faults = [
        Issue(f"/{name}", "not-for-this-format", f"a file of format {found} has no {name}")
        for name, formats in _USED_BY.items()
        if getattr(wanted, name) is not None and found not in formats
    ]
    if faults:
        detail = f"The options do not fit the file: {faults[0].message}."
        raise Invalid(detail, code="not-for-this-format", issues=faults)


def options(wanted: ImportRequest, profile: Profile | None) -> Options:
    """Return what the judge of rows is told."""
    key = wanted.key or (profile.key if profile else None) or "code"
    return Options(
        kind=wanted.kind,
        jurisdiction=wanted.jurisdiction,
        mapping=wanted.mapping,
        profile=profile,
        values=wanted.values,
        code_lists=wanted.code_lists,
        crs=wanted.crs,
        drop_columns=wanted.drop_columns,
        defaults=wanted.defaults,
        key=key,
        some_fields=wanted.mode == "update_only" and _may_be_parts(wanted),
    )


def described(file: Arrived, found: Detected) -> dict[str, Any]:
    """Return what the job tells about its file."""
    return {
        "name": file.name,
        "size": file.size,
        "sha256": file.sha256,
        "format": found.format,
        "encoding": found.encoding,
        "delimiter": found.delimiter,
        "header_row": found.header_row,
        "layer": found.layer,
        "layers": list(found.layers),
        "crs": found.crs,
        "rows": found.rows,
        "notes": list(found.notes),
    }

"""Preparation of an import: the options of a request, the file as a source of rows, and the import plan.

Files are read in a thread, without the database. A file that cannot be read is refused here, before
anything of it is stored.
"""

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, get_args

import orjson
from pydantic import ValidationError

from app.access.roles import Principal
from app.errors import Invalid, Issue, to_issues
from app.imports.record_specs import find_record_spec
from app.imports.schemas import ImportRequest
from app.ingest.columns.options import Options, Profile
from app.ingest.columns.planner import ImportPlan, Note, build_plan
from app.ingest.formats import FORMATS, Option
from app.ingest.readers.opening import Batch, DetectedFormat, TableReader, open_source
from app.ingest.validation.batch_validation import validate_batch
from app.ingest.validation.redaction import redact_cells
from app.messages import Message, translate_message
from app.records.kinds import BY_NAME

_SAMPLE_ROWS: Final = 2000
_CHUNK_BYTES: Final = 1 << 20
_MAX_OTHER_LAYERS: Final = 8
"""Sheets or layers that are tried if the first one lacks required fields."""
_MAP_OPTIONS: Final = frozenset({"mapping", "defaults", "values"})


@dataclass(frozen=True)
class Upload:
    """A file on the disk of this machine, and the name that its sender gave it."""

    path: Path
    name: str
    size: int
    sha256: str


def read_upload(path: Path, name: str | None = None) -> Upload:
    """Return a file with its size in bytes and its SHA-256 digest."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
    return Upload(path, name or path.name, size, digest.hexdigest())


@dataclass(eq=False)
class PreparedImport:
    """One file that can be read, and all that its import needs; the file is open until the import ends."""

    id: str
    file: Upload
    request: ImportRequest
    principal: Principal
    reason: str
    """Reason in the history of the records."""
    source: TableReader
    plan: ImportPlan
    resources: ExitStack
    """Closes the file."""
    max_vertices: int
    """Largest number of vertices of a ring."""

    @property
    def jurisdictions(self) -> list[str]:
        """Jurisdictions that the request names."""
        return [] if self.request.jurisdiction is None else [self.request.jurisdiction]

    def build_job(self, worker: str) -> dict[str, Any]:
        """Return the job of the prepared as a row of ``import_job``."""
        return {
            "id": self.id,
            "worker": worker,
            "state": "received",
            "kind": self.plan.spec.name,
            "jurisdictions": self.jurisdictions,
            "actor": self.principal.name,
            "dry_run": self.request.dry_run,
            "options": self.request.model_dump(mode="json", exclude_defaults=True),
            "file": _describe_file(self.file, self.source.detected),
            "plan": self.plan.describe(),
            "counts": {},
            "notes": self.plan_notes,
            "cancel_requested": False,
        }

    @property
    def plan_notes(self) -> list[dict[str, str]]:
        """Notes of the plan, in both languages."""
        return [build_note(note.code, note.message) | vars(note) for note in self.plan.notes]


def build_note(code: str, message: str) -> dict[str, str]:
    """Return a note of a job with its text in both languages: a reader's language is not known yet."""
    return {"code": code, "message": message, "message_zh": translate_message(message, "zh")}


def _describe_file(file: Upload, detected: DetectedFormat) -> dict[str, Any]:
    return {
        "name": file.name,
        "size": file.size,
        "sha256": file.sha256,
        "format": detected.format,
        "encoding": detected.encoding,
        "delimiter": detected.delimiter,
        "header_row": detected.header_row,
        "layer": detected.layer,
        "layers": list(detected.layers),
        "crs": detected.crs,
        "rows": detected.rows,
        "notes": list(detected.notes),
    }


# Options of the request.


def parse_request(payload: object) -> ImportRequest:
    """Return the validated options of an import.

    Raises
    ------
    Invalid
        with every error of the options.
    """
    try:
        return ImportRequest.model_validate(payload)
    except ValidationError as error:
        issues = to_issues(error)
        message = Message(
            "The import options are not valid: {pointer}: {reason}.",
            pointer=issues[0].pointer,
            reason=issues[0].message,
        )
        raise Invalid(message, issues=issues) from error


def parse_options(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Return options by name, from the texts of form fields, query parameters or a command line.

    A map is JSON, or ``column=field`` once for each column; a list is JSON, or one option for each
    item. Blank options are ignored.

    >>> parse_options([("kind", "camera"), ("mapping", "编码=code"), ("drop_columns", "姓名")])
    {'kind': 'camera', 'mapping': {'编码': 'code'}, 'drop_columns': ['姓名']}

    Raises
    ------
    Invalid
        if a text is not valid JSON, or an option that has one value is given twice.
    """
    payload: dict[str, Any] = {}
    for name, text in pairs:
        if not text.strip():
            continue
        if name in _MAP_OPTIONS:
            payload[name] = payload.get(name, {}) | _parse_map(name, text)
        elif name == "drop_columns":
            payload[name] = [*payload.get(name, []), *_parse_list(name, text)]
        elif name in payload:
            raise _invalid_option(name, Message("Option {name} is given twice. Give it once.", name=name))
        else:
            payload[name] = _parse_json(name, text) if text.lstrip().startswith("{") else text
    return payload


def _parse_map(name: str, text: str) -> dict[str, Any]:
    if text.lstrip().startswith("{"):
        document: dict[str, Any] = _parse_json(name, text)
        return document
    # A column name may contain "=", a field name cannot; a default value may contain it, too.
    key, equals, value = text.rpartition("=") if name == "mapping" else text.partition("=")
    if not equals or not key:
        message = Message("Option {name} is not valid. Write it as JSON, or as column=field.", name=name)
        raise _invalid_option(name, message)
    return {key.strip(): value.strip() or None}


def _parse_list(name: str, text: str) -> list[Any]:
    if not text.lstrip().startswith("["):
        return [text]
    document: list[Any] = _parse_json(name, text)
    return document


def _parse_json(name: str, text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        message = Message("Option {name} is not valid JSON: {reason}.", name=name, reason=str(error))
        raise _invalid_option(name, message) from error


def _invalid_option(name: str, message: Message) -> Invalid:
    return Invalid(message, issues=(Issue(f"/{name}", "invalid-option", message),))


def build_options(request: ImportRequest, profile: Profile | None) -> Options:
    """Return the options of the import plan."""
    key = request.key or (profile.key if profile else None) or "code"
    return Options(
        spec=find_record_spec(request.kind),
        jurisdiction=request.jurisdiction,
        mapping=request.mapping,
        profile=profile,
        values=request.values,
        code_lists=request.code_lists,
        crs=request.crs,
        drop_columns=request.drop_columns,
        defaults=request.defaults,
        key=key,
        some_fields=request.mode == "update_only" and _accepts_partial_rows(request),
    )


def _accepts_partial_rows(request: ImportRequest) -> bool:
    """Return whether rows may have only some fields of registered records."""
    name = find_record_spec(request.kind).name
    if name == "ring":
        return request.mode == "update_only"
    return request.mode != "create_only" and name in BY_NAME


def _check_format_options(request: ImportRequest, detected_format: str) -> None:
    """Raise Invalid if an option does not apply to the format: its sender expects an effect."""
    issues = [
        Issue(
            f"/{name}",
            "not-for-this-format",
            Message("Option {name} does not apply to format {format}. Remove it.", name=name, format=detected_format),
        )
        for name in get_args(Option)
        if getattr(request, name) is not None and name not in FORMATS[detected_format].options
    ]
    if issues:
        raise Invalid(issues[0].message, code="not-for-this-format", issues=issues)


def check_kind_options(request: ImportRequest, plan: ImportPlan) -> None:
    """Raise Invalid, ``not-for-this-kind``, if an option does not apply to the kind of record."""
    kind, message = plan.spec.name, None
    if kind not in BY_NAME and request.replace_missing == "remove":
        message = Message("replace_missing=remove is not possible for a {kind}. Use keep.", kind=kind)
    elif kind == "state" and request.mode != "upsert":
        message = Message("mode={mode} is not possible for a {kind}. Use upsert.", mode=request.mode, kind=kind)
    elif plan.key == "owner_reference" and "owner_reference" not in plan.spec.fields:
        message = Message("key=owner_reference is not possible: a {kind} has no owner_reference.", kind=kind)
    if message is not None:
        raise Invalid(message, code="not-for-this-kind")


# The file and its plan.


@contextmanager
def open_import(
    file: Upload, request: ImportRequest, profile: Profile | None
) -> Iterator[tuple[TableReader, ImportPlan]]:
    """Open a file; yield the source of its rows and the import plan.

    Raises
    ------
    Invalid
        if the file cannot be read, has forbidden columns or lacks required fields, or if an option
        does not apply to its format.
    """
    with ExitStack() as resources:
        source, sample = _open_layer(resources, file, request, request.layer)
        _check_format_options(request, source.detected.format)
        options, notes = _use_mapping_of_file(build_options(request, profile), source)
        try:
            source, plan = _plan_any_layer(resources, file, request, options, (source, sample))
        except Invalid as error:
            if error.code != "fields-missing" or options.some_fields or not _accepts_partial_rows(request):
                raise
            try:
                options = replace(options, some_fields=True)
                source, plan = _plan_any_layer(resources, file, request, options, (source, sample))
            except Invalid:
                raise error from None  # the first error lists the fields of a whole record
        yield source, replace(plan, notes=(*notes, *plan.notes))


def _open_layer(
    resources: ExitStack, file: Upload, request: ImportRequest, layer: str | None
) -> tuple[TableReader, Batch | None]:
    """Return a layer of a file and its first rows."""
    opened = open_source(
        file.path,
        name=file.name,
        format=request.format,
        encoding=request.encoding,
        delimiter=request.delimiter,
        header_row=request.header_row,
        sheet=request.sheet,
        layer=layer,
    )
    source = resources.enter_context(opened)
    return source, next(iter(source.iter_batches(_SAMPLE_ROWS)), None)


def _use_mapping_of_file(options: Options, source: TableReader) -> tuple[Options, tuple[Note, ...]]:
    """Return options with the mapping.json of an export of this registry, unless the sender names one."""
    mapping_of_file = source.detected.mapping
    if mapping_of_file is None or options.mapping or options.profile is not None:
        return options, ()
    mapping = {
        column: target
        for column, target in mapping_of_file.items()
        if column in source.columns and (target is None or options.spec.field(target.partition("@")[0]) is not None)
    }
    if not mapping:
        return options, ()
    message = Message(
        "The columns are mapped by mapping.json of the zip ({count} columns), which an export of the registry "
        "adds. Give a mapping or a profile to map them differently.",
        count=len(mapping),
    )
    return replace(options, mapping=mapping), (Note("mapping-found", message),)


def _plan_any_layer(
    resources: ExitStack,
    file: Upload,
    request: ImportRequest,
    options: Options,
    first_layer: tuple[TableReader, Batch | None],
) -> tuple[TableReader, ImportPlan]:
    """Return the first layer and its plan, or another layer if the first one lacks required fields."""
    source, sample = first_layer
    try:
        return source, build_plan(options, source.detected, source.columns, sample)
    except Invalid as error:
        if error.code != "fields-missing" or request.layer or request.sheet:
            raise
        other_layer = _plan_other_layer(resources, file, request, options, source.detected)
        if other_layer is None:
            raise
        return other_layer


def _plan_other_layer(
    resources: ExitStack, file: Upload, request: ImportRequest, options: Options, detected: DetectedFormat
) -> tuple[TableReader, ImportPlan] | None:
    """Return another layer with the required fields: the first sheet may hold explanations only."""
    for layer in [name for name in detected.layers if name != detected.layer][:_MAX_OTHER_LAYERS]:
        try:
            source, sample = _open_layer(resources, file, request, layer)
            plan = build_plan(options, source.detected, source.columns, sample)
        except Invalid as error:
            if error.code in ("fields-missing", "no-such-row", "empty-file"):
                continue
            raise
        message = Message(
            "Layer {layer!r} is read, because {first!r} lacks required fields. Name the sheet or layer to read "
            "another one.",
            layer=layer,
            first=detected.layer,
        )
        return source, replace(plan, notes=(*plan.notes, Note("layer-chosen", message)))
    return None


def read_valid_sample(source: TableReader, plan: ImportPlan) -> Any:
    """Return the valid ones of the first rows as an Arrow table, None for a file without rows; in a thread."""
    batch = next(iter(source.iter_batches(_SAMPLE_ROWS)), None)
    return None if batch is None else validate_batch(plan, redact_cells(batch, plan.dropped)).valid

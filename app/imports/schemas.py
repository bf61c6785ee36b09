"""Schemas of imports: the request, the job, and its rows."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints

from app.ingest.columns.options import CodeList, Header, ImportKind, Profile, Stored, Target
from app.models.fields import DivisionText

JobState = Literal["received", "parsing", "validating", "applying", "done", "failed", "cancelled"]
RowStatus = Literal["created", "updated", "unchanged", "removed", "refused", "merged", "passed_over", "not_written"]
RowFilter = Literal["error", "warning", "created", "updated", "unchanged", "removed", "refused", "not_written"]
_Name = Annotated[str, StringConstraints(min_length=1, max_length=100)]
DEFAULT_MAX_REMOVE_SHARE = 0.1


class ImportRequest(Stored):
    """Options of an import: how the file is read, and how its rows change the registry."""

    model_config = ConfigDict(extra="forbid")

    kind: ImportKind = Field(description="Kind of record, or `ring` or `state`; plurals are accepted.")
    jurisdiction: DivisionText | None = Field(None, description="Jurisdiction of rows that do not name one.")
    mapping: dict[Header, Target | None] = Field(
        default_factory=dict,
        max_length=500,
        description="Column to field, or to `field@list`; null ignores the column.",
    )
    profile: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")] | None = Field(
        None, description="Name of the profile. Default: detected."
    )
    values: dict[Target, dict[str, JsonValue]] = Field(
        default_factory=dict,
        max_length=200,
        description="Field to the meaning of its cells: cell text to value.",
    )
    code_lists: CodeList | dict[str, CodeList] | None = Field(
        None, description="Code list of all topics, or topic to code list."
    )
    crs: _Name | None = Field(None, description="CRS or datum of the coordinates: EPSG:2326, gcj02, bd09 ...")
    defaults: dict[Target, JsonValue] = Field(
        default_factory=dict, max_length=100, description="Values of fields whose cell is blank."
    )
    drop_columns: list[Header] = Field(
        default_factory=list, max_length=500, description="Columns that are neither read nor stored."
    )
    key: Literal["code", "owner_reference"] | None = Field(
        None,
        description="Field that identifies the record of a row. Default: that of the profile, else `code`.",
    )
    mode: Literal["upsert", "create_only", "update_only"] = Field(
        "upsert",
        description="Accepted rows: all, new records only, or registered records only. Rows of registered records "
        "need the key and the changed fields; fields that the file does not have keep their values.",
    )
    replace_missing: Literal["keep", "remove"] = Field(
        "keep",
        description="What to do with records of the jurisdiction that are not in the file.",
    )
    max_remove_share: float = Field(
        DEFAULT_MAX_REMOVE_SHARE,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="Refuse the file if more than this share of the records would be removed.",
    )
    on_error: Literal["reject_all", "skip_rows"] = Field(
        "reject_all",
        description="What to do if a row is refused: write nothing, or skip the row.",
    )
    dry_run: bool = Field(
        False, description="Validate and compare all rows, report the outcome of each, and write nothing."
    )
    format: _Name | None = Field(None, description="Format of the file. Default: detected.")
    encoding: _Name | None = Field(None, description="Encoding. Default: detected.")
    delimiter: Annotated[str, StringConstraints(min_length=1, max_length=3)] | None = Field(
        None, description="Delimiter. Default: detected."
    )
    header_row: int | None = Field(
        None, ge=0, le=10_000, description="Row of the header; 0: no header. Default: detected."
    )
    sheet: _Name | None = Field(None, description="Sheet of a workbook.")
    layer: _Name | None = Field(None, description="Layer of a GIS file.")


class Counts(BaseModel):
    """Rows by outcome; in a dry run, the outcome that the import would have.

    During the import: the outcome so far, in a transaction that is not committed.
    """

    rows: int = Field(0, description="Rows read.")
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    removed: int = Field(0, description="Records that are not in the file and were removed.")
    refused: int = Field(0, description="Rows with an error.")
    warned: int = Field(0, description="Rows with a warning.")
    errors: int = Field(0, description="Errors of all rows.")
    states: int = Field(0, description="Device states recorded.")
    not_written: int = Field(
        0,
        description="Valid rows of an import that failed or was cancelled: they would have been created, "
        "updated or removed.",
    )


class ImportNote(BaseModel):
    """A note on the file or the import for its sender."""

    code: str
    message: str


class ImportFile(BaseModel):
    """The file, and what was detected in it."""

    name: str
    size: int
    sha256: str
    format: str
    encoding: str | None
    delimiter: str | None
    header_row: int | None
    layer: str | None
    layers: list[str]
    crs: str | None
    rows: int | None
    notes: list[str]


class ImportProblem(BaseModel):
    """The reason why nothing was written, or would be."""

    code: str
    detail: str
    errors: list[dict[str, Any]] = Field(default_factory=list)


class ImportJob(BaseModel):
    """The import of one file."""

    id: str
    state: JobState
    kind: str
    dry_run: bool
    jurisdictions: list[str] = Field(description="Jurisdictions of the rows so far.")
    actor: str = Field(description="Sender: the label of a key, or the operator.")
    options: dict[str, Any] = Field(description="Options of the request that differ from their defaults.")
    file: ImportFile
    plan: dict[str, Any] = Field(description="Columns by field, and the ignored columns.")
    counts: Counts
    progress: float | None = Field(
        description="Share of the rows that are processed; null if their number is not known."
    )
    written: bool = Field(description="Whether anything was written to the registry.")
    notes: list[ImportNote]
    problem: ImportProblem | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    links: dict[str, str]


class ImportJobs(BaseModel):
    """A page of jobs, newest first."""

    items: list[ImportJob]
    next: str | None


class RowProblem(BaseModel):
    """One error or warning of a row."""

    column: str | None = Field(description="Name of the column in the file.")
    field: str | None
    value: str | None = Field(description="Start of the cell.")
    code: str
    message: str
    hint: str | None
    severity: Literal["error", "warning"]


class ImportRow(BaseModel):
    """The outcome of one row."""

    row: int | None = Field(
        description="Row number as a spreadsheet shows it; null for a record that is not in the file."
    )
    code: str | None
    status: RowStatus
    problems: list[RowProblem]
    changes: dict[str, list[Any]] | None = Field(
        description="Field to its values before and after, for an updated record."
    )


class ImportRows(BaseModel):
    """A page of rows, in the order of the file."""

    items: list[ImportRow]
    next: str | None


class ImportProfileView(Profile):
    """A profile, and who saved it."""

    built_in: bool = Field(description="Part of the product; cannot be changed.")
    updated_at: datetime | None
    updated_by: str | None


class ImportProfiles(BaseModel):
    """A list of profiles."""

    items: list[ImportProfileView]

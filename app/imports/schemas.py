"""What travels about the imports themselves: what is asked for, the job, and its rows."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints

from app.ingest.columns.profiles import CodeList, Header, ImportKind, Profile, Stored, Target
from app.models.fields import DivisionText

JobState = Literal["received", "parsing", "validating", "applying", "done", "failed", "cancelled"]
RowStatus = Literal["created", "updated", "unchanged", "removed", "refused", "merged", "passed_over", "not_written"]
Asked = Literal["error", "warning", "created", "updated", "unchanged", "removed", "refused", "not_written"]
_Name = Annotated[str, StringConstraints(min_length=1, max_length=100)]
MAX_SHARE = 0.1


class ImportRequest(Stored):
    """How a file is to be read and what is to be done with its rows."""

    model_config = ConfigDict(extra="forbid")

    kind: ImportKind = Field(description="Kind of record, or `ring` or `state`; plurals are taken, too.")
    jurisdiction: DivisionText | None = Field(None, description="Jurisdiction of rows that do not name one.")
    mapping: dict[Header, Target | None] = Field(
        default_factory=dict,
        max_length=500,
        description="Column to field, or to `field@list`; null leaves the column out.",
    )
    profile: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")] | None = Field(
        None, description="Name of the profile to read by. Not given: recognised."
    )
    values: dict[Target, dict[str, JsonValue]] = Field(
        default_factory=dict,
        max_length=200,
        description="Field to what its cells mean: cell text to value.",
    )
    code_lists: CodeList | dict[str, CodeList] | None = Field(
        None, description="Code list of all topics, or topic to code list."
    )
    crs: _Name | None = Field(None, description="CRS or datum of the coordinates: EPSG:2326, gcj02, bd09 ...")
    defaults: dict[Target, JsonValue] = Field(
        default_factory=dict, max_length=100, description="Values of fields whose cell is blank."
    )
    drop_columns: list[Header] = Field(
        default_factory=list, max_length=500, description="Columns that are never read nor kept."
    )
    key: Literal["code", "owner_reference"] | None = Field(
        None,
        description="What makes a row the record it updates. Not given: what the profile says, else `code`.",
    )
    mode: Literal["upsert", "create_only", "update_only"] = Field(
        "upsert",
        description="Which rows are taken: any, new ones only, known ones only. Known ones need their "
        "key and what changes; a field the file does not give stays.",
    )
    replace_missing: Literal["keep", "remove"] = Field(
        "keep",
        description="What becomes of records of the jurisdiction that are not in the file.",
    )
    max_remove_share: float = Field(
        MAX_SHARE, ge=0, le=1, allow_inf_nan=False,
        description="Refuse the file when more than this share of the records would be removed.",
    )  # fmt: skip
    on_error: Literal["reject_all", "skip_rows"] = Field(
        "reject_all",
        description="What one bad row means: nothing is written, or it is left out.",
    )
    dry_run: bool = Field(False, description="Do everything, tell the outcome of each row, and write nothing.")
    format: _Name | None = Field(None, description="Format of the file. Not given: found out.")
    encoding: _Name | None = Field(None, description="Encoding. Not given: found out.")
    delimiter: Annotated[str, StringConstraints(min_length=1, max_length=3)] | None = Field(
        None, description="Delimiter. Not given: found out."
    )
    header_row: int | None = Field(None, ge=0, le=10_000, description="Row of the header, 0: there is none.")
    sheet: _Name | None = Field(None, description="Sheet of a workbook.")
    layer: _Name | None = Field(None, description="Layer of a GIS file.")


class Counts(BaseModel):
    """Rows, by what became of them; with a dry run, by what would have become of them.

    While the import is under way: what became of them so far, in a transaction that is still open.
    """

    rows: int = Field(0, description="Rows read.")
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    removed: int = Field(0, description="Records that were not in the file, and removed.")
    refused: int = Field(0, description="Rows with an error.")
    warned: int = Field(0, description="Rows with a warning.")
    errors: int = Field(0, description="Errors of all rows.")
    states: int = Field(0, description="Device states recorded.")
    not_written: int = Field(
        0,
        description="Good rows of an import that failed or was cancelled: they would have been created, "
        "updated or removed, and nothing was.",
    )


class ImportNote(BaseModel):
    """Something the sender should know about the file."""

    code: str
    message: str


class ImportFile(BaseModel):
    """The file as it came and what was found out about it."""

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
    """Why nothing was written, or would not be."""

    code: str
    detail: str
    errors: list[dict[str, Any]] = Field(default_factory=list)


class ImportJob(BaseModel):
    """One file on its way in."""

    id: str
    state: JobState
    kind: str
    dry_run: bool
    jurisdictions: list[str] = Field(description="Jurisdictions of the rows so far.")
    actor: str = Field(description="Who sent it: a program's key, or the operator.")
    options: dict[str, Any] = Field(description="What was asked for.")
    file: ImportFile
    plan: dict[str, Any] = Field(description="Which column feeds which field, and what is ignored.")
    counts: Counts
    progress: float | None = Field(
        description="Share of the rows that are through; null when their number is not known."
    )
    written: bool = Field(description="Whether anything was written to the registry.")
    notes: list[ImportNote]
    problem: ImportProblem | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    links: dict[str, str]


class ImportJobs(BaseModel):
    """Jobs, newest first."""

    items: list[ImportJob]
    next: str | None


class RowProblem(BaseModel):
    """One thing wrong with one row."""

    column: str | None = Field(description="Column as the file names it.")
    field: str | None
    value: str | None = Field(description="The cell, cut short.")
    code: str
    message: str
    hint: str | None
    severity: Literal["error", "warning"]


class ImportRow(BaseModel):
    """What became of one row."""

    row: int | None = Field(description="Row as a spreadsheet shows it; null for a record that is not in the file.")
    code: str | None
    status: RowStatus
    problems: list[RowProblem]
    changes: dict[str, list[Any]] | None = Field(
        description="Field to its value before and after, for an updated record."
    )


class ImportRows(BaseModel):
    """A page of rows, in the order of the file."""

    items: list[ImportRow]
    next: str | None


class ImportProfileView(Profile):
    """A profile as it is kept."""

    built_in: bool = Field(description="Comes with the product, cannot be changed.")
    updated_at: datetime | None
    updated_by: str | None


class ImportProfiles(BaseModel):
    """All profiles."""

    items: list[ImportProfileView]

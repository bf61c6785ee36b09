"""The tables of the registry: records, decisions, device states, history, revisions, cached results and API keys."""

from datetime import datetime
from typing import Any

from shapely.geometry.base import BaseGeometry
from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    DateTime,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlmodel import Field, SQLModel

from app.models.columns import Code, RecordKeeping, Shape, TextArray, WithDocument, ZoneColumns, build_value_check
from app.models.cross_field_rules import build_checks
from app.models.fields import (
    BuildingFields,
    CameraFields,
    CheckpointFields,
    ControlPointFields,
    JurisdictionFields,
    RingFields,
    RoadFields,
)
from app.models.vocabulary import CATEGORIES, FUNCTIONS, LEVELS

# The tables of imports: jobs, the result of each row, and profiles.
#
# They are independent of the records: a job exists also if its import wrote nothing.

_TIME: Any = DateTime(timezone=True)
JOB_STATES = ("received", "parsing", "validating", "applying", "done", "failed", "cancelled")
FINISHED = ("done", "failed", "cancelled")


class ImportJob(SQLModel, table=True):
    """An import job: sender, options, plan, progress and outcome."""

    __tablename__ = "import_job"
    __table_args__ = (
        build_value_check("state", JOB_STATES),
        Index("ix_import_job_created", "created_at", "id"),
    )

    id: str = Field(primary_key=True, sa_type=Code)
    worker: str = Field(sa_type=Text)
    """The process that runs it; it holds the advisory lock of this name."""
    state: str = Field(sa_type=Text)
    kind: str = Field(sa_type=Text)
    jurisdictions: list[str] = Field(sa_type=TextArray)
    actor: str = Field(sa_type=Text)
    dry_run: bool = Field(sa_type=Boolean)
    options: Any = Field(sa_type=JSONB)
    file: Any = Field(sa_type=JSONB)
    plan: Any = Field(sa_type=JSONB)
    counts: Any = Field(sa_type=JSONB)
    notes: Any = Field(sa_type=JSONB)
    problem: Any = Field(default=None, nullable=True, sa_type=JSONB(none_as_null=True))
    cancel_requested: bool = Field(sa_type=Boolean)
    created_at: datetime = Field(sa_type=_TIME, sa_column_kwargs={"server_default": func.now()})
    started_at: datetime | None = Field(default=None, sa_type=_TIME)
    finished_at: datetime | None = Field(default=None, sa_type=_TIME)


class ImportPage(SQLModel, table=True):
    """Some rows of a file: the result of each, and its cells without the dropped columns."""

    __tablename__ = "import_page"
    __table_args__ = (ForeignKeyConstraint(["job"], ["import_job.id"], ondelete="CASCADE"),)

    job: str = Field(primary_key=True, sa_type=Code)
    page: int = Field(primary_key=True, sa_type=Integer)
    rows: int = Field(sa_type=BigInteger)
    has: list[str] = Field(sa_type=TextArray)
    """Statuses that occur, so that a filter can skip pages without a match."""
    results: bytes = Field(sa_type=LargeBinary)
    cells: bytes | None = Field(default=None, sa_type=LargeBinary)


class ImportProfile(SQLModel, table=True):
    """Named reading rules for the files of one source."""

    __tablename__ = "import_profile"

    name: str = Field(primary_key=True, sa_type=Code)
    body: Any = Field(sa_type=JSONB)
    updated_at: datetime = Field(sa_type=_TIME, sa_column_kwargs={"server_default": func.now()})
    updated_by: str = Field(sa_type=Text)


_INSTANT: Any = DateTime(timezone=True)


def build_jurisdiction_key() -> ForeignKeyConstraint:
    """Return the foreign key to the jurisdiction of a row."""
    return ForeignKeyConstraint(["jurisdiction"], ["jurisdiction.code"])


def build_record_constraints(table: str) -> tuple[Any, ...]:
    """Return the constraints and indexes of every located record: identity, jurisdiction, location, pages."""
    return (
        UniqueConstraint("code"),
        # `registry_touch` checks once for each statement that the jurisdiction exists (ADR 12).
        UniqueConstraint("jurisdiction", "code"),
        Index(f"ix_{table}_geometry", "geometry", postgresql_using="gist"),
        Index(f"ix_{table}_updated", "jurisdiction", "updated_at"),
        # A bounded repeat in the pattern would cost ten times as much for every row.
        CheckConstraint("code !~ '[^A-Za-z0-9._:-]' AND length(code) BETWEEN 1 AND 64", name="code"),
        CheckConstraint("NOT ST_IsEmpty(geometry) AND ST_IsValid(geometry)", name="geometry"),
    )


def build_owner_constraints(table: str) -> tuple[Any, ...]:
    """Return the cross-field rules, and the index that makes the owner reference of a unit unique."""
    return (
        Index(
            f"uq_{table}_owner_reference",
            "jurisdiction",
            "owner_unit",
            "owner_reference",
            unique=True,
            postgresql_where=text("owner_reference IS NOT NULL AND removed_at IS NULL"),
        ),
        *build_checks(table),
    )


def build_reference_index(table: str, column: str) -> Index:
    """Return the index of a reference column; it leaves out the rows without a reference."""
    return Index(f"ix_{table}_{column}", column, postgresql_where=text(f"{column} IS NOT NULL"))


class Waiver(RecordKeeping, table=True):
    """A decision that a crossing needs no guard; it is matched to a crossing by ring, road and location."""

    __tablename__ = "waiver"
    __table_args__ = (
        UniqueConstraint("code"),
        build_jurisdiction_key(),
        Index("ix_waiver_jurisdiction", "jurisdiction"),
        build_value_check("level", LEVELS),
        CheckConstraint("code = jurisdiction || '/' || crossing", name="code"),
        CheckConstraint("length(reason) > 0", name="reason"),
    )

    code: str = Field(sa_type=Code)
    jurisdiction: str = Field(sa_type=Code)
    crossing: str = Field(sa_type=Code)
    level: str = Field(sa_type=Text)
    road: str = Field(sa_type=Text)
    reason: str = Field(sa_type=Text)
    expires_at: datetime = Field(sa_type=_INSTANT)
    waived_by: str = Field(sa_type=Text)
    geometry: BaseGeometry = Field(sa_type=Shape("POINT"))

    model_config = {"arbitrary_types_allowed": True}


class CachedResponse(SQLModel, table=True):
    """A cached response that a worker has computed; it may be deleted at any time."""

    __tablename__ = "analysis_answer"
    __table_args__ = (build_jurisdiction_key(),)

    jurisdiction: str = Field(primary_key=True, sa_type=Code)
    name: str = Field(primary_key=True, sa_type=Code)
    revision: int = Field(sa_type=BigInteger)
    holds_until: datetime | None = Field(default=None, sa_type=_INSTANT)
    made_by: str = Field(sa_type=Text)
    made_at: datetime = Field(sa_type=_INSTANT, sa_column_kwargs={"server_default": func.now()})
    body: bytes = Field(sa_type=LargeBinary)


class Scenario(RecordKeeping, table=True):
    """An overlay that is stored under a name."""

    __tablename__ = "scenario"
    __table_args__ = (
        UniqueConstraint("code"),
        build_jurisdiction_key(),
        Index("ix_scenario_jurisdiction", "jurisdiction", "name"),
        CheckConstraint("code = jurisdiction || '/' || name", name="code"),
        CheckConstraint("jsonb_typeof(changes) = 'array'", name="changes"),
    )

    code: str = Field(sa_type=Code)
    jurisdiction: str = Field(sa_type=Code)
    name: str = Field(sa_type=Code)
    title: str | None = Field(default=None, sa_type=Text)
    author: str = Field(sa_type=Text)
    changes: list[Any] = Field(sa_type=JSONB)


_NOW_INSTANT: Any = DateTime(timezone=True)


class Jurisdiction(JurisdictionFields, RecordKeeping, table=True):
    """The area that the registry is responsible for."""

    __tablename__ = "jurisdiction"
    __table_args__ = (
        UniqueConstraint("code"),
        CheckConstraint("code ~ '^[0-9]{6}$'", name="code"),
        CheckConstraint("stale_after_s > 0", name="stale_after_s"),
    )


class Ring(RingFields, RecordKeeping, table=True):
    """The ring of one level that is in force; the history has earlier ones."""

    __tablename__ = "ring"
    __table_args__ = (
        UniqueConstraint("code"),
        build_jurisdiction_key(),
        build_value_check("level", LEVELS),
        CheckConstraint("code = jurisdiction || '/' || level", name="code"),
        CheckConstraint("tolerance_m >= 0", name="tolerance_m"),
        CheckConstraint("NOT ST_IsEmpty(geometry) AND ST_IsValid(geometry)", name="geometry"),
    )

    code: str = Field(sa_type=Code)
    geometry: BaseGeometry = Field(sa_type=Shape("MULTIPOLYGON"))

    model_config = {"arbitrary_types_allowed": True}


class ControlPoint(ControlPointFields, ZoneColumns, RecordKeeping, WithDocument, table=True):
    """A road, junction or site that must be covered."""

    __tablename__ = "control_point"
    __table_args__ = (
        *build_record_constraints("control_point"),
        *build_owner_constraints("control_point"),
        Index("ix_control_point_zone", "jurisdiction", "zone", "code"),
        build_value_check("category", CATEGORIES),
    )

    geometry: BaseGeometry = Field(sa_type=Shape())

    model_config = {"arbitrary_types_allowed": True}


class Road(RoadFields, RecordKeeping, WithDocument, table=True):
    """A centreline."""

    __tablename__ = "road"
    __table_args__ = build_record_constraints("road")

    geometry: BaseGeometry = Field(sa_type=Shape("LINESTRING"))

    model_config = {"arbitrary_types_allowed": True}


class Building(BuildingFields, RecordKeeping, WithDocument, table=True):
    """A building that can block the line of sight."""

    __tablename__ = "building"
    __table_args__ = (
        *build_record_constraints("building"),
        CheckConstraint("ST_Dimension(geometry) = 2", name="area"),
        CheckConstraint("height_m > 0 AND height_m < 'Infinity'", name="height_m"),
    )

    geometry: BaseGeometry = Field(sa_type=Shape())

    model_config = {"arbitrary_types_allowed": True}


class Checkpoint(CheckpointFields, ZoneColumns, RecordKeeping, WithDocument, table=True):
    """A face or vehicle checkpoint with its lanes."""

    __tablename__ = "checkpoint"
    __table_args__ = (
        *build_record_constraints("checkpoint"),
        *build_owner_constraints("checkpoint"),
        Index("ix_checkpoint_zone", "jurisdiction", "zone", "code"),
        build_reference_index("checkpoint", "control_point"),
        build_value_check("lifecycle", ("planned", "in_use", "repair", "removed")),
        build_value_check("kind", ("face", "vehicle")),
        CheckConstraint("jsonb_typeof(lanes) = 'array'", name="lanes"),
        CheckConstraint("retention_days >= 30", name="retention_days"),
        ForeignKeyConstraint(
            ["jurisdiction", "control_point"],
            ["control_point.jurisdiction", "control_point.code"],
            name="fk_checkpoint_control_point",
        ),
        ForeignKeyConstraint(["jurisdiction", "road"], ["road.jurisdiction", "road.code"], name="fk_checkpoint_road"),
    )

    geometry: BaseGeometry = Field(sa_type=Shape("POINT"))

    model_config = {"arbitrary_types_allowed": True}


class Camera(CameraFields, ZoneColumns, RecordKeeping, WithDocument, table=True):
    """A camera with its functions and optics."""

    __tablename__ = "camera"
    __table_args__ = (
        *build_record_constraints("camera"),
        *build_owner_constraints("camera"),
        Index("ix_camera_zone", "jurisdiction", "zone", "code"),
        build_reference_index("camera", "control_point"),
        build_reference_index("camera", "checkpoint"),
        build_value_check("lifecycle", ("planned", "in_use", "repair", "removed")),
        CheckConstraint(
            f"cardinality(functions) > 0 AND functions <@ ARRAY{list(FUNCTIONS)!r}",
            name="functions",
        ),
        CheckConstraint("azimuth_deg >= 0 AND azimuth_deg < 360", name="azimuth_deg"),
        CheckConstraint("opening_deg > 0 AND opening_deg <= 360", name="opening_deg"),
        CheckConstraint("range_m > 0 AND range_m < 'Infinity'", name="range_m"),
        CheckConstraint("reach_m > 0 AND reach_m < 'Infinity'", name="reach_m"),
        CheckConstraint("jsonb_typeof(view_polygon) = 'object'", name="view_polygon"),
        CheckConstraint("retention_days >= 30", name="retention_days"),
        ForeignKeyConstraint(
            ["jurisdiction", "control_point"],
            ["control_point.jurisdiction", "control_point.code"],
            name="fk_camera_control_point",
        ),
        ForeignKeyConstraint(
            ["jurisdiction", "checkpoint"],
            ["checkpoint.jurisdiction", "checkpoint.code"],
            name="fk_camera_checkpoint",
        ),
    )

    geometry: BaseGeometry = Field(sa_type=Shape("POINT"))

    model_config = {"arbitrary_types_allowed": True}


class DeviceState(SQLModel, table=True):
    """The last reported state of a device; it has no version."""

    __tablename__ = "device_state"
    __table_args__ = (
        build_value_check("kind", ("camera", "checkpoint")),
        build_value_check("state", ("online", "offline", "fault", "unknown")),
        build_jurisdiction_key(),
        {"postgresql_with": {"fillfactor": "50"}},
    )

    kind: str = Field(primary_key=True, sa_type=Text)
    code: str = Field(primary_key=True, sa_type=Code)
    jurisdiction: str = Field(sa_type=Code)
    state: str = Field(sa_type=Text)
    reported_at: datetime = Field(sa_type=_INSTANT)
    received_at: datetime = Field(sa_type=_INSTANT, sa_column_kwargs={"server_default": func.now()})


class ChangeLog(SQLModel, table=True):
    """The history: one row for each change of a record. Triggers write it, and nothing changes it.

    ``before`` and ``after`` are the JSON of the record as text: parsing it into jsonb would double the cost of a
    write. Other code reads the view ``change``, which parses it.
    """

    __tablename__ = "change_log"
    __table_args__ = (
        Index("ix_change_log_record", "kind", "code", "seq"),
        Index("ix_change_log_jurisdiction", "jurisdiction", "seq"),
        # Rows are nearly in the order of their transactions, so a block range index is enough.
        Index("ix_change_log_transaction", "transaction", postgresql_using="brin"),
    )

    seq: int | None = Field(default=None, primary_key=True, sa_type=BigInteger, sa_column_args=(Identity(always=True),))
    transaction: int = Field(
        sa_type=BigInteger,
        sa_column_kwargs={"server_default": text("pg_current_xact_id()::text::bigint")},
    )
    at: datetime = Field(sa_type=_INSTANT, sa_column_kwargs={"server_default": func.now()})
    actor: str = Field(sa_type=Text)
    request_id: str | None = Field(default=None, sa_type=Text)
    reason: str | None = Field(default=None, sa_type=Text)
    jurisdiction: str = Field(sa_type=Code)
    kind: str = Field(sa_type=Text)
    code: str = Field(sa_type=Code)
    operation: str = Field(sa_type=Text)
    version: int | None = Field(default=None, sa_type=Integer)
    before: str | None = Field(default=None, sa_type=Text)
    after: str | None = Field(default=None, sa_type=Text)


class Revision(SQLModel, table=True):
    """The number of committed changes of a jurisdiction; caches depend on it."""

    __tablename__ = "revision"
    __table_args__ = (build_jurisdiction_key(), {"postgresql_with": {"fillfactor": "10"}})

    jurisdiction: str = Field(primary_key=True, sa_type=Code)
    revision: int = Field(sa_type=BigInteger, sa_column_kwargs={"server_default": "0"})


class Touched(SQLModel, table=True):
    """Jurisdictions that a transaction has changed; a trigger deletes them when it commits."""

    __tablename__ = "touched"

    transaction: int = Field(primary_key=True, sa_type=BigInteger)
    jurisdiction: str = Field(primary_key=True, sa_type=Code)


class ApiKey(SQLModel, table=True):
    """An API key: public id, keyed hash of the secret, role, scope and expiry."""

    __tablename__ = "api_key"
    __table_args__ = (build_value_check("role", ("public", "reader", "analyst", "editor", "admin")),)

    id: str = Field(primary_key=True, sa_type=Code)
    hash: str = Field(sa_type=Text)
    label: str = Field(sa_type=Text)
    role: str = Field(sa_type=Text)
    jurisdictions: list[str] | None = Field(default=None, sa_type=ARRAY(Text))
    created_at: datetime | None = Field(
        default=None, nullable=False, sa_type=_INSTANT, sa_column_kwargs={"server_default": func.now()}
    )
    expires_at: datetime | None = Field(default=None, sa_type=_INSTANT)
    revoked_at: datetime | None = Field(default=None, sa_type=_INSTANT)
    last_used_at: datetime | None = Field(default=None, sa_type=_INSTANT)

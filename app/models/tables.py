"""The tables of the registry: what is registered, what devices report, and what changed."""

from datetime import datetime
from typing import Any

from shapely.geometry.base import BaseGeometry
from sqlalchemy import (
    BigInteger,
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

from app.models.columns import Code, WithDocument, RecordKeeping, ZoneColumns, Shape, one_of
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

# What the analysis keeps: waivers, which are records with a history, and answers, which are a cache.

_TIME: Any = DateTime(timezone=True)


class Waiver(RecordKeeping, table=True):
    """A crossing that a person decided need not be guarded; found again by ring, road and place."""

    __tablename__ = "waiver"
    __table_args__ = (
        UniqueConstraint("code"),
        ForeignKeyConstraint(["jurisdiction"], ["jurisdiction.code"]),
        Index("ix_waiver_jurisdiction", "jurisdiction"),
        one_of("level", LEVELS),
        CheckConstraint("code = jurisdiction || '/' || crossing", name="code"),
        CheckConstraint("length(reason) > 0", name="reason"),
    )

    code: str = Field(sa_type=Code)
    jurisdiction: str = Field(sa_type=Code)
    crossing: str = Field(sa_type=Code)
    level: str = Field(sa_type=Text)
    road: str = Field(sa_type=Text)
    reason: str = Field(sa_type=Text)
    expires_at: datetime = Field(sa_type=_TIME)
    waived_by: str = Field(sa_type=Text)
    geometry: BaseGeometry = Field(sa_type=Shape("POINT"))

    model_config = {"arbitrary_types_allowed": True}


class AnalysisAnswer(SQLModel, table=True):
    """An answer already computed by some worker; safe to lose at any time."""

    __tablename__ = "analysis_answer"
    __table_args__ = (ForeignKeyConstraint(["jurisdiction"], ["jurisdiction.code"]),)

    jurisdiction: str = Field(primary_key=True, sa_type=Code)
    name: str = Field(primary_key=True, sa_type=Code)
    revision: int = Field(sa_type=BigInteger)
    holds_until: datetime | None = Field(default=None, sa_type=_TIME)
    made_by: str = Field(sa_type=Text)
    made_at: datetime = Field(sa_type=_TIME, sa_column_kwargs={"server_default": func.now()})
    body: bytes = Field(sa_type=LargeBinary)


# What planning keeps: scenarios, which are records with a history like any other.


class Scenario(RecordKeeping, table=True):
    """Imagined changes under a name, to be shared, compared and carried out."""

    __tablename__ = "scenario"
    __table_args__ = (
        UniqueConstraint("code"),
        ForeignKeyConstraint(["jurisdiction"], ["jurisdiction.code"]),
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


_NOW_TIME: Any = DateTime(timezone=True)


def _of_jurisdiction() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["jurisdiction"], ["jurisdiction.code"])


def _record_rules(table: str) -> tuple[Any, ...]:
    """Return the rules every located record has: identity, owner, spatial index, paging indexes."""
    return (
        UniqueConstraint("code"),
        # That the jurisdiction is there is asked once a statement, by `registry_touch` (ADR 12).
        UniqueConstraint("jurisdiction", "code"),
        Index(f"ix_{table}_geometry", "geometry", postgresql_using="gist"),
        Index(f"ix_{table}_updated", "jurisdiction", "updated_at"),
        # A bounded repeat in the pattern would cost ten times as much for every row.
        CheckConstraint("code !~ '[^A-Za-z0-9._:-]' AND length(code) BETWEEN 1 AND 64", name="code"),
        CheckConstraint("NOT ST_IsEmpty(geometry) AND ST_IsValid(geometry)", name="geometry"),
    )


def _owner_rules(table: str) -> tuple[Any, ...]:
    """Return the rules of what a unit calls its own: one record a reference, no reference alone."""
    return (
        Index(
            f"uq_{table}_owner_reference", "jurisdiction", "owner_unit", "owner_reference",
            unique=True,
            postgresql_where=text("owner_reference IS NOT NULL AND removed_at IS NULL"),
        ),
        *build_checks(table),
    )  # fmt: skip


def _assigned(table: str, column: str) -> Index:
    """Return the index that finds what points to a record; most rows point to none."""
    return Index(f"ix_{table}_{column}", column, postgresql_where=text(f"{column} IS NOT NULL"))


class Jurisdiction(JurisdictionFields, RecordKeeping, table=True):
    """The area one registry answers for."""

    __tablename__ = "jurisdiction"
    __table_args__ = (
        UniqueConstraint("code"),
        CheckConstraint("code ~ '^[0-9]{6}$'", name="code"),
        CheckConstraint("stale_after_s > 0", name="stale_after_s"),
    )


class Ring(RingFields, RecordKeeping, table=True):
    """The boundary in force of one level; earlier ones stay in ``change``."""

    __tablename__ = "ring"
    __table_args__ = (
        UniqueConstraint("code"),
        _of_jurisdiction(),
        one_of("level", LEVELS),
        CheckConstraint("code = jurisdiction || '/' || level", name="code"),
        CheckConstraint("tolerance_m >= 0", name="tolerance_m"),
        CheckConstraint("NOT ST_IsEmpty(geometry) AND ST_IsValid(geometry)", name="geometry"),
    )

    code: str = Field(sa_type=Code)
    geometry: BaseGeometry = Field(sa_type=Shape("MULTIPOLYGON"))

    model_config = {"arbitrary_types_allowed": True}


class ControlPoint(ControlPointFields, ZoneColumns, RecordKeeping, WithDocument, table=True):
    """A place that must be covered."""

    __tablename__ = "control_point"
    __table_args__ = (
        *_record_rules("control_point"),
        *_owner_rules("control_point"),
        Index("ix_control_point_zone", "jurisdiction", "zone", "code"),
        one_of("category", CATEGORIES),
    )

    geometry: BaseGeometry = Field(sa_type=Shape())

    model_config = {"arbitrary_types_allowed": True}


class Road(RoadFields, RecordKeeping, WithDocument, table=True):
    """A centreline."""

    __tablename__ = "road"
    __table_args__ = _record_rules("road")

    geometry: BaseGeometry = Field(sa_type=Shape("LINESTRING"))

    model_config = {"arbitrary_types_allowed": True}


class Building(BuildingFields, RecordKeeping, WithDocument, table=True):
    """What stands in the way of looking."""

    __tablename__ = "building"
    __table_args__ = (
        *_record_rules("building"),
        CheckConstraint("ST_Dimension(geometry) = 2", name="area"),
        CheckConstraint("height_m > 0 AND height_m < 'Infinity'", name="height_m"),
    )

    geometry: BaseGeometry = Field(sa_type=Shape())

    model_config = {"arbitrary_types_allowed": True}


class Checkpoint(CheckpointFields, ZoneColumns, RecordKeeping, WithDocument, table=True):
    """A face or vehicle checkpoint with its lanes."""

    __tablename__ = "checkpoint"
    __table_args__ = (
        *_record_rules("checkpoint"),
        *_owner_rules("checkpoint"),
        Index("ix_checkpoint_zone", "jurisdiction", "zone", "code"),
        _assigned("checkpoint", "control_point"),
        one_of("lifecycle", ("planned", "in_use", "repair", "removed")),
        one_of("kind", ("face", "vehicle")),
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
    """One device."""

    __tablename__ = "camera"
    __table_args__ = (
        *_record_rules("camera"),
        *_owner_rules("camera"),
        Index("ix_camera_zone", "jurisdiction", "zone", "code"),
        _assigned("camera", "control_point"),
        _assigned("camera", "checkpoint"),
        one_of("lifecycle", ("planned", "in_use", "repair", "removed")),
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
    """What a device said last. Small, written often, versioned by nobody."""

    __tablename__ = "device_state"
    __table_args__ = (
        one_of("kind", ("camera", "checkpoint")),
        one_of("state", ("online", "offline", "fault", "unknown")),
        _of_jurisdiction(),
        {"postgresql_with": {"fillfactor": "50"}},
    )

    kind: str = Field(primary_key=True, sa_type=Text)
    code: str = Field(primary_key=True, sa_type=Code)
    jurisdiction: str = Field(sa_type=Code)
    state: str = Field(sa_type=Text)
    reported_at: datetime = Field(sa_type=_NOW_TIME)
    received_at: datetime = Field(sa_type=_NOW_TIME, sa_column_kwargs={"server_default": func.now()})


class ChangeLog(SQLModel, table=True):
    """The history: one row per record and change, written by triggers, never altered.

    ``before`` and ``after`` hold the JSON of the record as it was stored, as text, because reading
    it into jsonb is half of what a write costs. The view ``change`` reads it, and is what everybody
    else asks.
    """

    __tablename__ = "change_log"
    __table_args__ = (
        Index("ix_change_log_record", "kind", "code", "seq"),
        Index("ix_change_log_jurisdiction", "jurisdiction", "seq"),
        # Rows come in the order of their transactions, nearly: a summary of each stretch is enough.
        Index("ix_change_log_transaction", "transaction", postgresql_using="brin"),
    )

    seq: int | None = Field(default=None, primary_key=True, sa_type=BigInteger, sa_column_args=(Identity(always=True),))
    transaction: int = Field(
        sa_type=BigInteger,
        sa_column_kwargs={"server_default": text("pg_current_xact_id()::text::bigint")},
    )
    at: datetime = Field(sa_type=_NOW_TIME, sa_column_kwargs={"server_default": func.now()})
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
    """The number of committed changes of a jurisdiction: what caches and answers go by."""

    __tablename__ = "revision"
    __table_args__ = (_of_jurisdiction(), {"postgresql_with": {"fillfactor": "10"}})

    jurisdiction: str = Field(primary_key=True, sa_type=Code)
    revision: int = Field(sa_type=BigInteger, sa_column_kwargs={"server_default": "0"})


class Touched(SQLModel, table=True):
    """Jurisdictions the running transaction has changed; emptied again when it commits."""

    __tablename__ = "touched"

    transaction: int = Field(primary_key=True, sa_type=BigInteger)
    jurisdiction: str = Field(primary_key=True, sa_type=Code)


class ApiKey(SQLModel, table=True):
    """A program's key: visible id, keyed hash of the secret, roles, expiry."""

    __tablename__ = "api_key"
    __table_args__ = (one_of("role", ("public", "reader", "analyst", "editor", "admin")),)

    id: str = Field(primary_key=True, sa_type=Code)
    hash: str = Field(sa_type=Text)
    label: str = Field(sa_type=Text)
    role: str = Field(sa_type=Text)
    jurisdictions: list[str] | None = Field(default=None, sa_type=ARRAY(Text))
    created_at: datetime | None = Field(
        default=None, nullable=False, sa_type=_NOW_TIME, sa_column_kwargs={"server_default": func.now()}
    )
    expires_at: datetime | None = Field(default=None, sa_type=_NOW_TIME)
    revoked_at: datetime | None = Field(default=None, sa_type=_NOW_TIME)
    last_used_at: datetime | None = Field(default=None, sa_type=_NOW_TIME)


from app.models import import_tables  # noqa: E402, F401  # tables of their own topic, one metadata

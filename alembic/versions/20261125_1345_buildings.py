"""Buildings, and what a camera states of its view: reach, drawn polygon, level and its scale.

The document of a camera gains columns, so it is made anew for every camera there is; versions and
history stay as they are, because nothing that was registered changes.
"""

import sqlalchemy as sa
from geoalchemy2 import Geometry
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_KEPT = ("version", "created_at", "updated_at")
BUILDING = (
    "code", "jurisdiction", "name_zh", "name_en", "address", "division_code", "notes", "height_m",
    "levels", *_KEPT,
)  # fmt: skip
_CAMERA_HEAD = (
    "code", "jurisdiction", "name_zh", "name_en", "functions", "owner_unit", "maintenance_unit",
    "purpose", "legal_basis", "retention_days", "sign_present", "sign_on", "filing_number",
    "filed_on", "consent_reference", "review_due", "lifecycle", "control_point", "failure_group",
    "manufacturer", "model", "installed_on", "in_use_on", "removed_on", "address", "division_code",
    "notes", "structure", "checkpoint", "direction", "azimuth_deg", "opening_deg",
    "vertical_opening_deg", "range_m", "near_m",
)  # fmt: skip
_CAMERA_NEW = ("reach_m", "view_polygon", "required_level", "level_scale")
_CAMERA_TAIL = (
    "horizontal_pixels", "vertical_pixels", "focal_mm", "sensor_width_mm", "mount_height_m",
    "tilt_deg", "indoor", "point_class", "serial_number", "zone", "rings", "on_boundary",
    "distance_m", *_KEPT,
)  # fmt: skip

DOCUMENT = """
CREATE OR REPLACE FUNCTION registry_write_{table}() RETURNS trigger LANGUAGE plpgsql
SET timezone = 'UTC' AS $$
BEGIN
    NEW.document := left(row_to_json((SELECT d FROM (SELECT {columns}) AS d))::text, -1);
    RETURN NEW;
END $$
"""

LOG_INSERT = """
CREATE FUNCTION registry_log_insert_building() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE written text[];
BEGIN
    WITH logged AS (
        INSERT INTO change (actor, request_id, reason, jurisdiction, kind, code, operation,
                            version, after)
        SELECT registry_actor(), registry_context('request_id'), registry_context('reason'),
               n.jurisdiction, 'building', n.code, 'create', n.version,
               registry_snapshot(n.document, '', n.geometry)
        FROM new_rows n ORDER BY n.id
        RETURNING jurisdiction)
    SELECT array_agg(DISTINCT jurisdiction) INTO written FROM logged;
    IF written IS NOT NULL THEN PERFORM registry_touch(written); END IF;
    RETURN NULL;
END $$
"""

LOG_UPDATE = """
CREATE FUNCTION registry_log_update_building() RETURNS trigger LANGUAGE plpgsql
SET enable_nestloop = off AS $$
DECLARE written text[];
BEGIN
    WITH logged AS (
        INSERT INTO change (actor, request_id, reason, jurisdiction, kind, code, operation,
                            version, before, after)
        SELECT registry_actor(), registry_context('request_id'), registry_context('reason'),
               n.jurisdiction, 'building', n.code,
               CASE WHEN o.removed_at IS NULL AND n.removed_at IS NOT NULL THEN 'remove'
                    WHEN o.removed_at IS NOT NULL AND n.removed_at IS NULL THEN 'create'
                    ELSE 'update' END,
               n.version,
               CASE WHEN o.removed_at IS NULL
                    THEN registry_snapshot(o.document, '', o.geometry) END,
               CASE WHEN n.removed_at IS NULL
                    THEN registry_snapshot(n.document, '', n.geometry) END
        FROM old_rows o JOIN new_rows n USING (id)
        WHERE o.version <> n.version ORDER BY id
        RETURNING jurisdiction)
    SELECT array_agg(DISTINCT jurisdiction) INTO written FROM logged;
    IF written IS NOT NULL THEN PERFORM registry_touch(written); END IF;
    RETURN NULL;
END $$
"""

TRIGGERS = (
    "keep_version BEFORE UPDATE ON building FOR EACH ROW EXECUTE FUNCTION registry_keep_version()",
    # After keep_version, which sets what the document repeats: triggers fire in name order.
    "write_document BEFORE INSERT OR UPDATE ON building "
    "FOR EACH ROW EXECUTE FUNCTION registry_write_building()",
    "log_insert AFTER INSERT ON building REFERENCING NEW TABLE AS new_rows "
    "FOR EACH STATEMENT EXECUTE FUNCTION registry_log_insert_building()",
    "log_update AFTER UPDATE ON building REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows "
    "FOR EACH STATEMENT EXECUTE FUNCTION registry_log_update_building()",
    "refuse BEFORE DELETE OR TRUNCATE ON building FOR EACH STATEMENT "
    "EXECUTE FUNCTION registry_refuse('records are removed by setting removed_at')",
)


def _write_document(table: str, columns: tuple[str, ...]) -> None:
    members = ", ".join(f'NEW."{name}"' for name in columns)
    op.execute(DOCUMENT.format(table=table, columns=members))


def _make_camera_documents_anew() -> None:
    op.execute("ALTER TABLE camera DISABLE TRIGGER keep_version")
    op.execute("UPDATE camera SET document = ''")
    op.execute("ALTER TABLE camera ENABLE TRIGGER keep_version")


def _create_building() -> None:
    op.create_table(
        "building",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False
        ),
        sa.Column(
            "updated_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False
        ),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(collation="C"), nullable=False),
        sa.Column("jurisdiction", sa.Text(collation="C"), nullable=False),
        sa.Column("name_zh", sa.Text(), nullable=True),
        sa.Column("name_en", sa.Text(), nullable=True),
        sa.Column("address", sa.Text(), nullable=True),
        sa.Column("division_code", sa.Text(collation="C"), nullable=True),
        sa.Column("notes", sa.Text(), nullable=True),
        sa.Column("height_m", sa.Double(), nullable=True),
        sa.Column("levels", sa.Integer(), nullable=True),
        sa.Column("geometry", Geometry(srid=4326, spatial_index=False), nullable=False),
        sa.CheckConstraint("code ~ '^[A-Za-z0-9._:-]{1,64}$'", name=op.f("ck_building_code")),
        sa.CheckConstraint(
            "NOT ST_IsEmpty(geometry) AND ST_IsValid(geometry)", name=op.f("ck_building_geometry")
        ),
        sa.CheckConstraint("ST_Dimension(geometry) = 2", name=op.f("ck_building_area")),
        sa.CheckConstraint(
            "height_m > 0 AND height_m < 'Infinity'", name=op.f("ck_building_height_m")
        ),
        sa.ForeignKeyConstraint(
            ["jurisdiction"], ["jurisdiction.code"], name=op.f("fk_building_jurisdiction")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_building")),
        sa.UniqueConstraint("code", name=op.f("uq_building_code")),
        sa.UniqueConstraint("jurisdiction", "code", name=op.f("uq_building_jurisdiction_code")),
    )
    op.create_index("ix_building_geometry", "building", ["geometry"], postgresql_using="gist")
    op.create_index("ix_building_updated", "building", ["jurisdiction", "updated_at"])


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '10s'")
    _create_building()
    _write_document("building", BUILDING)
    op.execute(LOG_INSERT)
    op.execute(LOG_UPDATE)
    for trigger in TRIGGERS:
        op.execute(f"CREATE TRIGGER {trigger}")
    op.add_column("camera", sa.Column("reach_m", sa.Double(), nullable=True))
    op.add_column(
        "camera",
        sa.Column("view_polygon", postgresql.JSONB(none_as_null=True), nullable=True),
    )
    op.add_column("camera", sa.Column("required_level", sa.Text(), nullable=True))
    op.add_column("camera", sa.Column("level_scale", sa.Text(), nullable=True))
    op.create_check_constraint(
        op.f("ck_camera_reach_m"), "camera", "reach_m > 0 AND reach_m < 'Infinity'"
    )
    op.create_check_constraint(
        op.f("ck_camera_view_polygon"), "camera", "jsonb_typeof(view_polygon) = 'object'"
    )
    _write_document("camera", (*_CAMERA_HEAD, *_CAMERA_NEW, *_CAMERA_TAIL))
    _make_camera_documents_anew()


def downgrade() -> None:
    _write_document("camera", (*_CAMERA_HEAD, *_CAMERA_TAIL))
    op.drop_constraint(op.f("ck_camera_view_polygon"), "camera")
    op.drop_constraint(op.f("ck_camera_reach_m"), "camera")
    for column in reversed(_CAMERA_NEW):
        op.drop_column("camera", column)
    _make_camera_documents_anew()
    op.drop_table("building")
    for function in ("log_update", "log_insert", "write"):
        op.execute(f"DROP FUNCTION registry_{function}_building()")

"""Records carry their JSON, made once when they are written instead of at every read.

`document` is everything of a record that changes only by a write, as an open JSON object (no closing
brace), without geometry and restricted columns, which reads append. The history is taken from it, so
a write pays for the document once. See ADR 8.
"""

import sqlalchemy as sa

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_INSTALLED = (
    "lifecycle", "control_point", "failure_group", "manufacturer", "model", "installed_on",
    "in_use_on", "removed_on",
)  # fmt: skip
_ACCOUNTABLE = (
    "owner_unit", "maintenance_unit", "purpose", "legal_basis", "retention_days", "sign_present",
    "sign_on", "filing_number", "filed_on", "consent_reference", "review_due",
)  # fmt: skip
_PLACED = ("zone", "rings", "on_boundary", "distance_m")
_KEPT = ("version", "created_at", "updated_at")
_PLACE = ("address", "division_code", "notes")
_NAMES = ("code", "jurisdiction", "name_zh", "name_en")

COLUMNS = {
    "control_point": (
        *_NAMES, "category", *_PLACE, "road_name", "inbound_bearing_deg", "requirements", *_PLACED,
        *_KEPT,
    ),
    "road": (
        *_NAMES, *_PLACE, "road_class", "road_number", "group", "oneway", "layer", "bridge", "tunnel",
        *_KEPT,
    ),
    "checkpoint": (
        *_NAMES, "kind", *_ACCOUNTABLE, *_INSTALLED, *_PLACE, "tollgate_category", "tollgate_usage",
        "capture_side", "road", "lanes", *_PLACED, *_KEPT,
    ),
    "camera": (
        *_NAMES, "functions", *_ACCOUNTABLE, *_INSTALLED, *_PLACE, "structure", "checkpoint",
        "direction", "azimuth_deg", "opening_deg", "vertical_opening_deg", "range_m", "near_m",
        "horizontal_pixels", "vertical_pixels", "focal_mm", "sensor_width_mm", "mount_height_m",
        "tilt_deg", "indoor", "point_class", "serial_number", *_PLACED, *_KEPT,
    ),
}  # fmt: skip
RESTRICTED = {"checkpoint": "network_address", "camera": "network_address"}

SNAPSHOT = """
CREATE FUNCTION registry_snapshot(document text, extra text, shape geometry) RETURNS jsonb
    LANGUAGE sql IMMUTABLE AS $$
    SELECT jsonb_strip_nulls(
            (document || extra || ',"geometry":' || ST_AsGeoJSON(shape, 9) || '}')::jsonb)
        - '{zone,rings,on_boundary,distance_m}'::text[]
$$
"""

DOCUMENT = """
CREATE FUNCTION registry_write_{table}() RETURNS trigger LANGUAGE plpgsql
SET timezone = 'UTC' AS $$
BEGIN
    NEW.document := left(row_to_json((SELECT d FROM (SELECT {columns}) AS d))::text, -1);
    RETURN NEW;
END $$
"""

LOG_INSERT = """
CREATE FUNCTION registry_log_insert_{table}() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE written text[];
BEGIN
    WITH logged AS (
        INSERT INTO change (actor, request_id, reason, jurisdiction, kind, code, operation,
                            version, after)
        SELECT registry_actor(), registry_context('request_id'), registry_context('reason'),
               n.jurisdiction, '{table}', n.code, 'create', n.version, {snapshot_n}
        FROM new_rows n ORDER BY n.id
        RETURNING jurisdiction)
    SELECT array_agg(DISTINCT jurisdiction) INTO written FROM logged;
    IF written IS NOT NULL THEN PERFORM registry_touch(written); END IF;
    RETURN NULL;
END $$
"""

LOG_UPDATE = """
CREATE FUNCTION registry_log_update_{table}() RETURNS trigger LANGUAGE plpgsql
SET enable_nestloop = off AS $$
DECLARE written text[];
BEGIN
    WITH logged AS (
        INSERT INTO change (actor, request_id, reason, jurisdiction, kind, code, operation,
                            version, before, after)
        SELECT registry_actor(), registry_context('request_id'), registry_context('reason'),
               n.jurisdiction, '{table}', n.code,
               CASE WHEN o.removed_at IS NULL AND n.removed_at IS NOT NULL THEN 'remove'
                    WHEN o.removed_at IS NOT NULL AND n.removed_at IS NULL THEN 'create'
                    ELSE 'update' END,
               n.version,
               CASE WHEN o.removed_at IS NULL THEN {snapshot_o} END,
               CASE WHEN n.removed_at IS NULL THEN {snapshot_n} END
        FROM old_rows o JOIN new_rows n USING (id)
        WHERE o.version <> n.version ORDER BY id
        RETURNING jurisdiction)
    SELECT array_agg(DISTINCT jurisdiction) INTO written FROM logged;
    IF written IS NOT NULL THEN PERFORM registry_touch(written); END IF;
    RETURN NULL;
END $$
"""


def _snapshot(table: str, row: str) -> str:
    extra = "''"
    if table in RESTRICTED:
        name = RESTRICTED[table]
        extra = f"""coalesce(',"{name}":' || to_json({row}.{name})::text, '')"""
    return f"registry_snapshot({row}.document, {extra}, {row}.geometry)"


def _log(table: str, insert: str, update: str) -> None:
    op.execute(f"DROP TRIGGER IF EXISTS log_insert ON {table}")
    op.execute(f"DROP TRIGGER IF EXISTS log_update ON {table}")
    op.execute(
        f"CREATE TRIGGER log_insert AFTER INSERT ON {table} REFERENCING NEW TABLE AS new_rows "
        f"FOR EACH STATEMENT EXECUTE FUNCTION {insert}"
    )
    op.execute(
        f"CREATE TRIGGER log_update AFTER UPDATE ON {table} "
        "REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows "
        f"FOR EACH STATEMENT EXECUTE FUNCTION {update}"
    )


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '10s'")
    op.execute(SNAPSHOT)
    for table, columns in COLUMNS.items():
        op.add_column(table, sa.Column("document", sa.Text(), nullable=True))
        members = ", ".join(f'NEW."{name}"' for name in columns)
        op.execute(DOCUMENT.format(table=table, columns=members))
        # After keep_version, which sets what the document repeats: triggers fire in name order.
        op.execute(
            f"CREATE TRIGGER write_document BEFORE INSERT OR UPDATE ON {table} "
            f"FOR EACH ROW EXECUTE FUNCTION registry_write_{table}()"
        )
        op.execute(f"UPDATE {table} SET document = NULL")
        op.alter_column(table, "document", nullable=False)
        snapshots = {"snapshot_n": _snapshot(table, "n"), "snapshot_o": _snapshot(table, "o")}
        op.execute(LOG_INSERT.format(table=table, **snapshots))
        op.execute(LOG_UPDATE.format(table=table, **snapshots))
        _log(table, f"registry_log_insert_{table}()", f"registry_log_update_{table}()")


def downgrade() -> None:
    for table in COLUMNS:
        _log(table, f"registry_log_insert('{table}')", f"registry_log_update('{table}')")
        op.execute(f"DROP FUNCTION registry_log_insert_{table}()")
        op.execute(f"DROP FUNCTION registry_log_update_{table}()")
        op.execute(f"DROP TRIGGER write_document ON {table}")
        op.execute(f"DROP FUNCTION registry_write_{table}()")
        op.drop_column(table, "document")
    op.execute("DROP FUNCTION registry_snapshot(text, text, geometry)")

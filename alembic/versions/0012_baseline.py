"""The whole schema of version 0.2.0, in one migration (docs/adr/0018-one-baseline.md).

A database of version 0.1.0 has the same tables. ``adopt`` gives it the functions of this file, which differ from its
own only in the names of variables and in comments.
"""

from pathlib import Path

from alembic import op

revision = "0012"
down_revision = None
branch_labels = None
depends_on = None

TEMPLATE = "record_triggers_1.sql"


def upgrade() -> None:
    run_script("0012_functions.sql")
    run_script("0012_tables.sql")
    create_record_triggers()


def adopt() -> None:
    """Bring the functions of a database of version 0.1.0 up to date."""
    run_script("0012_functions.sql")
    create_record_triggers()
    op.execute("DROP FUNCTION IF EXISTS registry_snapshot(text, text, geometry)")  # nothing calls it


def run_script(name: str) -> None:
    op.execute_script(Path(__file__).with_name(name).read_text())


def create_record_triggers() -> None:
    for table in ("jurisdiction", "ring", "waiver", "scenario"):
        op.create_record_triggers(table, template=TEMPLATE)
    op.create_record_triggers(
        "road",
        template=TEMPLATE,
        document="""
            code text, jurisdiction text, name_zh text, name_en text, address text, division_code text, notes text,
            road_class text, road_number text, group text, oneway text, layer integer, bridge boolean, tunnel boolean,
            version integer, created_at timestamp with time zone, updated_at timestamp with time zone
        """,
    )
    op.create_record_triggers(
        "building",
        template=TEMPLATE,
        document="""
            code text, jurisdiction text, name_zh text, name_en text, address text, division_code text, notes text,
            height_m double precision, levels integer,
            version integer, created_at timestamp with time zone, updated_at timestamp with time zone
        """,
    )
    op.create_record_triggers(
        "control_point",
        template=TEMPLATE,
        located=True,
        document="""
            code text, jurisdiction text, name_zh text, name_en text, category text,
            owner_unit text, owner_reference text, address text, division_code text, notes text,
            road_name text, inbound_bearing_deg double precision, requirements jsonb,
            zone text, rings text[], on_boundary text[], distance_m jsonb,
            version integer, created_at timestamp with time zone, updated_at timestamp with time zone
        """,
    )
    op.create_record_triggers(
        "checkpoint",
        template=TEMPLATE,
        located=True,
        restricted=["network_address"],
        document="""
            code text, jurisdiction text, name_zh text, name_en text, kind text,
            owner_unit text, owner_reference text, maintenance_unit text, purpose text, legal_basis text,
            retention_days integer, sign_present boolean, sign_on date, filing_number text, filed_on date,
            consent_reference text, review_due date,
            lifecycle text, control_point text, failure_group text, manufacturer text, model text,
            installed_on date, in_use_on date, removed_on date, address text, division_code text, notes text,
            tollgate_category text, tollgate_usage text, capture_side text, road text, lanes jsonb,
            zone text, rings text[], on_boundary text[], distance_m jsonb,
            version integer, created_at timestamp with time zone, updated_at timestamp with time zone
        """,
    )
    op.create_record_triggers(
        "camera",
        template=TEMPLATE,
        located=True,
        restricted=["network_address"],
        document="""
            code text, jurisdiction text, name_zh text, name_en text, functions text[],
            owner_unit text, owner_reference text, maintenance_unit text, purpose text, legal_basis text,
            retention_days integer, sign_present boolean, sign_on date, filing_number text, filed_on date,
            consent_reference text, review_due date,
            lifecycle text, control_point text, failure_group text, manufacturer text, model text,
            installed_on date, in_use_on date, removed_on date, address text, division_code text, notes text,
            structure text, checkpoint text, direction text, azimuth_deg double precision,
            opening_deg double precision, vertical_opening_deg double precision, range_m double precision,
            near_m double precision, reach_m double precision, view_polygon jsonb, required_level text,
            level_scale text, horizontal_pixels integer, vertical_pixels integer, focal_mm double precision,
            sensor_width_mm double precision, mount_height_m double precision, tilt_deg double precision,
            indoor boolean, point_class integer, serial_number text,
            zone text, rings text[], on_boundary text[], distance_m jsonb,
            version integer, created_at timestamp with time zone, updated_at timestamp with time zone
        """,
    )

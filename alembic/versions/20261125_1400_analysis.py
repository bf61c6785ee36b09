"""Waivers of crossings, with the history every record has, and the answers workers share.

A waiver's history is told by the generic functions of 0002: it has no document of its own.
"""

import sqlalchemy as sa
from geoalchemy2 import Geometry

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_LEVELS = "level IN ('core', 'urban', 'city')"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '10s'")
    op.create_table(
        "waiver",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("code", sa.Text(collation="C"), nullable=False),
        sa.Column("jurisdiction", sa.Text(collation="C"), nullable=False),
        sa.Column("crossing", sa.Text(collation="C"), nullable=False),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("road", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("waived_by", sa.Text(), nullable=False),
        sa.Column("geometry", Geometry("POINT", srid=4326, spatial_index=False), nullable=False),
        sa.CheckConstraint(_LEVELS, name=op.f("ck_waiver_level")),
        sa.CheckConstraint("code = jurisdiction || '/' || crossing", name=op.f("ck_waiver_code")),
        sa.CheckConstraint("length(reason) > 0", name=op.f("ck_waiver_reason")),
        sa.ForeignKeyConstraint(
            ["jurisdiction"], ["jurisdiction.code"], name=op.f("fk_waiver_jurisdiction")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_waiver")),
        sa.UniqueConstraint("code", name=op.f("uq_waiver_code")),
    )
    op.create_index("ix_waiver_jurisdiction", "waiver", ["jurisdiction"])
    op.execute(
        "CREATE TRIGGER keep_version BEFORE UPDATE ON waiver "
        "FOR EACH ROW EXECUTE FUNCTION registry_keep_version()"
    )
    op.execute(
        "CREATE TRIGGER log_insert AFTER INSERT ON waiver REFERENCING NEW TABLE AS new_rows "
        "FOR EACH STATEMENT EXECUTE FUNCTION registry_log_insert('waiver')"
    )
    op.execute(
        "CREATE TRIGGER log_update AFTER UPDATE ON waiver "
        "REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows "
        "FOR EACH STATEMENT EXECUTE FUNCTION registry_log_update('waiver')"
    )
    op.execute(
        "CREATE TRIGGER refuse BEFORE DELETE OR TRUNCATE ON waiver FOR EACH STATEMENT "
        "EXECUTE FUNCTION registry_refuse('records are removed by setting removed_at')"
    )
    op.create_table(
        "analysis_answer",
        sa.Column("jurisdiction", sa.Text(collation="C"), nullable=False),
        sa.Column("name", sa.Text(collation="C"), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("holds_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("made_by", sa.Text(), nullable=False),
        sa.Column(
            "made_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["jurisdiction"], ["jurisdiction.code"], name=op.f("fk_analysis_answer_jurisdiction")
        ),
        sa.PrimaryKeyConstraint("jurisdiction", "name", name=op.f("pk_analysis_answer")),
    )
    # What is inside is compressed already.
    op.execute("ALTER TABLE analysis_answer ALTER COLUMN body SET STORAGE EXTERNAL")


def downgrade() -> None:
    op.drop_table("analysis_answer")
    for trigger in ("refuse", "log_update", "log_insert", "keep_version"):
        op.execute(f"DROP TRIGGER {trigger} ON waiver")
    op.drop_table("waiver")

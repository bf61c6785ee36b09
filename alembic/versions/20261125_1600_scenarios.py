"""Scenarios: imagined changes under a name, with the history every record has."""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_NOW = sa.text("now()")


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '10s'")
    op.create_table(
        "scenario",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("code", sa.Text(collation="C"), nullable=False),
        sa.Column("jurisdiction", sa.Text(collation="C"), nullable=False),
        sa.Column("name", sa.Text(collation="C"), nullable=False),
        sa.Column("title", sa.Text(), nullable=True),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("changes", postgresql.JSONB(), nullable=False),
        sa.CheckConstraint("code = jurisdiction || '/' || name", name=op.f("ck_scenario_code")),
        sa.CheckConstraint("jsonb_typeof(changes) = 'array'", name=op.f("ck_scenario_changes")),
        sa.ForeignKeyConstraint(
            ["jurisdiction"], ["jurisdiction.code"], name=op.f("fk_scenario_jurisdiction")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scenario")),
        sa.UniqueConstraint("code", name=op.f("uq_scenario_code")),
    )
    op.create_index("ix_scenario_jurisdiction", "scenario", ["jurisdiction", "name"])
    op.execute(
        "CREATE TRIGGER keep_version BEFORE UPDATE ON scenario "
        "FOR EACH ROW EXECUTE FUNCTION registry_keep_version()"
    )
    op.execute(
        "CREATE TRIGGER log_insert AFTER INSERT ON scenario REFERENCING NEW TABLE AS new_rows "
        "FOR EACH STATEMENT EXECUTE FUNCTION registry_log_insert('scenario')"
    )
    op.execute(
        "CREATE TRIGGER log_update AFTER UPDATE ON scenario "
        "REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows "
        "FOR EACH STATEMENT EXECUTE FUNCTION registry_log_update('scenario')"
    )
    op.execute(
        "CREATE TRIGGER refuse BEFORE DELETE OR TRUNCATE ON scenario FOR EACH STATEMENT "
        "EXECUTE FUNCTION registry_refuse('records are removed by setting removed_at')"
    )


def downgrade() -> None:
    for trigger in ("refuse", "log_update", "log_insert", "keep_version"):
        op.execute(f"DROP TRIGGER {trigger} ON scenario")
    op.drop_table("scenario")

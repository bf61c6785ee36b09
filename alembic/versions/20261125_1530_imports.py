"""Imports: jobs, what became of each row, profiles of sources."""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_NOW = sa.text("now()")


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '10s'")
    op.create_table(
        "import_job",
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("worker", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("jurisdictions", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("dry_run", sa.Boolean(), nullable=False),
        sa.Column("options", postgresql.JSONB(), nullable=False),
        sa.Column("file", postgresql.JSONB(), nullable=False),
        sa.Column("plan", postgresql.JSONB(), nullable=False),
        sa.Column("counts", postgresql.JSONB(), nullable=False),
        sa.Column("notes", postgresql.JSONB(), nullable=False),
        sa.Column("problem", postgresql.JSONB(none_as_null=True), nullable=True),
        sa.Column("cancel_requested", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state IN ('received', 'parsing', 'validating', 'applying', 'done', 'failed', "
            "'cancelled')",
            name=op.f("ck_import_job_state"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_import_job")),
    )
    op.create_index("ix_import_job_created", "import_job", ["created_at", "id"])
    op.create_table(
        "import_page",
        sa.Column("job", sa.Text(collation="C"), nullable=False),
        sa.Column("page", sa.Integer(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("has", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("results", sa.LargeBinary(), nullable=False),
        sa.Column("cells", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(
            ["job"], ["import_job.id"], name=op.f("fk_import_page_job"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job", "page", name=op.f("pk_import_page")),
    )
    # They come compressed, better than PostgreSQL would.
    op.execute("ALTER TABLE import_page ALTER results SET STORAGE EXTERNAL")
    op.execute("ALTER TABLE import_page ALTER cells SET STORAGE EXTERNAL")
    op.create_table(
        "import_profile",
        sa.Column("name", sa.Text(collation="C"), nullable=False),
        sa.Column("body", postgresql.JSONB(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
        sa.Column("updated_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_import_profile")),
    )


def downgrade() -> None:
    for table in ("import_profile", "import_page", "import_job"):
        op.drop_table(table)

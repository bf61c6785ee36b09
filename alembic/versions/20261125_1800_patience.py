"""Another `stale_after_s` holds from an instant that no reader of the feed has passed.

It was judged by the start of its transaction: a device that fell silent between then and the commit was
told as silent by the rule before, and nothing took that back; one that another rule made silent in that
time was never told. Now the change waits for reports under way, holds back readers as a report does,
and then takes the time: that is `updated_at` of the jurisdiction, by which devices are judged, from
which the rule holds, and at which the entries of devices that now read otherwise stand in the history.
"""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

REPORT_SPACE = 0x5E02
"""As in 0007: the space of the locks that hold back the instant up to which silences are told."""

BEGINNING = f"""
CREATE FUNCTION registry_begin_patience() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE instant bigint;
BEGIN
    IF coalesce(current_setting('registry.report', true), '') = '' THEN
        instant := floor(extract(epoch FROM clock_timestamp()) * 1000);
        PERFORM pg_advisory_xact_lock_shared(({REPORT_SPACE}::bigint << 48) | instant);
        PERFORM set_config('registry.report', instant::text, true);
    END IF;
    -- No report may be under way that is judged by what held before.
    LOCK TABLE device_state IN SHARE ROW EXCLUSIVE MODE;
    NEW.updated_at := clock_timestamp();
    RETURN NEW;
END $$
"""

LOG = """
CREATE OR REPLACE FUNCTION registry_log_patience() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    who text := registry_actor();
    asked text := registry_context('request_id');
    why text := registry_context('reason');
BEGIN
    IF NOT EXISTS (SELECT 1 FROM old_rows o JOIN new_rows n USING (id)
                   WHERE o.stale_after_s <> n.stale_after_s) THEN
        RETURN NULL;
    END IF;
    {lock}
    INSERT INTO change_log (at, actor, request_id, reason, jurisdiction, kind, code, operation,
                            before, after)
    SELECT s.judged, who, asked, why, s.jurisdiction, s.kind, s.code, 'state',
           jsonb_build_object('state', CASE WHEN s.was THEN s.state ELSE 'unknown' END,
                              'reported_at', s.reported_at)::text,
           jsonb_build_object('state', CASE WHEN s.will THEN s.state ELSE 'unknown' END,
                              'reported_at', s.reported_at)::text
    FROM (SELECT d.*, {judged} AS judged,
                 reported_at >= {judged} - make_interval(secs => o.stale_after_s) AS was,
                 reported_at >= {judged} - make_interval(secs => n.stale_after_s) AS will
          FROM old_rows o JOIN new_rows n USING (id)
          JOIN device_state d ON d.jurisdiction = n.code
          WHERE o.stale_after_s <> n.stale_after_s AND d.state <> 'unknown') AS s
    WHERE s.was <> s.will ORDER BY s.kind, s.code;
    RETURN NULL;
END $$
"""


def _as_it_is(statement: str) -> None:
    """Run SQL in which a colon is a colon."""
    op.get_bind().exec_driver_sql(statement)


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '10s'")
    _as_it_is(BEGINNING)
    _as_it_is(LOG.replace("{lock}", "").replace("{judged}", "n.updated_at"))
    # After keep_version, which sets updated_at: triggers fire in name order.
    op.execute(
        "CREATE TRIGGER keep_version_of_patience BEFORE UPDATE ON jurisdiction FOR EACH ROW "
        "WHEN (OLD.stale_after_s IS DISTINCT FROM NEW.stale_after_s) "
        "EXECUTE FUNCTION registry_begin_patience()"
    )


def downgrade() -> None:
    op.execute("DROP TRIGGER keep_version_of_patience ON jurisdiction")
    op.execute("DROP FUNCTION registry_begin_patience()")
    lock = "LOCK TABLE device_state IN SHARE ROW EXCLUSIVE MODE;"
    _as_it_is(LOG.replace("{lock}", lock).replace("{judged}", "now()"))

"""What the change feed rests on: how far the history is settled, and when a device falls silent.

A sequence number is given out before its transaction commits, so a reader that follows the sequence
could step over a slow writer. Before its first number a transaction therefore takes a shared lock
that tells, in its key, the last number given out so far: all its own are greater. A reader looks at the
last number, then at those locks: up to the least of them nothing can appear any more. The locks end
with the transaction, whatever becomes of it, and need neither a table nor a wait. Transaction ids
would say the same until a dump is restored into another cluster; sequence numbers travel with it.

Reports of device states do the same with the time at which they judge whether a device was silent, so
that a reader knows up to which instant silences can be told. A report that arrives for a device that
reads as unknown is in the history, so nobody who was told of the silence misses its end.

Another `stale_after_s` makes some devices read otherwise at that moment: those are written down.
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

SEQUENCE_SPACE = 0x5E01
REPORT_SPACE = 0x5E02
"""High sixteen bits of the lock keys; the low forty-eight are the number or the millisecond."""

FUNCTIONS = f"""
CREATE FUNCTION registry_hold_number() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE given bigint;
BEGIN
    IF coalesce(current_setting('registry.number', true), '') = '' THEN
        SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END INTO given
        FROM change_seq_seq;
        PERFORM pg_advisory_xact_lock_shared(({SEQUENCE_SPACE}::bigint << 48) | given);
        PERFORM set_config('registry.number', given::text, true);
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION registry_hold_report() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE instant bigint;
BEGIN
    IF coalesce(current_setting('registry.report', true), '') = '' THEN
        instant := floor(extract(epoch FROM clock_timestamp()) * 1000);
        PERFORM pg_advisory_xact_lock_shared(({REPORT_SPACE}::bigint << 48) | instant);
        PERFORM set_config('registry.report', instant::text, true);
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION registry_horizon(OUT number bigint, OUT instant timestamptz) LANGUAGE plpgsql AS $$
DECLARE held_number bigint; held_instant bigint;
BEGIN
    -- In this order: what is given out after the look at the locks is beyond the horizon.
    SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END INTO number
    FROM change_seq_seq;
    instant := clock_timestamp();
    SELECT min(key) FILTER (WHERE space = {SEQUENCE_SPACE}),
           min(key) FILTER (WHERE space = {REPORT_SPACE})
    INTO held_number, held_instant
    FROM (SELECT classid::bigint >> 16 AS space,
                 ((classid::bigint & 65535) << 32) | objid::bigint AS key
          FROM pg_locks
          WHERE locktype = 'advisory' AND objsubid = 1 AND mode = 'ShareLock' AND granted
          AND database = (SELECT oid FROM pg_database WHERE datname = current_database())) AS held;
    number := least(number, held_number);
    instant := least(instant, to_timestamp(held_instant / 1000.0));
END $$;

CREATE OR REPLACE FUNCTION registry_log_state_insert() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    who text := registry_actor();
    asked text := registry_context('request_id');
    why text := registry_context('reason');
    written text[];
BEGIN
    INSERT INTO change_log (actor, request_id, reason, jurisdiction, kind, code, operation, after)
    SELECT who, asked, why, jurisdiction, kind, code, 'state',
           jsonb_build_object('state', state, 'reported_at', reported_at)::text
    FROM new_rows ORDER BY kind, code;
    SELECT array_agg(DISTINCT jurisdiction) INTO written FROM new_rows;
    IF written IS NOT NULL THEN PERFORM registry_touch(written); END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION registry_log_state_update() RETURNS trigger LANGUAGE plpgsql
SET enable_nestloop = off AS $$
DECLARE
    who text := registry_actor();
    asked text := registry_context('request_id');
    why text := registry_context('reason');
    judged timestamptz := clock_timestamp();
    written text[];
BEGIN
    WITH logged AS (
        INSERT INTO change_log (actor, request_id, reason, jurisdiction, kind, code, operation,
                                before, after)
        SELECT who, asked, why, n.jurisdiction, n.kind, n.code, 'state',
               jsonb_build_object('state', o.state, 'reported_at', o.reported_at)::text,
               jsonb_build_object('state', n.state, 'reported_at', n.reported_at)::text
        FROM old_rows o
        JOIN new_rows n ON n.kind = o.kind AND n.code = o.code
        JOIN jurisdiction j ON j.code = n.jurisdiction
        WHERE o.state <> n.state
           OR (o.reported_at < judged - make_interval(secs => j.stale_after_s)
               AND n.reported_at > o.reported_at)
        ORDER BY n.kind, n.code
        RETURNING jurisdiction)
    SELECT array_agg(DISTINCT jurisdiction) INTO written FROM logged;
    IF written IS NOT NULL THEN PERFORM registry_touch(written); END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION registry_log_patience() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    who text := registry_actor();
    asked text := registry_context('request_id');
    why text := registry_context('reason');
BEGIN
    IF NOT EXISTS (SELECT 1 FROM old_rows o JOIN new_rows n USING (id)
                   WHERE o.stale_after_s <> n.stale_after_s) THEN
        RETURN NULL;
    END IF;
    -- No report may be under way that is judged by what held before.
    LOCK TABLE device_state IN SHARE ROW EXCLUSIVE MODE;
    INSERT INTO change_log (actor, request_id, reason, jurisdiction, kind, code, operation,
                            before, after)
    SELECT who, asked, why, s.jurisdiction, s.kind, s.code, 'state',
           jsonb_build_object('state', CASE WHEN s.was THEN s.state ELSE 'unknown' END,
                              'reported_at', s.reported_at)::text,
           jsonb_build_object('state', CASE WHEN s.will THEN s.state ELSE 'unknown' END,
                              'reported_at', s.reported_at)::text
    FROM (SELECT d.*, reported_at >= now() - make_interval(secs => o.stale_after_s) AS was,
                 reported_at >= now() - make_interval(secs => n.stale_after_s) AS will
          FROM old_rows o JOIN new_rows n USING (id)
          JOIN device_state d ON d.jurisdiction = n.code
          WHERE o.stale_after_s <> n.stale_after_s AND d.state <> 'unknown') AS s
    WHERE s.was <> s.will ORDER BY s.kind, s.code;
    RETURN NULL;
END $$;
"""

OLD_STATE_INSERT = """
CREATE OR REPLACE FUNCTION registry_log_state_insert() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE written text[];
BEGIN
    WITH logged AS (
        INSERT INTO change (actor, request_id, reason, jurisdiction, kind, code, operation, after)
        SELECT registry_actor(), registry_context('request_id'), registry_context('reason'),
               jurisdiction, kind, code, 'state',
               jsonb_build_object('state', state, 'reported_at', reported_at)
        FROM new_rows ORDER BY kind, code
        RETURNING jurisdiction)
    SELECT array_agg(DISTINCT jurisdiction) INTO written FROM logged;
    IF written IS NOT NULL THEN PERFORM registry_touch(written); END IF;
    RETURN NULL;
END $$
"""

OLD_STATE_UPDATE = """
CREATE OR REPLACE FUNCTION registry_log_state_update() RETURNS trigger LANGUAGE plpgsql
SET enable_nestloop = off AS $$
DECLARE written text[];
BEGIN
    WITH logged AS (
        INSERT INTO change (actor, request_id, reason, jurisdiction, kind, code, operation,
                            before, after)
        SELECT registry_actor(), registry_context('request_id'), registry_context('reason'),
               n.jurisdiction, n.kind, n.code, 'state',
               jsonb_build_object('state', o.state, 'reported_at', o.reported_at),
               jsonb_build_object('state', n.state, 'reported_at', n.reported_at)
        FROM old_rows o
        JOIN new_rows n ON n.kind = o.kind AND n.code = o.code
        JOIN jurisdiction j ON j.code = n.jurisdiction
        WHERE o.state <> n.state
           OR (o.reported_at < now() - make_interval(secs => j.stale_after_s)
               AND n.reported_at > o.reported_at)
        ORDER BY n.kind, n.code
        RETURNING jurisdiction)
    SELECT array_agg(DISTINCT jurisdiction) INTO written FROM logged;
    IF written IS NOT NULL THEN PERFORM registry_touch(written); END IF;
    RETURN NULL;
END $$
"""


def _as_it_is(statement: str) -> None:
    """Run SQL in which a colon is a colon."""
    op.get_bind().exec_driver_sql(statement)


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '10s'")
    for function in FUNCTIONS.split(";\n\nCREATE "):
        _as_it_is(function if function.lstrip().startswith("CREATE") else f"CREATE {function}")
    op.execute(
        "CREATE TRIGGER hold_number BEFORE INSERT ON change_log "
        "FOR EACH STATEMENT EXECUTE FUNCTION registry_hold_number()"
    )
    op.execute(
        "CREATE TRIGGER hold_report BEFORE INSERT OR UPDATE ON device_state "
        "FOR EACH STATEMENT EXECUTE FUNCTION registry_hold_report()"
    )
    # After log_update: triggers fire in name order, and the new rule comes before what it does.
    op.execute(
        "CREATE TRIGGER log_update_of_patience AFTER UPDATE ON jurisdiction "
        "REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows "
        "FOR EACH STATEMENT EXECUTE FUNCTION registry_log_patience()"
    )


def downgrade() -> None:
    op.execute("DROP TRIGGER log_update_of_patience ON jurisdiction")
    op.execute("DROP TRIGGER hold_report ON device_state")
    op.execute("DROP TRIGGER hold_number ON change_log")
    for statement in (OLD_STATE_INSERT, OLD_STATE_UPDATE):
        _as_it_is(statement)
    op.execute("DROP FUNCTION registry_log_patience()")
    op.execute("DROP FUNCTION registry_horizon()")
    op.execute("DROP FUNCTION registry_hold_report()")
    op.execute("DROP FUNCTION registry_hold_number()")

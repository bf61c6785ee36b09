-- The functions that all tables share. The functions of one table are in app/db/sql/record_triggers_1.sql.
-- A blank line ends a statement.

-- Refuses a statement. The argument of the trigger is the reason.
CREATE OR REPLACE FUNCTION registry_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% of % is refused: %', TG_OP, TG_TABLE_NAME, TG_ARGV[0]
        USING ERRCODE = 'insufficient_privilege';
END $$;

-- Counts the version of a record that an update really changes. Identity and creation time cannot change.
-- A row trigger, because only that can set a column without a second write of the row; it runs no query.
CREATE OR REPLACE FUNCTION registry_keep_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.id := OLD.id;
    NEW.code := OLD.code;
    NEW.created_at := OLD.created_at;
    NEW.version := OLD.version;
    NEW.updated_at := OLD.updated_at;
    IF NEW IS DISTINCT FROM OLD THEN
        NEW.version := OLD.version + 1;
        NEW.updated_at := now();
    END IF;
    RETURN NEW;
END $$;

-- The same for records with a location: their ring membership is derived and makes no version.
CREATE OR REPLACE FUNCTION registry_keep_placed_version() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE without_membership record;
BEGIN
    NEW.id := OLD.id;
    NEW.code := OLD.code;
    NEW.jurisdiction := OLD.jurisdiction;
    NEW.created_at := OLD.created_at;
    NEW.version := OLD.version;
    NEW.updated_at := OLD.updated_at;
    without_membership := NEW;
    without_membership.zone := OLD.zone;
    without_membership.rings := OLD.rings;
    without_membership.on_boundary := OLD.on_boundary;
    without_membership.distance_m := OLD.distance_m;
    IF without_membership IS DISTINCT FROM OLD THEN
        NEW.version := OLD.version + 1;
        NEW.updated_at := now();
    END IF;
    RETURN NEW;
END $$;

-- Returns who writes: the principal that the service has set, otherwise the database role.
CREATE OR REPLACE FUNCTION registry_actor() RETURNS text LANGUAGE sql STABLE AS $$
    SELECT coalesce(nullif(current_setting('registry.actor', true), ''), session_user::text)
$$;

-- Returns another value of the write context (`request_id`, `reason`), or null.
CREATE OR REPLACE FUNCTION registry_context(name text) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT nullif(current_setting('registry.' || name, true), '')
$$;

-- Returns what the history stores of a row that has no column `document`.
CREATE OR REPLACE FUNCTION registry_document(record jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT (jsonb_strip_nulls(record) #- '{geometry,crs}')
        - '{id,zone,rings,on_boundary,distance_m,removed_at}'::text[]
$$;

-- Returns stored text of the history as the view `change` shows it: without nulls and derived values.
CREATE OR REPLACE FUNCTION registry_told(stored text) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT jsonb_strip_nulls(stored::jsonb) - '{zone,rings,on_boundary,distance_m}'::text[]
$$;

-- Notes which jurisdictions the transaction changes, and refuses those that are not registered.
CREATE OR REPLACE FUNCTION registry_touch(jurisdictions text[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    unknown text := (SELECT min(j) FROM unnest(jurisdictions) AS j
                     WHERE NOT EXISTS (SELECT FROM jurisdiction WHERE code = j));
BEGIN
    IF unknown IS NOT NULL THEN
        RAISE foreign_key_violation
            USING MESSAGE = format('jurisdiction %s is not registered', unknown),
                  CONSTRAINT = 'fk_touched_jurisdiction';
    END IF;
    INSERT INTO touched (transaction, jurisdiction)
    SELECT DISTINCT pg_current_xact_id()::text::bigint, j FROM unnest(jurisdictions) AS j ORDER BY j
    ON CONFLICT DO NOTHING;
END $$;

-- Counts the revision of a jurisdiction when the transaction commits. So the order of revisions is the order of
-- commits, and two writers of one jurisdiction wait for each other only at that moment.
CREATE OR REPLACE FUNCTION registry_count_revision() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO revision AS r (jurisdiction, revision) VALUES (NEW.jurisdiction, 1)
    ON CONFLICT (jurisdiction) DO UPDATE SET revision = r.revision + 1;
    DELETE FROM touched WHERE transaction = NEW.transaction AND jurisdiction = NEW.jurisdiction;
    RETURN NULL;
END $$;

-- Writes the history of inserted rows without a document. The argument of the trigger is the kind.
CREATE OR REPLACE FUNCTION registry_log_insert() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE changed_jurisdictions text[];
BEGIN
    WITH logged AS (
        INSERT INTO change (actor, request_id, reason, jurisdiction, kind, code, operation,
                            version, after)
        SELECT registry_actor(), registry_context('request_id'), registry_context('reason'),
               coalesce(new_record ->> 'jurisdiction', new_record ->> 'code'), TG_ARGV[0], new_record ->> 'code',
               'create', (new_record ->> 'version')::int, registry_document(new_record)
        FROM (SELECT to_jsonb(n) AS new_record FROM new_rows n ORDER BY n.id) AS new_records
        RETURNING jurisdiction)
    SELECT array_agg(DISTINCT jurisdiction) INTO changed_jurisdictions FROM logged;
    IF changed_jurisdictions IS NOT NULL THEN PERFORM registry_touch(changed_jurisdictions); END IF;
    RETURN NULL;
END $$;

-- Writes the history of updated rows without a document: only of those with a new version.
-- No nested loop: a session keeps the plan, and one that was made for a single row took 50 seconds for 10,000.
CREATE OR REPLACE FUNCTION registry_log_update() RETURNS trigger LANGUAGE plpgsql
SET enable_nestloop = off AS $$
DECLARE changed_jurisdictions text[];
BEGIN
    WITH logged AS (
        INSERT INTO change (actor, request_id, reason, jurisdiction, kind, code, operation,
                            version, before, after)
        SELECT registry_actor(), registry_context('request_id'), registry_context('reason'),
               coalesce(new_record ->> 'jurisdiction', new_record ->> 'code'), TG_ARGV[0],
               new_record ->> 'code', operation, (new_record ->> 'version')::int,
               CASE WHEN operation <> 'create' THEN registry_document(old_record) END,
               CASE WHEN operation <> 'remove' THEN registry_document(new_record) END
        FROM (SELECT to_jsonb(o) AS old_record, to_jsonb(n) AS new_record,
                     CASE WHEN o.removed_at IS NULL AND n.removed_at IS NOT NULL THEN 'remove'
                          WHEN o.removed_at IS NOT NULL AND n.removed_at IS NULL THEN 'create'
                          ELSE 'update' END AS operation
              FROM old_rows o JOIN new_rows n USING (id)
              WHERE o.version <> n.version ORDER BY id) AS changed_records
        RETURNING jurisdiction)
    SELECT array_agg(DISTINCT jurisdiction) INTO changed_jurisdictions FROM logged;
    IF changed_jurisdictions IS NOT NULL THEN PERFORM registry_touch(changed_jurisdictions); END IF;
    RETURN NULL;
END $$;

-- Lets a client insert into the view `change`.
CREATE OR REPLACE FUNCTION registry_log_by_view() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO change_log (actor, request_id, reason, jurisdiction, kind, code, operation, version,
                            before, after)
    VALUES (NEW.actor, NEW.request_id, NEW.reason, NEW.jurisdiction, NEW.kind, NEW.code,
            NEW.operation, NEW.version, NEW.before::text, NEW.after::text);
    RETURN NEW;
END $$;

-- The change feed reads the history in the order of `seq`. PostgreSQL assigns a number before the transaction commits,
-- so a reader could pass the numbers of a slow writer. Therefore each writing transaction takes a shared advisory lock
-- before its first number. The key of the lock holds the last number assigned until then (24065 = 0x5E01 in the high 16
-- bits): all numbers of the transaction are greater. The lock ends with the transaction.
CREATE OR REPLACE FUNCTION registry_hold_number() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE last_number bigint;
BEGIN
    IF coalesce(current_setting('registry.number', true), '') = '' THEN
        SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END INTO last_number
        FROM change_seq_seq;
        PERFORM pg_advisory_xact_lock_shared((24065::bigint << 48) | last_number);
        PERFORM set_config('registry.number', last_number::text, true);
    END IF;
    RETURN NULL;
END $$;

-- The same for state reports (24066 = 0x5E02): the key holds the millisecond at which the transaction decides which
-- devices are stale. A reader of the feed does not announce stale devices beyond that time.
CREATE OR REPLACE FUNCTION registry_hold_report() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE instant bigint;
BEGIN
    IF coalesce(current_setting('registry.report', true), '') = '' THEN
        instant := floor(extract(epoch FROM clock_timestamp()) * 1000);
        PERFORM pg_advisory_xact_lock_shared((24066::bigint << 48) | instant);
        PERFORM set_config('registry.report', instant::text, true);
    END IF;
    RETURN NULL;
END $$;

-- Returns how far the history is complete: no transaction can still add a number up to `number`, nor a state report
-- that was judged before `instant`.
CREATE OR REPLACE FUNCTION registry_horizon(OUT number bigint, OUT instant timestamptz) LANGUAGE plpgsql AS $$
DECLARE held_number bigint; held_instant bigint;
BEGIN
    -- First the number and the time, then the locks: what starts in between is beyond the horizon.
    SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END INTO number
    FROM change_seq_seq;
    instant := clock_timestamp();
    SELECT min(key) FILTER (WHERE space = 24065),
           min(key) FILTER (WHERE space = 24066)
    INTO held_number, held_instant
    FROM (SELECT classid::bigint >> 16 AS space,
                 ((classid::bigint & 65535) << 32) | objid::bigint AS key
          FROM pg_locks
          WHERE locktype = 'advisory' AND objsubid = 1 AND mode = 'ShareLock' AND granted
          AND database = (SELECT oid FROM pg_database WHERE datname = current_database())) AS held;
    number := least(number, held_number);
    instant := least(instant, to_timestamp(held_instant / 1000.0));
END $$;

-- Writes the history of first state reports.
CREATE OR REPLACE FUNCTION registry_log_state_insert() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    current_actor text := registry_actor();
    current_request text := registry_context('request_id');
    current_reason text := registry_context('reason');
    changed_jurisdictions text[];
BEGIN
    INSERT INTO change_log (actor, request_id, reason, jurisdiction, kind, code, operation, after)
    SELECT current_actor, current_request, current_reason, jurisdiction, kind, code, 'state',
           jsonb_build_object('state', state, 'reported_at', reported_at)::text
    FROM new_rows ORDER BY kind, code;
    SELECT array_agg(DISTINCT jurisdiction) INTO changed_jurisdictions FROM new_rows;
    IF changed_jurisdictions IS NOT NULL THEN PERFORM registry_touch(changed_jurisdictions); END IF;
    RETURN NULL;
END $$;

-- Writes the history of state reports that change a state, also from stale (which reads as unknown).
-- A repeated report of the same state is not in the history.
CREATE OR REPLACE FUNCTION registry_log_state_update() RETURNS trigger LANGUAGE plpgsql
SET enable_nestloop = off AS $$
DECLARE
    current_actor text := registry_actor();
    current_request text := registry_context('request_id');
    current_reason text := registry_context('reason');
    judged_at timestamptz := clock_timestamp();
    changed_jurisdictions text[];
BEGIN
    WITH logged AS (
        INSERT INTO change_log (actor, request_id, reason, jurisdiction, kind, code, operation,
                                before, after)
        SELECT current_actor, current_request, current_reason, n.jurisdiction, n.kind, n.code, 'state',
               jsonb_build_object('state', o.state, 'reported_at', o.reported_at)::text,
               jsonb_build_object('state', n.state, 'reported_at', n.reported_at)::text
        FROM old_rows o
        JOIN new_rows n ON n.kind = o.kind AND n.code = o.code
        JOIN jurisdiction j ON j.code = n.jurisdiction
        WHERE o.state <> n.state
           OR (o.reported_at < judged_at - make_interval(secs => j.stale_after_s)
               AND n.reported_at > o.reported_at)
        ORDER BY n.kind, n.code
        RETURNING jurisdiction)
    SELECT array_agg(DISTINCT jurisdiction) INTO changed_jurisdictions FROM logged;
    IF changed_jurisdictions IS NOT NULL THEN PERFORM registry_touch(changed_jurisdictions); END IF;
    RETURN NULL;
END $$;

-- Begins a change of `stale_after_s`: waits for running state reports, holds back readers of the feed as a report does,
-- and only then takes the time. That time is `updated_at` of the jurisdiction, from which the new limit is valid.
CREATE OR REPLACE FUNCTION registry_begin_patience() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE instant bigint;
BEGIN
    IF coalesce(current_setting('registry.report', true), '') = '' THEN
        instant := floor(extract(epoch FROM clock_timestamp()) * 1000);
        PERFORM pg_advisory_xact_lock_shared((24066::bigint << 48) | instant);
        PERFORM set_config('registry.report', instant::text, true);
    END IF;
    -- Waits until no transaction writes reports that were judged by the old limit.
    LOCK TABLE device_state IN SHARE ROW EXCLUSIVE MODE;
    NEW.updated_at := clock_timestamp();
    RETURN NEW;
END $$;

-- Writes the history of devices that become stale, or current again, because `stale_after_s` changes.
CREATE OR REPLACE FUNCTION registry_log_patience() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    current_actor text := registry_actor();
    current_request text := registry_context('request_id');
    current_reason text := registry_context('reason');
BEGIN
    IF NOT EXISTS (SELECT 1 FROM old_rows o JOIN new_rows n USING (id)
                   WHERE o.stale_after_s <> n.stale_after_s) THEN
        RETURN NULL;
    END IF;
    INSERT INTO change_log (at, actor, request_id, reason, jurisdiction, kind, code, operation,
                            before, after)
    SELECT s.judged_at, current_actor, current_request, current_reason, s.jurisdiction, s.kind, s.code, 'state',
           jsonb_build_object('state', CASE WHEN s.current_before THEN s.state ELSE 'unknown' END,
                              'reported_at', s.reported_at)::text,
           jsonb_build_object('state', CASE WHEN s.current_after THEN s.state ELSE 'unknown' END,
                              'reported_at', s.reported_at)::text
    FROM (SELECT d.*, n.updated_at AS judged_at,
                 reported_at >= n.updated_at - make_interval(secs => o.stale_after_s) AS current_before,
                 reported_at >= n.updated_at - make_interval(secs => n.stale_after_s) AS current_after
          FROM old_rows o JOIN new_rows n USING (id)
          JOIN device_state d ON d.jurisdiction = n.code
          WHERE o.stale_after_s <> n.stale_after_s AND d.state <> 'unknown') AS s
    WHERE s.current_before <> s.current_after ORDER BY s.kind, s.code;
    RETURN NULL;
END $$;

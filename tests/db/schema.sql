CREATE FUNCTION public.registry_actor() RETURNS text
    LANGUAGE sql STABLE
    AS $$
    SELECT coalesce(nullif(current_setting('registry.actor', true), ''), session_user::text)
$$;

CREATE FUNCTION public.registry_begin_patience() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION public.registry_context(name text) RETURNS text
    LANGUAGE sql STABLE
    AS $$
    SELECT nullif(current_setting('registry.' || name, true), '')
$$;

CREATE FUNCTION public.registry_count_revision() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    INSERT INTO revision AS r (jurisdiction, revision) VALUES (NEW.jurisdiction, 1)
    ON CONFLICT (jurisdiction) DO UPDATE SET revision = r.revision + 1;
    DELETE FROM touched WHERE transaction = NEW.transaction AND jurisdiction = NEW.jurisdiction;
    RETURN NULL;
END $$;

CREATE FUNCTION public.registry_document(record jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    AS $$
    SELECT (jsonb_strip_nulls(record) #- '{geometry,crs}')
        - '{id,zone,rings,on_boundary,distance_m,removed_at}'::text[]
$$;

CREATE FUNCTION public.registry_hold_number() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION public.registry_hold_report() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
DECLARE instant bigint;
BEGIN
    IF coalesce(current_setting('registry.report', true), '') = '' THEN
        instant := floor(extract(epoch FROM clock_timestamp()) * 1000);
        PERFORM pg_advisory_xact_lock_shared((24066::bigint << 48) | instant);
        PERFORM set_config('registry.report', instant::text, true);
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION public.registry_horizon(OUT number bigint, OUT instant timestamp with time zone) RETURNS record
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION public.registry_keep_placed_version() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION public.registry_keep_version() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION public.registry_log_by_view() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    INSERT INTO change_log (actor, request_id, reason, jurisdiction, kind, code, operation, version,
                            before, after)
    VALUES (NEW.actor, NEW.request_id, NEW.reason, NEW.jurisdiction, NEW.kind, NEW.code,
            NEW.operation, NEW.version, NEW.before::text, NEW.after::text);
    RETURN NEW;
END $$;

CREATE FUNCTION public.registry_log_insert() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION public.registry_log_insert_building() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
DECLARE
    current_transaction bigint := pg_current_xact_id()::text::bigint;
    current_actor text := registry_actor();
    current_request text := registry_context('request_id');
    current_reason text := registry_context('reason');
    changed_jurisdictions text[];
BEGIN
    INSERT INTO change_log (transaction, actor, request_id, reason, jurisdiction, kind, code,
                            operation, version, after)
    SELECT current_transaction, current_actor, current_request, current_reason, n.jurisdiction, 'building', n.code,
           'create', n.version,
           n.document
                   || ',"geometry":' || ST_AsGeoJSON(n.geometry, 9) || '}'
    FROM new_rows n;
    SELECT array_agg(jurisdiction) INTO changed_jurisdictions
    FROM (SELECT DISTINCT jurisdiction FROM new_rows) AS distinct_jurisdictions;
    IF changed_jurisdictions IS NOT NULL THEN PERFORM registry_touch(changed_jurisdictions); END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION public.registry_log_insert_camera() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
DECLARE
    current_transaction bigint := pg_current_xact_id()::text::bigint;
    current_actor text := registry_actor();
    current_request text := registry_context('request_id');
    current_reason text := registry_context('reason');
    changed_jurisdictions text[];
BEGIN
    INSERT INTO change_log (transaction, actor, request_id, reason, jurisdiction, kind, code,
                            operation, version, after)
    SELECT current_transaction, current_actor, current_request, current_reason, n.jurisdiction, 'camera', n.code,
           'create', n.version,
           n.document
                   || coalesce(',"network_address":' || to_json(n."network_address")::text, '')
                   || ',"geometry":' || ST_AsGeoJSON(n.geometry, 9) || '}'
    FROM new_rows n;
    SELECT array_agg(jurisdiction) INTO changed_jurisdictions
    FROM (SELECT DISTINCT jurisdiction FROM new_rows) AS distinct_jurisdictions;
    IF changed_jurisdictions IS NOT NULL THEN PERFORM registry_touch(changed_jurisdictions); END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION public.registry_log_insert_checkpoint() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
DECLARE
    current_transaction bigint := pg_current_xact_id()::text::bigint;
    current_actor text := registry_actor();
    current_request text := registry_context('request_id');
    current_reason text := registry_context('reason');
    changed_jurisdictions text[];
BEGIN
    INSERT INTO change_log (transaction, actor, request_id, reason, jurisdiction, kind, code,
                            operation, version, after)
    SELECT current_transaction, current_actor, current_request, current_reason, n.jurisdiction, 'checkpoint', n.code,
           'create', n.version,
           n.document
                   || coalesce(',"network_address":' || to_json(n."network_address")::text, '')
                   || ',"geometry":' || ST_AsGeoJSON(n.geometry, 9) || '}'
    FROM new_rows n;
    SELECT array_agg(jurisdiction) INTO changed_jurisdictions
    FROM (SELECT DISTINCT jurisdiction FROM new_rows) AS distinct_jurisdictions;
    IF changed_jurisdictions IS NOT NULL THEN PERFORM registry_touch(changed_jurisdictions); END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION public.registry_log_insert_control_point() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
DECLARE
    current_transaction bigint := pg_current_xact_id()::text::bigint;
    current_actor text := registry_actor();
    current_request text := registry_context('request_id');
    current_reason text := registry_context('reason');
    changed_jurisdictions text[];
BEGIN
    INSERT INTO change_log (transaction, actor, request_id, reason, jurisdiction, kind, code,
                            operation, version, after)
    SELECT current_transaction, current_actor, current_request, current_reason, n.jurisdiction, 'control_point', n.code,
           'create', n.version,
           n.document
                   || ',"geometry":' || ST_AsGeoJSON(n.geometry, 9) || '}'
    FROM new_rows n;
    SELECT array_agg(jurisdiction) INTO changed_jurisdictions
    FROM (SELECT DISTINCT jurisdiction FROM new_rows) AS distinct_jurisdictions;
    IF changed_jurisdictions IS NOT NULL THEN PERFORM registry_touch(changed_jurisdictions); END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION public.registry_log_insert_road() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
DECLARE
    current_transaction bigint := pg_current_xact_id()::text::bigint;
    current_actor text := registry_actor();
    current_request text := registry_context('request_id');
    current_reason text := registry_context('reason');
    changed_jurisdictions text[];
BEGIN
    INSERT INTO change_log (transaction, actor, request_id, reason, jurisdiction, kind, code,
                            operation, version, after)
    SELECT current_transaction, current_actor, current_request, current_reason, n.jurisdiction, 'road', n.code,
           'create', n.version,
           n.document
                   || ',"geometry":' || ST_AsGeoJSON(n.geometry, 9) || '}'
    FROM new_rows n;
    SELECT array_agg(jurisdiction) INTO changed_jurisdictions
    FROM (SELECT DISTINCT jurisdiction FROM new_rows) AS distinct_jurisdictions;
    IF changed_jurisdictions IS NOT NULL THEN PERFORM registry_touch(changed_jurisdictions); END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION public.registry_log_patience() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION public.registry_log_state_insert() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION public.registry_log_state_update() RETURNS trigger
    LANGUAGE plpgsql
    SET enable_nestloop TO 'off'
    AS $$
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

CREATE FUNCTION public.registry_log_update() RETURNS trigger
    LANGUAGE plpgsql
    SET enable_nestloop TO 'off'
    AS $$
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

CREATE FUNCTION public.registry_log_update_building() RETURNS trigger
    LANGUAGE plpgsql
    SET enable_nestloop TO 'off'
    AS $$
DECLARE
    current_transaction bigint := pg_current_xact_id()::text::bigint;
    current_actor text := registry_actor();
    current_request text := registry_context('request_id');
    current_reason text := registry_context('reason');
    changed_jurisdictions text[];
BEGIN
    WITH logged AS (
        INSERT INTO change_log (transaction, actor, request_id, reason, jurisdiction, kind, code,
                                operation, version, before, after)
        SELECT current_transaction, current_actor, current_request, current_reason, n.jurisdiction, 'building', n.code,
               CASE WHEN o.removed_at IS NULL AND n.removed_at IS NOT NULL THEN 'remove'
                    WHEN o.removed_at IS NOT NULL AND n.removed_at IS NULL THEN 'create'
                    ELSE 'update' END,
               n.version,
               CASE WHEN o.removed_at IS NULL THEN
                   o.document
                   || ',"geometry":' || ST_AsGeoJSON(o.geometry, 9) || '}' END,
               CASE WHEN n.removed_at IS NULL THEN
                   n.document
                   || ',"geometry":' || ST_AsGeoJSON(n.geometry, 9) || '}' END
        FROM old_rows o JOIN new_rows n USING (id)
        WHERE o.version <> n.version ORDER BY id
        RETURNING jurisdiction)
    SELECT array_agg(DISTINCT jurisdiction) INTO changed_jurisdictions FROM logged;
    IF changed_jurisdictions IS NOT NULL THEN PERFORM registry_touch(changed_jurisdictions); END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION public.registry_log_update_camera() RETURNS trigger
    LANGUAGE plpgsql
    SET enable_nestloop TO 'off'
    AS $$
DECLARE
    current_transaction bigint := pg_current_xact_id()::text::bigint;
    current_actor text := registry_actor();
    current_request text := registry_context('request_id');
    current_reason text := registry_context('reason');
    changed_jurisdictions text[];
BEGIN
    WITH logged AS (
        INSERT INTO change_log (transaction, actor, request_id, reason, jurisdiction, kind, code,
                                operation, version, before, after)
        SELECT current_transaction, current_actor, current_request, current_reason, n.jurisdiction, 'camera', n.code,
               CASE WHEN o.removed_at IS NULL AND n.removed_at IS NOT NULL THEN 'remove'
                    WHEN o.removed_at IS NOT NULL AND n.removed_at IS NULL THEN 'create'
                    ELSE 'update' END,
               n.version,
               CASE WHEN o.removed_at IS NULL THEN
                   o.document
                   || coalesce(',"network_address":' || to_json(o."network_address")::text, '')
                   || ',"geometry":' || ST_AsGeoJSON(o.geometry, 9) || '}' END,
               CASE WHEN n.removed_at IS NULL THEN
                   n.document
                   || coalesce(',"network_address":' || to_json(n."network_address")::text, '')
                   || ',"geometry":' || ST_AsGeoJSON(n.geometry, 9) || '}' END
        FROM old_rows o JOIN new_rows n USING (id)
        WHERE o.version <> n.version ORDER BY id
        RETURNING jurisdiction)
    SELECT array_agg(DISTINCT jurisdiction) INTO changed_jurisdictions FROM logged;
    IF changed_jurisdictions IS NOT NULL THEN PERFORM registry_touch(changed_jurisdictions); END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION public.registry_log_update_checkpoint() RETURNS trigger
    LANGUAGE plpgsql
    SET enable_nestloop TO 'off'
    AS $$
DECLARE
    current_transaction bigint := pg_current_xact_id()::text::bigint;
    current_actor text := registry_actor();
    current_request text := registry_context('request_id');
    current_reason text := registry_context('reason');
    changed_jurisdictions text[];
BEGIN
    WITH logged AS (
        INSERT INTO change_log (transaction, actor, request_id, reason, jurisdiction, kind, code,
                                operation, version, before, after)
        SELECT current_transaction, current_actor, current_request, current_reason, n.jurisdiction, 'checkpoint', n.code,
               CASE WHEN o.removed_at IS NULL AND n.removed_at IS NOT NULL THEN 'remove'
                    WHEN o.removed_at IS NOT NULL AND n.removed_at IS NULL THEN 'create'
                    ELSE 'update' END,
               n.version,
               CASE WHEN o.removed_at IS NULL THEN
                   o.document
                   || coalesce(',"network_address":' || to_json(o."network_address")::text, '')
                   || ',"geometry":' || ST_AsGeoJSON(o.geometry, 9) || '}' END,
               CASE WHEN n.removed_at IS NULL THEN
                   n.document
                   || coalesce(',"network_address":' || to_json(n."network_address")::text, '')
                   || ',"geometry":' || ST_AsGeoJSON(n.geometry, 9) || '}' END
        FROM old_rows o JOIN new_rows n USING (id)
        WHERE o.version <> n.version ORDER BY id
        RETURNING jurisdiction)
    SELECT array_agg(DISTINCT jurisdiction) INTO changed_jurisdictions FROM logged;
    IF changed_jurisdictions IS NOT NULL THEN PERFORM registry_touch(changed_jurisdictions); END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION public.registry_log_update_control_point() RETURNS trigger
    LANGUAGE plpgsql
    SET enable_nestloop TO 'off'
    AS $$
DECLARE
    current_transaction bigint := pg_current_xact_id()::text::bigint;
    current_actor text := registry_actor();
    current_request text := registry_context('request_id');
    current_reason text := registry_context('reason');
    changed_jurisdictions text[];
BEGIN
    WITH logged AS (
        INSERT INTO change_log (transaction, actor, request_id, reason, jurisdiction, kind, code,
                                operation, version, before, after)
        SELECT current_transaction, current_actor, current_request, current_reason, n.jurisdiction, 'control_point', n.code,
               CASE WHEN o.removed_at IS NULL AND n.removed_at IS NOT NULL THEN 'remove'
                    WHEN o.removed_at IS NOT NULL AND n.removed_at IS NULL THEN 'create'
                    ELSE 'update' END,
               n.version,
               CASE WHEN o.removed_at IS NULL THEN
                   o.document
                   || ',"geometry":' || ST_AsGeoJSON(o.geometry, 9) || '}' END,
               CASE WHEN n.removed_at IS NULL THEN
                   n.document
                   || ',"geometry":' || ST_AsGeoJSON(n.geometry, 9) || '}' END
        FROM old_rows o JOIN new_rows n USING (id)
        WHERE o.version <> n.version ORDER BY id
        RETURNING jurisdiction)
    SELECT array_agg(DISTINCT jurisdiction) INTO changed_jurisdictions FROM logged;
    IF changed_jurisdictions IS NOT NULL THEN PERFORM registry_touch(changed_jurisdictions); END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION public.registry_log_update_road() RETURNS trigger
    LANGUAGE plpgsql
    SET enable_nestloop TO 'off'
    AS $$
DECLARE
    current_transaction bigint := pg_current_xact_id()::text::bigint;
    current_actor text := registry_actor();
    current_request text := registry_context('request_id');
    current_reason text := registry_context('reason');
    changed_jurisdictions text[];
BEGIN
    WITH logged AS (
        INSERT INTO change_log (transaction, actor, request_id, reason, jurisdiction, kind, code,
                                operation, version, before, after)
        SELECT current_transaction, current_actor, current_request, current_reason, n.jurisdiction, 'road', n.code,
               CASE WHEN o.removed_at IS NULL AND n.removed_at IS NOT NULL THEN 'remove'
                    WHEN o.removed_at IS NOT NULL AND n.removed_at IS NULL THEN 'create'
                    ELSE 'update' END,
               n.version,
               CASE WHEN o.removed_at IS NULL THEN
                   o.document
                   || ',"geometry":' || ST_AsGeoJSON(o.geometry, 9) || '}' END,
               CASE WHEN n.removed_at IS NULL THEN
                   n.document
                   || ',"geometry":' || ST_AsGeoJSON(n.geometry, 9) || '}' END
        FROM old_rows o JOIN new_rows n USING (id)
        WHERE o.version <> n.version ORDER BY id
        RETURNING jurisdiction)
    SELECT array_agg(DISTINCT jurisdiction) INTO changed_jurisdictions FROM logged;
    IF changed_jurisdictions IS NOT NULL THEN PERFORM registry_touch(changed_jurisdictions); END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION public.registry_refuse() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    RAISE EXCEPTION '% of % is refused: %', TG_OP, TG_TABLE_NAME, TG_ARGV[0]
        USING ERRCODE = 'insufficient_privilege';
END $$;

CREATE FUNCTION public.registry_told(stored text) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    AS $$
    SELECT jsonb_strip_nulls(stored::jsonb) - '{zone,rings,on_boundary,distance_m}'::text[]
$$;

CREATE FUNCTION public.registry_touch(jurisdictions text[]) RETURNS void
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION public.registry_write_building() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF concat(
        NEW."code",
        NEW."jurisdiction",
        NEW."name_zh",
        NEW."name_en",
        NEW."address",
        NEW."division_code",
        NEW."notes"
    ) COLLATE "C" ~ '["\\[:cntrl:]]' THEN
        NEW.document := concat(
            coalesce('{"code":' || to_json(NEW."code")::text, '{"code":null'),
            coalesce(',"jurisdiction":' || to_json(NEW."jurisdiction")::text, ',"jurisdiction":null'),
            coalesce(',"name_zh":' || to_json(NEW."name_zh")::text, ',"name_zh":null'),
            coalesce(',"name_en":' || to_json(NEW."name_en")::text, ',"name_en":null'),
            coalesce(',"address":' || to_json(NEW."address")::text, ',"address":null'),
            coalesce(',"division_code":' || to_json(NEW."division_code")::text, ',"division_code":null'),
            coalesce(',"notes":' || to_json(NEW."notes")::text, ',"notes":null'),
            coalesce(',"height_m":' || to_json(NEW."height_m")::text, ',"height_m":null'),
            coalesce(',"levels":' || NEW."levels"::text, ',"levels":null'),
            coalesce(',"version":' || NEW."version"::text, ',"version":null'),
            ',"created_at":' || left(to_json(NEW."created_at" AT TIME ZONE 'UTC')::text, -1) || '+00:00"',
            ',"updated_at":' || left(to_json(NEW."updated_at" AT TIME ZONE 'UTC')::text, -1) || '+00:00"'
        );
    ELSE
        NEW.document := concat(
            coalesce('{"code":"' || NEW."code" || '"', '{"code":null'),
            coalesce(',"jurisdiction":"' || NEW."jurisdiction" || '"', ',"jurisdiction":null'),
            coalesce(',"name_zh":"' || NEW."name_zh" || '"', ',"name_zh":null'),
            coalesce(',"name_en":"' || NEW."name_en" || '"', ',"name_en":null'),
            coalesce(',"address":"' || NEW."address" || '"', ',"address":null'),
            coalesce(',"division_code":"' || NEW."division_code" || '"', ',"division_code":null'),
            coalesce(',"notes":"' || NEW."notes" || '"', ',"notes":null'),
            coalesce(',"height_m":' || to_json(NEW."height_m")::text, ',"height_m":null'),
            coalesce(',"levels":' || NEW."levels"::text, ',"levels":null'),
            coalesce(',"version":' || NEW."version"::text, ',"version":null'),
            ',"created_at":' || left(to_json(NEW."created_at" AT TIME ZONE 'UTC')::text, -1) || '+00:00"',
            ',"updated_at":' || left(to_json(NEW."updated_at" AT TIME ZONE 'UTC')::text, -1) || '+00:00"'
        );
    END IF;
    RETURN NEW;
END $$;

CREATE FUNCTION public.registry_write_camera() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF concat(
        NEW."code",
        NEW."jurisdiction",
        NEW."name_zh",
        NEW."name_en",
        NEW."owner_unit",
        NEW."owner_reference",
        NEW."maintenance_unit",
        NEW."purpose",
        NEW."legal_basis",
        NEW."filing_number",
        NEW."consent_reference",
        NEW."lifecycle",
        NEW."control_point",
        NEW."failure_group",
        NEW."manufacturer",
        NEW."model",
        NEW."address",
        NEW."division_code",
        NEW."notes",
        NEW."structure",
        NEW."checkpoint",
        NEW."direction",
        NEW."required_level",
        NEW."level_scale",
        NEW."serial_number",
        NEW."zone"
    ) COLLATE "C" ~ '["\\[:cntrl:]]' THEN
        NEW.document := concat(
            coalesce('{"code":' || to_json(NEW."code")::text, '{"code":null'),
            coalesce(',"jurisdiction":' || to_json(NEW."jurisdiction")::text, ',"jurisdiction":null'),
            coalesce(',"name_zh":' || to_json(NEW."name_zh")::text, ',"name_zh":null'),
            coalesce(',"name_en":' || to_json(NEW."name_en")::text, ',"name_en":null'),
            coalesce(',"functions":' || to_json(NEW."functions")::text, ',"functions":null'),
            coalesce(',"owner_unit":' || to_json(NEW."owner_unit")::text, ',"owner_unit":null'),
            coalesce(',"owner_reference":' || to_json(NEW."owner_reference")::text, ',"owner_reference":null'),
            coalesce(',"maintenance_unit":' || to_json(NEW."maintenance_unit")::text, ',"maintenance_unit":null'),
            coalesce(',"purpose":' || to_json(NEW."purpose")::text, ',"purpose":null'),
            coalesce(',"legal_basis":' || to_json(NEW."legal_basis")::text, ',"legal_basis":null'),
            coalesce(',"retention_days":' || NEW."retention_days"::text, ',"retention_days":null'),
            coalesce(',"sign_present":' || NEW."sign_present"::text, ',"sign_present":null'),
            coalesce(',"sign_on":' || to_json(NEW."sign_on")::text, ',"sign_on":null'),
            coalesce(',"filing_number":' || to_json(NEW."filing_number")::text, ',"filing_number":null'),
            coalesce(',"filed_on":' || to_json(NEW."filed_on")::text, ',"filed_on":null'),
            coalesce(',"consent_reference":' || to_json(NEW."consent_reference")::text, ',"consent_reference":null'),
            coalesce(',"review_due":' || to_json(NEW."review_due")::text, ',"review_due":null'),
            coalesce(',"lifecycle":' || to_json(NEW."lifecycle")::text, ',"lifecycle":null'),
            coalesce(',"control_point":' || to_json(NEW."control_point")::text, ',"control_point":null'),
            coalesce(',"failure_group":' || to_json(NEW."failure_group")::text, ',"failure_group":null'),
            coalesce(',"manufacturer":' || to_json(NEW."manufacturer")::text, ',"manufacturer":null'),
            coalesce(',"model":' || to_json(NEW."model")::text, ',"model":null'),
            coalesce(',"installed_on":' || to_json(NEW."installed_on")::text, ',"installed_on":null'),
            coalesce(',"in_use_on":' || to_json(NEW."in_use_on")::text, ',"in_use_on":null'),
            coalesce(',"removed_on":' || to_json(NEW."removed_on")::text, ',"removed_on":null'),
            coalesce(',"address":' || to_json(NEW."address")::text, ',"address":null'),
            coalesce(',"division_code":' || to_json(NEW."division_code")::text, ',"division_code":null'),
            coalesce(',"notes":' || to_json(NEW."notes")::text, ',"notes":null'),
            coalesce(',"structure":' || to_json(NEW."structure")::text, ',"structure":null'),
            coalesce(',"checkpoint":' || to_json(NEW."checkpoint")::text, ',"checkpoint":null'),
            coalesce(',"direction":' || to_json(NEW."direction")::text, ',"direction":null'),
            coalesce(',"azimuth_deg":' || to_json(NEW."azimuth_deg")::text, ',"azimuth_deg":null'),
            coalesce(',"opening_deg":' || to_json(NEW."opening_deg")::text, ',"opening_deg":null'),
            coalesce(',"vertical_opening_deg":' || to_json(NEW."vertical_opening_deg")::text, ',"vertical_opening_deg":null'),
            coalesce(',"range_m":' || to_json(NEW."range_m")::text, ',"range_m":null'),
            coalesce(',"near_m":' || to_json(NEW."near_m")::text, ',"near_m":null'),
            coalesce(',"reach_m":' || to_json(NEW."reach_m")::text, ',"reach_m":null'),
            coalesce(',"view_polygon":' || NEW."view_polygon"::text, ',"view_polygon":null'),
            coalesce(',"required_level":' || to_json(NEW."required_level")::text, ',"required_level":null'),
            coalesce(',"level_scale":' || to_json(NEW."level_scale")::text, ',"level_scale":null'),
            coalesce(',"horizontal_pixels":' || NEW."horizontal_pixels"::text, ',"horizontal_pixels":null'),
            coalesce(',"vertical_pixels":' || NEW."vertical_pixels"::text, ',"vertical_pixels":null'),
            coalesce(',"focal_mm":' || to_json(NEW."focal_mm")::text, ',"focal_mm":null'),
            coalesce(',"sensor_width_mm":' || to_json(NEW."sensor_width_mm")::text, ',"sensor_width_mm":null'),
            coalesce(',"mount_height_m":' || to_json(NEW."mount_height_m")::text, ',"mount_height_m":null'),
            coalesce(',"tilt_deg":' || to_json(NEW."tilt_deg")::text, ',"tilt_deg":null'),
            coalesce(',"indoor":' || NEW."indoor"::text, ',"indoor":null'),
            coalesce(',"point_class":' || NEW."point_class"::text, ',"point_class":null'),
            coalesce(',"serial_number":' || to_json(NEW."serial_number")::text, ',"serial_number":null'),
            coalesce(',"zone":' || to_json(NEW."zone")::text, ',"zone":null'),
            coalesce(',"rings":' || to_json(NEW."rings")::text, ',"rings":null'),
            coalesce(',"on_boundary":' || to_json(NEW."on_boundary")::text, ',"on_boundary":null'),
            coalesce(',"distance_m":' || NEW."distance_m"::text, ',"distance_m":null'),
            coalesce(',"version":' || NEW."version"::text, ',"version":null'),
            ',"created_at":' || left(to_json(NEW."created_at" AT TIME ZONE 'UTC')::text, -1) || '+00:00"',
            ',"updated_at":' || left(to_json(NEW."updated_at" AT TIME ZONE 'UTC')::text, -1) || '+00:00"'
        );
    ELSE
        NEW.document := concat(
            coalesce('{"code":"' || NEW."code" || '"', '{"code":null'),
            coalesce(',"jurisdiction":"' || NEW."jurisdiction" || '"', ',"jurisdiction":null'),
            coalesce(',"name_zh":"' || NEW."name_zh" || '"', ',"name_zh":null'),
            coalesce(',"name_en":"' || NEW."name_en" || '"', ',"name_en":null'),
            coalesce(',"functions":' || to_json(NEW."functions")::text, ',"functions":null'),
            coalesce(',"owner_unit":"' || NEW."owner_unit" || '"', ',"owner_unit":null'),
            coalesce(',"owner_reference":"' || NEW."owner_reference" || '"', ',"owner_reference":null'),
            coalesce(',"maintenance_unit":"' || NEW."maintenance_unit" || '"', ',"maintenance_unit":null'),
            coalesce(',"purpose":"' || NEW."purpose" || '"', ',"purpose":null'),
            coalesce(',"legal_basis":"' || NEW."legal_basis" || '"', ',"legal_basis":null'),
            coalesce(',"retention_days":' || NEW."retention_days"::text, ',"retention_days":null'),
            coalesce(',"sign_present":' || NEW."sign_present"::text, ',"sign_present":null'),
            coalesce(',"sign_on":' || to_json(NEW."sign_on")::text, ',"sign_on":null'),
            coalesce(',"filing_number":"' || NEW."filing_number" || '"', ',"filing_number":null'),
            coalesce(',"filed_on":' || to_json(NEW."filed_on")::text, ',"filed_on":null'),
            coalesce(',"consent_reference":"' || NEW."consent_reference" || '"', ',"consent_reference":null'),
            coalesce(',"review_due":' || to_json(NEW."review_due")::text, ',"review_due":null'),
            coalesce(',"lifecycle":"' || NEW."lifecycle" || '"', ',"lifecycle":null'),
            coalesce(',"control_point":"' || NEW."control_point" || '"', ',"control_point":null'),
            coalesce(',"failure_group":"' || NEW."failure_group" || '"', ',"failure_group":null'),
            coalesce(',"manufacturer":"' || NEW."manufacturer" || '"', ',"manufacturer":null'),
            coalesce(',"model":"' || NEW."model" || '"', ',"model":null'),
            coalesce(',"installed_on":' || to_json(NEW."installed_on")::text, ',"installed_on":null'),
            coalesce(',"in_use_on":' || to_json(NEW."in_use_on")::text, ',"in_use_on":null'),
            coalesce(',"removed_on":' || to_json(NEW."removed_on")::text, ',"removed_on":null'),
            coalesce(',"address":"' || NEW."address" || '"', ',"address":null'),
            coalesce(',"division_code":"' || NEW."division_code" || '"', ',"division_code":null'),
            coalesce(',"notes":"' || NEW."notes" || '"', ',"notes":null'),
            coalesce(',"structure":"' || NEW."structure" || '"', ',"structure":null'),
            coalesce(',"checkpoint":"' || NEW."checkpoint" || '"', ',"checkpoint":null'),
            coalesce(',"direction":"' || NEW."direction" || '"', ',"direction":null'),
            coalesce(',"azimuth_deg":' || to_json(NEW."azimuth_deg")::text, ',"azimuth_deg":null'),
            coalesce(',"opening_deg":' || to_json(NEW."opening_deg")::text, ',"opening_deg":null'),
            coalesce(',"vertical_opening_deg":' || to_json(NEW."vertical_opening_deg")::text, ',"vertical_opening_deg":null'),
            coalesce(',"range_m":' || to_json(NEW."range_m")::text, ',"range_m":null'),
            coalesce(',"near_m":' || to_json(NEW."near_m")::text, ',"near_m":null'),
            coalesce(',"reach_m":' || to_json(NEW."reach_m")::text, ',"reach_m":null'),
            coalesce(',"view_polygon":' || NEW."view_polygon"::text, ',"view_polygon":null'),
            coalesce(',"required_level":"' || NEW."required_level" || '"', ',"required_level":null'),
            coalesce(',"level_scale":"' || NEW."level_scale" || '"', ',"level_scale":null'),
            coalesce(',"horizontal_pixels":' || NEW."horizontal_pixels"::text, ',"horizontal_pixels":null'),
            coalesce(',"vertical_pixels":' || NEW."vertical_pixels"::text, ',"vertical_pixels":null'),
            coalesce(',"focal_mm":' || to_json(NEW."focal_mm")::text, ',"focal_mm":null'),
            coalesce(',"sensor_width_mm":' || to_json(NEW."sensor_width_mm")::text, ',"sensor_width_mm":null'),
            coalesce(',"mount_height_m":' || to_json(NEW."mount_height_m")::text, ',"mount_height_m":null'),
            coalesce(',"tilt_deg":' || to_json(NEW."tilt_deg")::text, ',"tilt_deg":null'),
            coalesce(',"indoor":' || NEW."indoor"::text, ',"indoor":null'),
            coalesce(',"point_class":' || NEW."point_class"::text, ',"point_class":null'),
            coalesce(',"serial_number":"' || NEW."serial_number" || '"', ',"serial_number":null'),
            coalesce(',"zone":"' || NEW."zone" || '"', ',"zone":null'),
            coalesce(',"rings":' || to_json(NEW."rings")::text, ',"rings":null'),
            coalesce(',"on_boundary":' || to_json(NEW."on_boundary")::text, ',"on_boundary":null'),
            coalesce(',"distance_m":' || NEW."distance_m"::text, ',"distance_m":null'),
            coalesce(',"version":' || NEW."version"::text, ',"version":null'),
            ',"created_at":' || left(to_json(NEW."created_at" AT TIME ZONE 'UTC')::text, -1) || '+00:00"',
            ',"updated_at":' || left(to_json(NEW."updated_at" AT TIME ZONE 'UTC')::text, -1) || '+00:00"'
        );
    END IF;
    RETURN NEW;
END $$;

CREATE FUNCTION public.registry_write_checkpoint() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF concat(
        NEW."code",
        NEW."jurisdiction",
        NEW."name_zh",
        NEW."name_en",
        NEW."kind",
        NEW."owner_unit",
        NEW."owner_reference",
        NEW."maintenance_unit",
        NEW."purpose",
        NEW."legal_basis",
        NEW."filing_number",
        NEW."consent_reference",
        NEW."lifecycle",
        NEW."control_point",
        NEW."failure_group",
        NEW."manufacturer",
        NEW."model",
        NEW."address",
        NEW."division_code",
        NEW."notes",
        NEW."tollgate_category",
        NEW."tollgate_usage",
        NEW."capture_side",
        NEW."road",
        NEW."zone"
    ) COLLATE "C" ~ '["\\[:cntrl:]]' THEN
        NEW.document := concat(
            coalesce('{"code":' || to_json(NEW."code")::text, '{"code":null'),
            coalesce(',"jurisdiction":' || to_json(NEW."jurisdiction")::text, ',"jurisdiction":null'),
            coalesce(',"name_zh":' || to_json(NEW."name_zh")::text, ',"name_zh":null'),
            coalesce(',"name_en":' || to_json(NEW."name_en")::text, ',"name_en":null'),
            coalesce(',"kind":' || to_json(NEW."kind")::text, ',"kind":null'),
            coalesce(',"owner_unit":' || to_json(NEW."owner_unit")::text, ',"owner_unit":null'),
            coalesce(',"owner_reference":' || to_json(NEW."owner_reference")::text, ',"owner_reference":null'),
            coalesce(',"maintenance_unit":' || to_json(NEW."maintenance_unit")::text, ',"maintenance_unit":null'),
            coalesce(',"purpose":' || to_json(NEW."purpose")::text, ',"purpose":null'),
            coalesce(',"legal_basis":' || to_json(NEW."legal_basis")::text, ',"legal_basis":null'),
            coalesce(',"retention_days":' || NEW."retention_days"::text, ',"retention_days":null'),
            coalesce(',"sign_present":' || NEW."sign_present"::text, ',"sign_present":null'),
            coalesce(',"sign_on":' || to_json(NEW."sign_on")::text, ',"sign_on":null'),
            coalesce(',"filing_number":' || to_json(NEW."filing_number")::text, ',"filing_number":null'),
            coalesce(',"filed_on":' || to_json(NEW."filed_on")::text, ',"filed_on":null'),
            coalesce(',"consent_reference":' || to_json(NEW."consent_reference")::text, ',"consent_reference":null'),
            coalesce(',"review_due":' || to_json(NEW."review_due")::text, ',"review_due":null'),
            coalesce(',"lifecycle":' || to_json(NEW."lifecycle")::text, ',"lifecycle":null'),
            coalesce(',"control_point":' || to_json(NEW."control_point")::text, ',"control_point":null'),
            coalesce(',"failure_group":' || to_json(NEW."failure_group")::text, ',"failure_group":null'),
            coalesce(',"manufacturer":' || to_json(NEW."manufacturer")::text, ',"manufacturer":null'),
            coalesce(',"model":' || to_json(NEW."model")::text, ',"model":null'),
            coalesce(',"installed_on":' || to_json(NEW."installed_on")::text, ',"installed_on":null'),
            coalesce(',"in_use_on":' || to_json(NEW."in_use_on")::text, ',"in_use_on":null'),
            coalesce(',"removed_on":' || to_json(NEW."removed_on")::text, ',"removed_on":null'),
            coalesce(',"address":' || to_json(NEW."address")::text, ',"address":null'),
            coalesce(',"division_code":' || to_json(NEW."division_code")::text, ',"division_code":null'),
            coalesce(',"notes":' || to_json(NEW."notes")::text, ',"notes":null'),
            coalesce(',"tollgate_category":' || to_json(NEW."tollgate_category")::text, ',"tollgate_category":null'),
            coalesce(',"tollgate_usage":' || to_json(NEW."tollgate_usage")::text, ',"tollgate_usage":null'),
            coalesce(',"capture_side":' || to_json(NEW."capture_side")::text, ',"capture_side":null'),
            coalesce(',"road":' || to_json(NEW."road")::text, ',"road":null'),
            coalesce(',"lanes":' || NEW."lanes"::text, ',"lanes":null'),
            coalesce(',"zone":' || to_json(NEW."zone")::text, ',"zone":null'),
            coalesce(',"rings":' || to_json(NEW."rings")::text, ',"rings":null'),
            coalesce(',"on_boundary":' || to_json(NEW."on_boundary")::text, ',"on_boundary":null'),
            coalesce(',"distance_m":' || NEW."distance_m"::text, ',"distance_m":null'),
            coalesce(',"version":' || NEW."version"::text, ',"version":null'),
            ',"created_at":' || left(to_json(NEW."created_at" AT TIME ZONE 'UTC')::text, -1) || '+00:00"',
            ',"updated_at":' || left(to_json(NEW."updated_at" AT TIME ZONE 'UTC')::text, -1) || '+00:00"'
        );
    ELSE
        NEW.document := concat(
            coalesce('{"code":"' || NEW."code" || '"', '{"code":null'),
            coalesce(',"jurisdiction":"' || NEW."jurisdiction" || '"', ',"jurisdiction":null'),
            coalesce(',"name_zh":"' || NEW."name_zh" || '"', ',"name_zh":null'),
            coalesce(',"name_en":"' || NEW."name_en" || '"', ',"name_en":null'),
            coalesce(',"kind":"' || NEW."kind" || '"', ',"kind":null'),
            coalesce(',"owner_unit":"' || NEW."owner_unit" || '"', ',"owner_unit":null'),
            coalesce(',"owner_reference":"' || NEW."owner_reference" || '"', ',"owner_reference":null'),
            coalesce(',"maintenance_unit":"' || NEW."maintenance_unit" || '"', ',"maintenance_unit":null'),
            coalesce(',"purpose":"' || NEW."purpose" || '"', ',"purpose":null'),
            coalesce(',"legal_basis":"' || NEW."legal_basis" || '"', ',"legal_basis":null'),
            coalesce(',"retention_days":' || NEW."retention_days"::text, ',"retention_days":null'),
            coalesce(',"sign_present":' || NEW."sign_present"::text, ',"sign_present":null'),
            coalesce(',"sign_on":' || to_json(NEW."sign_on")::text, ',"sign_on":null'),
            coalesce(',"filing_number":"' || NEW."filing_number" || '"', ',"filing_number":null'),
            coalesce(',"filed_on":' || to_json(NEW."filed_on")::text, ',"filed_on":null'),
            coalesce(',"consent_reference":"' || NEW."consent_reference" || '"', ',"consent_reference":null'),
            coalesce(',"review_due":' || to_json(NEW."review_due")::text, ',"review_due":null'),
            coalesce(',"lifecycle":"' || NEW."lifecycle" || '"', ',"lifecycle":null'),
            coalesce(',"control_point":"' || NEW."control_point" || '"', ',"control_point":null'),
            coalesce(',"failure_group":"' || NEW."failure_group" || '"', ',"failure_group":null'),
            coalesce(',"manufacturer":"' || NEW."manufacturer" || '"', ',"manufacturer":null'),
            coalesce(',"model":"' || NEW."model" || '"', ',"model":null'),
            coalesce(',"installed_on":' || to_json(NEW."installed_on")::text, ',"installed_on":null'),
            coalesce(',"in_use_on":' || to_json(NEW."in_use_on")::text, ',"in_use_on":null'),
            coalesce(',"removed_on":' || to_json(NEW."removed_on")::text, ',"removed_on":null'),
            coalesce(',"address":"' || NEW."address" || '"', ',"address":null'),
            coalesce(',"division_code":"' || NEW."division_code" || '"', ',"division_code":null'),
            coalesce(',"notes":"' || NEW."notes" || '"', ',"notes":null'),
            coalesce(',"tollgate_category":"' || NEW."tollgate_category" || '"', ',"tollgate_category":null'),
            coalesce(',"tollgate_usage":"' || NEW."tollgate_usage" || '"', ',"tollgate_usage":null'),
            coalesce(',"capture_side":"' || NEW."capture_side" || '"', ',"capture_side":null'),
            coalesce(',"road":"' || NEW."road" || '"', ',"road":null'),
            coalesce(',"lanes":' || NEW."lanes"::text, ',"lanes":null'),
            coalesce(',"zone":"' || NEW."zone" || '"', ',"zone":null'),
            coalesce(',"rings":' || to_json(NEW."rings")::text, ',"rings":null'),
            coalesce(',"on_boundary":' || to_json(NEW."on_boundary")::text, ',"on_boundary":null'),
            coalesce(',"distance_m":' || NEW."distance_m"::text, ',"distance_m":null'),
            coalesce(',"version":' || NEW."version"::text, ',"version":null'),
            ',"created_at":' || left(to_json(NEW."created_at" AT TIME ZONE 'UTC')::text, -1) || '+00:00"',
            ',"updated_at":' || left(to_json(NEW."updated_at" AT TIME ZONE 'UTC')::text, -1) || '+00:00"'
        );
    END IF;
    RETURN NEW;
END $$;

CREATE FUNCTION public.registry_write_control_point() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF concat(
        NEW."code",
        NEW."jurisdiction",
        NEW."name_zh",
        NEW."name_en",
        NEW."category",
        NEW."owner_unit",
        NEW."owner_reference",
        NEW."address",
        NEW."division_code",
        NEW."notes",
        NEW."road_name",
        NEW."zone"
    ) COLLATE "C" ~ '["\\[:cntrl:]]' THEN
        NEW.document := concat(
            coalesce('{"code":' || to_json(NEW."code")::text, '{"code":null'),
            coalesce(',"jurisdiction":' || to_json(NEW."jurisdiction")::text, ',"jurisdiction":null'),
            coalesce(',"name_zh":' || to_json(NEW."name_zh")::text, ',"name_zh":null'),
            coalesce(',"name_en":' || to_json(NEW."name_en")::text, ',"name_en":null'),
            coalesce(',"category":' || to_json(NEW."category")::text, ',"category":null'),
            coalesce(',"owner_unit":' || to_json(NEW."owner_unit")::text, ',"owner_unit":null'),
            coalesce(',"owner_reference":' || to_json(NEW."owner_reference")::text, ',"owner_reference":null'),
            coalesce(',"address":' || to_json(NEW."address")::text, ',"address":null'),
            coalesce(',"division_code":' || to_json(NEW."division_code")::text, ',"division_code":null'),
            coalesce(',"notes":' || to_json(NEW."notes")::text, ',"notes":null'),
            coalesce(',"road_name":' || to_json(NEW."road_name")::text, ',"road_name":null'),
            coalesce(',"inbound_bearing_deg":' || to_json(NEW."inbound_bearing_deg")::text, ',"inbound_bearing_deg":null'),
            coalesce(',"requirements":' || NEW."requirements"::text, ',"requirements":null'),
            coalesce(',"zone":' || to_json(NEW."zone")::text, ',"zone":null'),
            coalesce(',"rings":' || to_json(NEW."rings")::text, ',"rings":null'),
            coalesce(',"on_boundary":' || to_json(NEW."on_boundary")::text, ',"on_boundary":null'),
            coalesce(',"distance_m":' || NEW."distance_m"::text, ',"distance_m":null'),
            coalesce(',"version":' || NEW."version"::text, ',"version":null'),
            ',"created_at":' || left(to_json(NEW."created_at" AT TIME ZONE 'UTC')::text, -1) || '+00:00"',
            ',"updated_at":' || left(to_json(NEW."updated_at" AT TIME ZONE 'UTC')::text, -1) || '+00:00"'
        );
    ELSE
        NEW.document := concat(
            coalesce('{"code":"' || NEW."code" || '"', '{"code":null'),
            coalesce(',"jurisdiction":"' || NEW."jurisdiction" || '"', ',"jurisdiction":null'),
            coalesce(',"name_zh":"' || NEW."name_zh" || '"', ',"name_zh":null'),
            coalesce(',"name_en":"' || NEW."name_en" || '"', ',"name_en":null'),
            coalesce(',"category":"' || NEW."category" || '"', ',"category":null'),
            coalesce(',"owner_unit":"' || NEW."owner_unit" || '"', ',"owner_unit":null'),
            coalesce(',"owner_reference":"' || NEW."owner_reference" || '"', ',"owner_reference":null'),
            coalesce(',"address":"' || NEW."address" || '"', ',"address":null'),
            coalesce(',"division_code":"' || NEW."division_code" || '"', ',"division_code":null'),
            coalesce(',"notes":"' || NEW."notes" || '"', ',"notes":null'),
            coalesce(',"road_name":"' || NEW."road_name" || '"', ',"road_name":null'),
            coalesce(',"inbound_bearing_deg":' || to_json(NEW."inbound_bearing_deg")::text, ',"inbound_bearing_deg":null'),
            coalesce(',"requirements":' || NEW."requirements"::text, ',"requirements":null'),
            coalesce(',"zone":"' || NEW."zone" || '"', ',"zone":null'),
            coalesce(',"rings":' || to_json(NEW."rings")::text, ',"rings":null'),
            coalesce(',"on_boundary":' || to_json(NEW."on_boundary")::text, ',"on_boundary":null'),
            coalesce(',"distance_m":' || NEW."distance_m"::text, ',"distance_m":null'),
            coalesce(',"version":' || NEW."version"::text, ',"version":null'),
            ',"created_at":' || left(to_json(NEW."created_at" AT TIME ZONE 'UTC')::text, -1) || '+00:00"',
            ',"updated_at":' || left(to_json(NEW."updated_at" AT TIME ZONE 'UTC')::text, -1) || '+00:00"'
        );
    END IF;
    RETURN NEW;
END $$;

CREATE FUNCTION public.registry_write_road() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF concat(
        NEW."code",
        NEW."jurisdiction",
        NEW."name_zh",
        NEW."name_en",
        NEW."address",
        NEW."division_code",
        NEW."notes",
        NEW."road_class",
        NEW."road_number",
        NEW."group",
        NEW."oneway"
    ) COLLATE "C" ~ '["\\[:cntrl:]]' THEN
        NEW.document := concat(
            coalesce('{"code":' || to_json(NEW."code")::text, '{"code":null'),
            coalesce(',"jurisdiction":' || to_json(NEW."jurisdiction")::text, ',"jurisdiction":null'),
            coalesce(',"name_zh":' || to_json(NEW."name_zh")::text, ',"name_zh":null'),
            coalesce(',"name_en":' || to_json(NEW."name_en")::text, ',"name_en":null'),
            coalesce(',"address":' || to_json(NEW."address")::text, ',"address":null'),
            coalesce(',"division_code":' || to_json(NEW."division_code")::text, ',"division_code":null'),
            coalesce(',"notes":' || to_json(NEW."notes")::text, ',"notes":null'),
            coalesce(',"road_class":' || to_json(NEW."road_class")::text, ',"road_class":null'),
            coalesce(',"road_number":' || to_json(NEW."road_number")::text, ',"road_number":null'),
            coalesce(',"group":' || to_json(NEW."group")::text, ',"group":null'),
            coalesce(',"oneway":' || to_json(NEW."oneway")::text, ',"oneway":null'),
            coalesce(',"layer":' || NEW."layer"::text, ',"layer":null'),
            coalesce(',"bridge":' || NEW."bridge"::text, ',"bridge":null'),
            coalesce(',"tunnel":' || NEW."tunnel"::text, ',"tunnel":null'),
            coalesce(',"version":' || NEW."version"::text, ',"version":null'),
            ',"created_at":' || left(to_json(NEW."created_at" AT TIME ZONE 'UTC')::text, -1) || '+00:00"',
            ',"updated_at":' || left(to_json(NEW."updated_at" AT TIME ZONE 'UTC')::text, -1) || '+00:00"'
        );
    ELSE
        NEW.document := concat(
            coalesce('{"code":"' || NEW."code" || '"', '{"code":null'),
            coalesce(',"jurisdiction":"' || NEW."jurisdiction" || '"', ',"jurisdiction":null'),
            coalesce(',"name_zh":"' || NEW."name_zh" || '"', ',"name_zh":null'),
            coalesce(',"name_en":"' || NEW."name_en" || '"', ',"name_en":null'),
            coalesce(',"address":"' || NEW."address" || '"', ',"address":null'),
            coalesce(',"division_code":"' || NEW."division_code" || '"', ',"division_code":null'),
            coalesce(',"notes":"' || NEW."notes" || '"', ',"notes":null'),
            coalesce(',"road_class":"' || NEW."road_class" || '"', ',"road_class":null'),
            coalesce(',"road_number":"' || NEW."road_number" || '"', ',"road_number":null'),
            coalesce(',"group":"' || NEW."group" || '"', ',"group":null'),
            coalesce(',"oneway":"' || NEW."oneway" || '"', ',"oneway":null'),
            coalesce(',"layer":' || NEW."layer"::text, ',"layer":null'),
            coalesce(',"bridge":' || NEW."bridge"::text, ',"bridge":null'),
            coalesce(',"tunnel":' || NEW."tunnel"::text, ',"tunnel":null'),
            coalesce(',"version":' || NEW."version"::text, ',"version":null'),
            ',"created_at":' || left(to_json(NEW."created_at" AT TIME ZONE 'UTC')::text, -1) || '+00:00"',
            ',"updated_at":' || left(to_json(NEW."updated_at" AT TIME ZONE 'UTC')::text, -1) || '+00:00"'
        );
    END IF;
    RETURN NEW;
END $$;

CREATE TABLE public.alembic_version (
    version_num character varying(32) NOT NULL
);

CREATE TABLE public.analysis_answer (
    jurisdiction text NOT NULL COLLATE pg_catalog."C",
    name text NOT NULL COLLATE pg_catalog."C",
    revision bigint NOT NULL,
    holds_until timestamp with time zone,
    made_by text NOT NULL,
    made_at timestamp with time zone DEFAULT now() NOT NULL,
    body bytea NOT NULL
);
ALTER TABLE ONLY public.analysis_answer ALTER COLUMN body SET STORAGE EXTERNAL;

CREATE TABLE public.api_key (
    id text NOT NULL COLLATE pg_catalog."C",
    hash text NOT NULL,
    label text NOT NULL,
    role text NOT NULL,
    jurisdictions text[],
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone,
    revoked_at timestamp with time zone,
    last_used_at timestamp with time zone,
    CONSTRAINT ck_api_key_role CHECK ((role = ANY (ARRAY['public'::text, 'reader'::text, 'analyst'::text, 'editor'::text, 'admin'::text])))
);

CREATE TABLE public.building (
    id bigint NOT NULL,
    version integer DEFAULT 1 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    removed_at timestamp with time zone,
    document text NOT NULL,
    code text NOT NULL COLLATE pg_catalog."C",
    jurisdiction text NOT NULL COLLATE pg_catalog."C",
    name_zh text,
    name_en text,
    address text,
    division_code text COLLATE pg_catalog."C",
    notes text,
    height_m double precision,
    levels integer,
    geometry public.geometry(Geometry,4326) NOT NULL,
    CONSTRAINT ck_building_area CHECK ((public.st_dimension(geometry) = 2)),
    CONSTRAINT ck_building_code CHECK (((code !~ '[^A-Za-z0-9._:-]'::text) AND ((length(code) >= 1) AND (length(code) <= 64)))),
    CONSTRAINT ck_building_geometry CHECK (((NOT public.st_isempty(geometry)) AND public.st_isvalid(geometry))),
    CONSTRAINT ck_building_height_m CHECK (((height_m > (0)::double precision) AND (height_m < 'Infinity'::double precision)))
)
WITH (toast_tuple_target='8160');

ALTER TABLE public.building ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.building_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.camera (
    id bigint NOT NULL,
    version integer DEFAULT 1 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    removed_at timestamp with time zone,
    zone text,
    rings text[],
    on_boundary text[],
    distance_m jsonb,
    owner_unit text,
    maintenance_unit text,
    purpose text,
    legal_basis text,
    retention_days integer,
    sign_present boolean,
    sign_on date,
    filing_number text,
    filed_on date,
    consent_reference text,
    review_due date,
    lifecycle text NOT NULL,
    control_point text COLLATE pg_catalog."C",
    failure_group text,
    manufacturer text,
    model text,
    installed_on date,
    in_use_on date,
    removed_on date,
    network_address text,
    code text NOT NULL COLLATE pg_catalog."C",
    jurisdiction text NOT NULL COLLATE pg_catalog."C",
    name_zh text,
    name_en text,
    address text,
    division_code text COLLATE pg_catalog."C",
    notes text,
    functions text[] NOT NULL,
    structure text,
    checkpoint text COLLATE pg_catalog."C",
    direction text,
    azimuth_deg double precision,
    opening_deg double precision,
    vertical_opening_deg double precision,
    range_m double precision,
    near_m double precision,
    horizontal_pixels integer,
    vertical_pixels integer,
    focal_mm double precision,
    sensor_width_mm double precision,
    mount_height_m double precision,
    tilt_deg double precision,
    indoor boolean,
    point_class integer,
    serial_number text,
    geometry public.geometry(Point,4326) NOT NULL,
    document text NOT NULL,
    reach_m double precision,
    view_polygon jsonb,
    required_level text,
    level_scale text,
    owner_reference text,
    CONSTRAINT ck_camera_azimuth_deg CHECK (((azimuth_deg >= (0)::double precision) AND (azimuth_deg < (360)::double precision))),
    CONSTRAINT ck_camera_code CHECK (((code !~ '[^A-Za-z0-9._:-]'::text) AND ((length(code) >= 1) AND (length(code) <= 64)))),
    CONSTRAINT ck_camera_functions CHECK (((cardinality(functions) > 0) AND (functions <@ ARRAY['face'::text, 'vehicle'::text, 'structured'::text, 'overview'::text, 'electronic'::text]))),
    CONSTRAINT ck_camera_geometry CHECK (((NOT public.st_isempty(geometry)) AND public.st_isvalid(geometry))),
    CONSTRAINT ck_camera_lifecycle CHECK ((lifecycle = ANY (ARRAY['planned'::text, 'in_use'::text, 'repair'::text, 'removed'::text]))),
    CONSTRAINT ck_camera_opening_deg CHECK (((opening_deg > (0)::double precision) AND (opening_deg <= (360)::double precision))),
    CONSTRAINT ck_camera_owner_reference CHECK (((owner_reference IS NULL) OR (owner_unit IS NOT NULL))),
    CONSTRAINT ck_camera_range_m CHECK (((range_m > (0)::double precision) AND (range_m < 'Infinity'::double precision))),
    CONSTRAINT ck_camera_reach_m CHECK (((reach_m > (0)::double precision) AND (reach_m < 'Infinity'::double precision))),
    CONSTRAINT ck_camera_retention_days CHECK ((retention_days >= 30)),
    CONSTRAINT ck_camera_view_polygon CHECK ((jsonb_typeof(view_polygon) = 'object'::text))
)
WITH (toast_tuple_target='8160');

ALTER TABLE public.camera ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.camera_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.change_log (
    seq bigint NOT NULL,
    transaction bigint DEFAULT ((pg_current_xact_id())::text)::bigint NOT NULL,
    at timestamp with time zone DEFAULT now() NOT NULL,
    actor text NOT NULL,
    request_id text,
    reason text,
    jurisdiction text NOT NULL COLLATE pg_catalog."C",
    kind text NOT NULL,
    code text NOT NULL COLLATE pg_catalog."C",
    operation text NOT NULL,
    version integer,
    before text,
    after text
);

CREATE VIEW public.change AS
 SELECT change_log.seq,
    change_log.transaction,
    change_log.at,
    change_log.actor,
    change_log.request_id,
    change_log.reason,
    change_log.jurisdiction,
    change_log.kind,
    change_log.code,
    change_log.operation,
    change_log.version,
    public.registry_told(change_log.before) AS before,
    public.registry_told(change_log.after) AS after
   FROM public.change_log;

ALTER TABLE public.change_log ALTER COLUMN seq ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.change_seq_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.checkpoint (
    id bigint NOT NULL,
    version integer DEFAULT 1 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    removed_at timestamp with time zone,
    zone text,
    rings text[],
    on_boundary text[],
    distance_m jsonb,
    owner_unit text,
    maintenance_unit text,
    purpose text,
    legal_basis text,
    retention_days integer,
    sign_present boolean,
    sign_on date,
    filing_number text,
    filed_on date,
    consent_reference text,
    review_due date,
    lifecycle text NOT NULL,
    control_point text COLLATE pg_catalog."C",
    failure_group text,
    manufacturer text,
    model text,
    installed_on date,
    in_use_on date,
    removed_on date,
    network_address text,
    code text NOT NULL COLLATE pg_catalog."C",
    jurisdiction text NOT NULL COLLATE pg_catalog."C",
    name_zh text,
    name_en text,
    address text,
    division_code text COLLATE pg_catalog."C",
    notes text,
    kind text NOT NULL,
    tollgate_category text,
    tollgate_usage text,
    capture_side text,
    road text COLLATE pg_catalog."C",
    lanes jsonb NOT NULL,
    geometry public.geometry(Point,4326) NOT NULL,
    document text NOT NULL,
    owner_reference text,
    CONSTRAINT ck_checkpoint_code CHECK (((code !~ '[^A-Za-z0-9._:-]'::text) AND ((length(code) >= 1) AND (length(code) <= 64)))),
    CONSTRAINT ck_checkpoint_geometry CHECK (((NOT public.st_isempty(geometry)) AND public.st_isvalid(geometry))),
    CONSTRAINT ck_checkpoint_kind CHECK ((kind = ANY (ARRAY['face'::text, 'vehicle'::text]))),
    CONSTRAINT ck_checkpoint_lanes CHECK ((jsonb_typeof(lanes) = 'array'::text)),
    CONSTRAINT ck_checkpoint_lifecycle CHECK ((lifecycle = ANY (ARRAY['planned'::text, 'in_use'::text, 'repair'::text, 'removed'::text]))),
    CONSTRAINT ck_checkpoint_owner_reference CHECK (((owner_reference IS NULL) OR (owner_unit IS NOT NULL))),
    CONSTRAINT ck_checkpoint_retention_days CHECK ((retention_days >= 30))
)
WITH (toast_tuple_target='8160');

ALTER TABLE public.checkpoint ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.checkpoint_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.control_point (
    id bigint NOT NULL,
    version integer DEFAULT 1 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    removed_at timestamp with time zone,
    zone text,
    rings text[],
    on_boundary text[],
    distance_m jsonb,
    code text NOT NULL COLLATE pg_catalog."C",
    jurisdiction text NOT NULL COLLATE pg_catalog."C",
    name_zh text,
    name_en text,
    address text,
    division_code text COLLATE pg_catalog."C",
    notes text,
    category text NOT NULL,
    road_name text,
    inbound_bearing_deg double precision,
    requirements jsonb,
    geometry public.geometry(Geometry,4326) NOT NULL,
    document text NOT NULL,
    owner_unit text,
    owner_reference text,
    CONSTRAINT ck_control_point_category CHECK ((category = ANY (ARRAY['city_road'::text, 'urban_road'::text, 'core_road'::text, 'core_junction'::text, 'core_site'::text]))),
    CONSTRAINT ck_control_point_code CHECK (((code !~ '[^A-Za-z0-9._:-]'::text) AND ((length(code) >= 1) AND (length(code) <= 64)))),
    CONSTRAINT ck_control_point_geometry CHECK (((NOT public.st_isempty(geometry)) AND public.st_isvalid(geometry))),
    CONSTRAINT ck_control_point_owner_reference CHECK (((owner_reference IS NULL) OR (owner_unit IS NOT NULL)))
)
WITH (toast_tuple_target='8160');

ALTER TABLE public.control_point ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.control_point_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.device_state (
    kind text NOT NULL,
    code text NOT NULL COLLATE pg_catalog."C",
    jurisdiction text NOT NULL COLLATE pg_catalog."C",
    state text NOT NULL,
    reported_at timestamp with time zone NOT NULL,
    received_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT ck_device_state_kind CHECK ((kind = ANY (ARRAY['camera'::text, 'checkpoint'::text]))),
    CONSTRAINT ck_device_state_state CHECK ((state = ANY (ARRAY['online'::text, 'offline'::text, 'fault'::text, 'unknown'::text])))
)
WITH (fillfactor='50');

CREATE TABLE public.import_job (
    id text NOT NULL COLLATE pg_catalog."C",
    worker text NOT NULL,
    state text NOT NULL,
    kind text NOT NULL,
    jurisdictions text[] NOT NULL,
    actor text NOT NULL,
    dry_run boolean NOT NULL,
    options jsonb NOT NULL,
    file jsonb NOT NULL,
    plan jsonb NOT NULL,
    counts jsonb NOT NULL,
    notes jsonb NOT NULL,
    problem jsonb,
    cancel_requested boolean NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    started_at timestamp with time zone,
    finished_at timestamp with time zone,
    CONSTRAINT ck_import_job_state CHECK ((state = ANY (ARRAY['received'::text, 'parsing'::text, 'validating'::text, 'applying'::text, 'done'::text, 'failed'::text, 'cancelled'::text])))
);

CREATE TABLE public.import_page (
    job text NOT NULL COLLATE pg_catalog."C",
    page integer NOT NULL,
    rows bigint NOT NULL,
    has text[] NOT NULL,
    results bytea NOT NULL,
    cells bytea
);
ALTER TABLE ONLY public.import_page ALTER COLUMN results SET STORAGE EXTERNAL;
ALTER TABLE ONLY public.import_page ALTER COLUMN cells SET STORAGE EXTERNAL;

CREATE TABLE public.import_profile (
    name text NOT NULL COLLATE pg_catalog."C",
    body jsonb NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_by text NOT NULL
);

CREATE TABLE public.jurisdiction (
    id bigint NOT NULL,
    version integer DEFAULT 1 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    removed_at timestamp with time zone,
    code text NOT NULL COLLATE pg_catalog."C",
    name_zh text,
    name_en text,
    plan jsonb NOT NULL,
    requirements jsonb NOT NULL,
    coverage_parameters jsonb NOT NULL,
    metric_epsg integer,
    extent jsonb,
    stale_after_s integer NOT NULL,
    synthetic boolean NOT NULL,
    CONSTRAINT ck_jurisdiction_code CHECK ((code ~ '^[0-9]{6}$'::text)),
    CONSTRAINT ck_jurisdiction_stale_after_s CHECK ((stale_after_s > 0))
);

ALTER TABLE public.jurisdiction ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.jurisdiction_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.revision (
    jurisdiction text NOT NULL COLLATE pg_catalog."C",
    revision bigint DEFAULT '0'::bigint NOT NULL
)
WITH (fillfactor='10');

CREATE TABLE public.ring (
    id bigint NOT NULL,
    version integer DEFAULT 1 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    removed_at timestamp with time zone,
    jurisdiction text NOT NULL COLLATE pg_catalog."C",
    level text NOT NULL,
    name_zh text,
    name_en text,
    tolerance_m double precision NOT NULL,
    source text,
    datum_received text NOT NULL,
    valid_from date,
    code text NOT NULL COLLATE pg_catalog."C",
    geometry public.geometry(MultiPolygon,4326) NOT NULL,
    CONSTRAINT ck_ring_code CHECK ((code = ((jurisdiction || '/'::text) || level))),
    CONSTRAINT ck_ring_geometry CHECK (((NOT public.st_isempty(geometry)) AND public.st_isvalid(geometry))),
    CONSTRAINT ck_ring_level CHECK ((level = ANY (ARRAY['core'::text, 'urban'::text, 'city'::text]))),
    CONSTRAINT ck_ring_tolerance_m CHECK ((tolerance_m >= (0)::double precision))
);

ALTER TABLE public.ring ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.ring_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.road (
    id bigint NOT NULL,
    version integer DEFAULT 1 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    removed_at timestamp with time zone,
    code text NOT NULL COLLATE pg_catalog."C",
    jurisdiction text NOT NULL COLLATE pg_catalog."C",
    name_zh text,
    name_en text,
    address text,
    division_code text COLLATE pg_catalog."C",
    notes text,
    road_class text NOT NULL,
    road_number text,
    "group" text COLLATE pg_catalog."C",
    oneway text NOT NULL,
    layer integer NOT NULL,
    bridge boolean NOT NULL,
    tunnel boolean NOT NULL,
    geometry public.geometry(LineString,4326) NOT NULL,
    document text NOT NULL,
    CONSTRAINT ck_road_code CHECK (((code !~ '[^A-Za-z0-9._:-]'::text) AND ((length(code) >= 1) AND (length(code) <= 64)))),
    CONSTRAINT ck_road_geometry CHECK (((NOT public.st_isempty(geometry)) AND public.st_isvalid(geometry)))
)
WITH (toast_tuple_target='8160');

ALTER TABLE public.road ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.road_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.scenario (
    id bigint NOT NULL,
    version integer DEFAULT 1 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    removed_at timestamp with time zone,
    code text NOT NULL COLLATE pg_catalog."C",
    jurisdiction text NOT NULL COLLATE pg_catalog."C",
    name text NOT NULL COLLATE pg_catalog."C",
    title text,
    author text NOT NULL,
    changes jsonb NOT NULL,
    CONSTRAINT ck_scenario_changes CHECK ((jsonb_typeof(changes) = 'array'::text)),
    CONSTRAINT ck_scenario_code CHECK ((code = ((jurisdiction || '/'::text) || name)))
);

ALTER TABLE public.scenario ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.scenario_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.touched (
    transaction bigint NOT NULL,
    jurisdiction text NOT NULL COLLATE pg_catalog."C"
);

CREATE TABLE public.waiver (
    id bigint NOT NULL,
    version integer DEFAULT 1 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    removed_at timestamp with time zone,
    code text NOT NULL COLLATE pg_catalog."C",
    jurisdiction text NOT NULL COLLATE pg_catalog."C",
    crossing text NOT NULL COLLATE pg_catalog."C",
    level text NOT NULL,
    road text NOT NULL,
    reason text NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    waived_by text NOT NULL,
    geometry public.geometry(Point,4326) NOT NULL,
    CONSTRAINT ck_waiver_code CHECK ((code = ((jurisdiction || '/'::text) || crossing))),
    CONSTRAINT ck_waiver_level CHECK ((level = ANY (ARRAY['core'::text, 'urban'::text, 'city'::text]))),
    CONSTRAINT ck_waiver_reason CHECK ((length(reason) > 0))
);

ALTER TABLE public.waiver ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.waiver_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);

ALTER TABLE ONLY public.analysis_answer
    ADD CONSTRAINT pk_analysis_answer PRIMARY KEY (jurisdiction, name);

ALTER TABLE ONLY public.api_key
    ADD CONSTRAINT pk_api_key PRIMARY KEY (id);

ALTER TABLE ONLY public.building
    ADD CONSTRAINT pk_building PRIMARY KEY (id);

ALTER TABLE ONLY public.camera
    ADD CONSTRAINT pk_camera PRIMARY KEY (id);

ALTER TABLE ONLY public.change_log
    ADD CONSTRAINT pk_change_log PRIMARY KEY (seq);

ALTER TABLE ONLY public.checkpoint
    ADD CONSTRAINT pk_checkpoint PRIMARY KEY (id);

ALTER TABLE ONLY public.control_point
    ADD CONSTRAINT pk_control_point PRIMARY KEY (id);

ALTER TABLE ONLY public.device_state
    ADD CONSTRAINT pk_device_state PRIMARY KEY (kind, code);

ALTER TABLE ONLY public.import_job
    ADD CONSTRAINT pk_import_job PRIMARY KEY (id);

ALTER TABLE ONLY public.import_page
    ADD CONSTRAINT pk_import_page PRIMARY KEY (job, page);

ALTER TABLE ONLY public.import_profile
    ADD CONSTRAINT pk_import_profile PRIMARY KEY (name);

ALTER TABLE ONLY public.jurisdiction
    ADD CONSTRAINT pk_jurisdiction PRIMARY KEY (id);

ALTER TABLE ONLY public.revision
    ADD CONSTRAINT pk_revision PRIMARY KEY (jurisdiction);

ALTER TABLE ONLY public.ring
    ADD CONSTRAINT pk_ring PRIMARY KEY (id);

ALTER TABLE ONLY public.road
    ADD CONSTRAINT pk_road PRIMARY KEY (id);

ALTER TABLE ONLY public.scenario
    ADD CONSTRAINT pk_scenario PRIMARY KEY (id);

ALTER TABLE ONLY public.touched
    ADD CONSTRAINT pk_touched PRIMARY KEY (transaction, jurisdiction);

ALTER TABLE ONLY public.waiver
    ADD CONSTRAINT pk_waiver PRIMARY KEY (id);

ALTER TABLE ONLY public.building
    ADD CONSTRAINT uq_building_code UNIQUE (code);

ALTER TABLE ONLY public.building
    ADD CONSTRAINT uq_building_jurisdiction_code UNIQUE (jurisdiction, code);

ALTER TABLE ONLY public.camera
    ADD CONSTRAINT uq_camera_code UNIQUE (code);

ALTER TABLE ONLY public.camera
    ADD CONSTRAINT uq_camera_jurisdiction_code UNIQUE (jurisdiction, code);

ALTER TABLE ONLY public.checkpoint
    ADD CONSTRAINT uq_checkpoint_code UNIQUE (code);

ALTER TABLE ONLY public.checkpoint
    ADD CONSTRAINT uq_checkpoint_jurisdiction_code UNIQUE (jurisdiction, code);

ALTER TABLE ONLY public.control_point
    ADD CONSTRAINT uq_control_point_code UNIQUE (code);

ALTER TABLE ONLY public.control_point
    ADD CONSTRAINT uq_control_point_jurisdiction_code UNIQUE (jurisdiction, code);

ALTER TABLE ONLY public.jurisdiction
    ADD CONSTRAINT uq_jurisdiction_code UNIQUE (code);

ALTER TABLE ONLY public.ring
    ADD CONSTRAINT uq_ring_code UNIQUE (code);

ALTER TABLE ONLY public.road
    ADD CONSTRAINT uq_road_code UNIQUE (code);

ALTER TABLE ONLY public.road
    ADD CONSTRAINT uq_road_jurisdiction_code UNIQUE (jurisdiction, code);

ALTER TABLE ONLY public.scenario
    ADD CONSTRAINT uq_scenario_code UNIQUE (code);

ALTER TABLE ONLY public.waiver
    ADD CONSTRAINT uq_waiver_code UNIQUE (code);

CREATE INDEX ix_building_geometry ON public.building USING gist (geometry);

CREATE INDEX ix_building_updated ON public.building USING btree (jurisdiction, updated_at);

CREATE INDEX ix_camera_checkpoint ON public.camera USING btree (checkpoint) WHERE (checkpoint IS NOT NULL);

CREATE INDEX ix_camera_control_point ON public.camera USING btree (control_point) WHERE (control_point IS NOT NULL);

CREATE INDEX ix_camera_geometry ON public.camera USING gist (geometry);

CREATE INDEX ix_camera_updated ON public.camera USING btree (jurisdiction, updated_at);

CREATE INDEX ix_camera_zone ON public.camera USING btree (jurisdiction, zone, code);

CREATE INDEX ix_change_log_jurisdiction ON public.change_log USING btree (jurisdiction, seq);

CREATE INDEX ix_change_log_record ON public.change_log USING btree (kind, code, seq);

CREATE INDEX ix_change_log_transaction ON public.change_log USING brin (transaction);

CREATE INDEX ix_checkpoint_control_point ON public.checkpoint USING btree (control_point) WHERE (control_point IS NOT NULL);

CREATE INDEX ix_checkpoint_geometry ON public.checkpoint USING gist (geometry);

CREATE INDEX ix_checkpoint_updated ON public.checkpoint USING btree (jurisdiction, updated_at);

CREATE INDEX ix_checkpoint_zone ON public.checkpoint USING btree (jurisdiction, zone, code);

CREATE INDEX ix_control_point_geometry ON public.control_point USING gist (geometry);

CREATE INDEX ix_control_point_updated ON public.control_point USING btree (jurisdiction, updated_at);

CREATE INDEX ix_control_point_zone ON public.control_point USING btree (jurisdiction, zone, code);

CREATE INDEX ix_import_job_created ON public.import_job USING btree (created_at, id);

CREATE INDEX ix_road_geometry ON public.road USING gist (geometry);

CREATE INDEX ix_road_updated ON public.road USING btree (jurisdiction, updated_at);

CREATE INDEX ix_scenario_jurisdiction ON public.scenario USING btree (jurisdiction, name);

CREATE INDEX ix_waiver_jurisdiction ON public.waiver USING btree (jurisdiction);

CREATE UNIQUE INDEX uq_camera_owner_reference ON public.camera USING btree (jurisdiction, owner_unit, owner_reference) WHERE ((owner_reference IS NOT NULL) AND (removed_at IS NULL));

CREATE UNIQUE INDEX uq_checkpoint_owner_reference ON public.checkpoint USING btree (jurisdiction, owner_unit, owner_reference) WHERE ((owner_reference IS NOT NULL) AND (removed_at IS NULL));

CREATE UNIQUE INDEX uq_control_point_owner_reference ON public.control_point USING btree (jurisdiction, owner_unit, owner_reference) WHERE ((owner_reference IS NOT NULL) AND (removed_at IS NULL));

CREATE CONSTRAINT TRIGGER count_revision AFTER INSERT ON public.touched DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.registry_count_revision();

CREATE TRIGGER hold_number BEFORE INSERT ON public.change_log FOR EACH STATEMENT EXECUTE FUNCTION public.registry_hold_number();

CREATE TRIGGER hold_report BEFORE INSERT OR UPDATE ON public.device_state FOR EACH STATEMENT EXECUTE FUNCTION public.registry_hold_report();

CREATE TRIGGER keep_version BEFORE UPDATE ON public.building FOR EACH ROW EXECUTE FUNCTION public.registry_keep_version();

CREATE TRIGGER keep_version BEFORE UPDATE ON public.camera FOR EACH ROW EXECUTE FUNCTION public.registry_keep_placed_version();

CREATE TRIGGER keep_version BEFORE UPDATE ON public.checkpoint FOR EACH ROW EXECUTE FUNCTION public.registry_keep_placed_version();

CREATE TRIGGER keep_version BEFORE UPDATE ON public.control_point FOR EACH ROW EXECUTE FUNCTION public.registry_keep_placed_version();

CREATE TRIGGER keep_version BEFORE UPDATE ON public.jurisdiction FOR EACH ROW EXECUTE FUNCTION public.registry_keep_version();

CREATE TRIGGER keep_version BEFORE UPDATE ON public.ring FOR EACH ROW EXECUTE FUNCTION public.registry_keep_version();

CREATE TRIGGER keep_version BEFORE UPDATE ON public.road FOR EACH ROW EXECUTE FUNCTION public.registry_keep_version();

CREATE TRIGGER keep_version BEFORE UPDATE ON public.scenario FOR EACH ROW EXECUTE FUNCTION public.registry_keep_version();

CREATE TRIGGER keep_version BEFORE UPDATE ON public.waiver FOR EACH ROW EXECUTE FUNCTION public.registry_keep_version();

CREATE TRIGGER keep_version_of_patience BEFORE UPDATE ON public.jurisdiction FOR EACH ROW WHEN ((old.stale_after_s IS DISTINCT FROM new.stale_after_s)) EXECUTE FUNCTION public.registry_begin_patience();

CREATE TRIGGER log INSTEAD OF INSERT ON public.change FOR EACH ROW EXECUTE FUNCTION public.registry_log_by_view();

CREATE TRIGGER log_insert AFTER INSERT ON public.building REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION public.registry_log_insert_building();

CREATE TRIGGER log_insert AFTER INSERT ON public.camera REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION public.registry_log_insert_camera();

CREATE TRIGGER log_insert AFTER INSERT ON public.checkpoint REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION public.registry_log_insert_checkpoint();

CREATE TRIGGER log_insert AFTER INSERT ON public.control_point REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION public.registry_log_insert_control_point();

CREATE TRIGGER log_insert AFTER INSERT ON public.device_state REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION public.registry_log_state_insert('state');

CREATE TRIGGER log_insert AFTER INSERT ON public.jurisdiction REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION public.registry_log_insert('jurisdiction');

CREATE TRIGGER log_insert AFTER INSERT ON public.ring REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION public.registry_log_insert('ring');

CREATE TRIGGER log_insert AFTER INSERT ON public.road REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION public.registry_log_insert_road();

CREATE TRIGGER log_insert AFTER INSERT ON public.scenario REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION public.registry_log_insert('scenario');

CREATE TRIGGER log_insert AFTER INSERT ON public.waiver REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION public.registry_log_insert('waiver');

CREATE TRIGGER log_update AFTER UPDATE ON public.building REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION public.registry_log_update_building();

CREATE TRIGGER log_update AFTER UPDATE ON public.camera REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION public.registry_log_update_camera();

CREATE TRIGGER log_update AFTER UPDATE ON public.checkpoint REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION public.registry_log_update_checkpoint();

CREATE TRIGGER log_update AFTER UPDATE ON public.control_point REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION public.registry_log_update_control_point();

CREATE TRIGGER log_update AFTER UPDATE ON public.device_state REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION public.registry_log_state_update('state');

CREATE TRIGGER log_update AFTER UPDATE ON public.jurisdiction REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION public.registry_log_update('jurisdiction');

CREATE TRIGGER log_update AFTER UPDATE ON public.ring REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION public.registry_log_update('ring');

CREATE TRIGGER log_update AFTER UPDATE ON public.road REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION public.registry_log_update_road();

CREATE TRIGGER log_update AFTER UPDATE ON public.scenario REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION public.registry_log_update('scenario');

CREATE TRIGGER log_update AFTER UPDATE ON public.waiver REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION public.registry_log_update('waiver');

CREATE TRIGGER log_update_of_patience AFTER UPDATE ON public.jurisdiction REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION public.registry_log_patience();

CREATE TRIGGER refuse BEFORE DELETE OR TRUNCATE ON public.building FOR EACH STATEMENT EXECUTE FUNCTION public.registry_refuse('records are removed by setting removed_at');

CREATE TRIGGER refuse BEFORE DELETE OR TRUNCATE ON public.camera FOR EACH STATEMENT EXECUTE FUNCTION public.registry_refuse('records are removed by setting removed_at');

CREATE TRIGGER refuse BEFORE DELETE OR UPDATE OR TRUNCATE ON public.change_log FOR EACH STATEMENT EXECUTE FUNCTION public.registry_refuse('the history is append-only');

CREATE TRIGGER refuse BEFORE DELETE OR TRUNCATE ON public.checkpoint FOR EACH STATEMENT EXECUTE FUNCTION public.registry_refuse('records are removed by setting removed_at');

CREATE TRIGGER refuse BEFORE DELETE OR TRUNCATE ON public.control_point FOR EACH STATEMENT EXECUTE FUNCTION public.registry_refuse('records are removed by setting removed_at');

CREATE TRIGGER refuse BEFORE DELETE OR TRUNCATE ON public.jurisdiction FOR EACH STATEMENT EXECUTE FUNCTION public.registry_refuse('records are removed by setting removed_at');

CREATE TRIGGER refuse BEFORE DELETE OR TRUNCATE ON public.ring FOR EACH STATEMENT EXECUTE FUNCTION public.registry_refuse('records are removed by setting removed_at');

CREATE TRIGGER refuse BEFORE DELETE OR TRUNCATE ON public.road FOR EACH STATEMENT EXECUTE FUNCTION public.registry_refuse('records are removed by setting removed_at');

CREATE TRIGGER refuse BEFORE DELETE OR TRUNCATE ON public.scenario FOR EACH STATEMENT EXECUTE FUNCTION public.registry_refuse('records are removed by setting removed_at');

CREATE TRIGGER refuse BEFORE DELETE OR TRUNCATE ON public.waiver FOR EACH STATEMENT EXECUTE FUNCTION public.registry_refuse('records are removed by setting removed_at');

CREATE TRIGGER write_document BEFORE INSERT OR UPDATE ON public.building FOR EACH ROW EXECUTE FUNCTION public.registry_write_building();

CREATE TRIGGER write_document BEFORE INSERT OR UPDATE ON public.camera FOR EACH ROW EXECUTE FUNCTION public.registry_write_camera();

CREATE TRIGGER write_document BEFORE INSERT OR UPDATE ON public.checkpoint FOR EACH ROW EXECUTE FUNCTION public.registry_write_checkpoint();

CREATE TRIGGER write_document BEFORE INSERT OR UPDATE ON public.control_point FOR EACH ROW EXECUTE FUNCTION public.registry_write_control_point();

CREATE TRIGGER write_document BEFORE INSERT OR UPDATE ON public.road FOR EACH ROW EXECUTE FUNCTION public.registry_write_road();

ALTER TABLE ONLY public.analysis_answer
    ADD CONSTRAINT fk_analysis_answer_jurisdiction FOREIGN KEY (jurisdiction) REFERENCES public.jurisdiction(code);

ALTER TABLE ONLY public.camera
    ADD CONSTRAINT fk_camera_checkpoint FOREIGN KEY (jurisdiction, checkpoint) REFERENCES public.checkpoint(jurisdiction, code);

ALTER TABLE ONLY public.camera
    ADD CONSTRAINT fk_camera_control_point FOREIGN KEY (jurisdiction, control_point) REFERENCES public.control_point(jurisdiction, code);

ALTER TABLE ONLY public.checkpoint
    ADD CONSTRAINT fk_checkpoint_control_point FOREIGN KEY (jurisdiction, control_point) REFERENCES public.control_point(jurisdiction, code);

ALTER TABLE ONLY public.checkpoint
    ADD CONSTRAINT fk_checkpoint_road FOREIGN KEY (jurisdiction, road) REFERENCES public.road(jurisdiction, code);

ALTER TABLE ONLY public.device_state
    ADD CONSTRAINT fk_device_state_jurisdiction FOREIGN KEY (jurisdiction) REFERENCES public.jurisdiction(code);

ALTER TABLE ONLY public.import_page
    ADD CONSTRAINT fk_import_page_job FOREIGN KEY (job) REFERENCES public.import_job(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.revision
    ADD CONSTRAINT fk_revision_jurisdiction FOREIGN KEY (jurisdiction) REFERENCES public.jurisdiction(code);

ALTER TABLE ONLY public.ring
    ADD CONSTRAINT fk_ring_jurisdiction FOREIGN KEY (jurisdiction) REFERENCES public.jurisdiction(code);

ALTER TABLE ONLY public.scenario
    ADD CONSTRAINT fk_scenario_jurisdiction FOREIGN KEY (jurisdiction) REFERENCES public.jurisdiction(code);

ALTER TABLE ONLY public.waiver
    ADD CONSTRAINT fk_waiver_jurisdiction FOREIGN KEY (jurisdiction) REFERENCES public.jurisdiction(code);

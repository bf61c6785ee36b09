"""The database writes the history: versions, changes, revisions, and their protection.

Version bumps happen in a row trigger, because only BEFORE ROW can set a column without writing the
row twice. Everything that inserts is a statement trigger over transition tables, so bulk loads stay
set-based. The revision is counted when the transaction commits (deferred), so that its order is
commit order and writers of one jurisdiction wait for each other only for that instant.

Triggers that join the rows before with the rows after forbid nested loops: a session keeps their plan,
and one made for a single row took 50 seconds for ten thousand.
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

RECORDS = ("jurisdiction", "ring", "control_point", "checkpoint", "camera", "road")
PLACED = ("control_point", "checkpoint", "camera")

FUNCTIONS = """
CREATE FUNCTION registry_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% of % is refused: %', TG_OP, TG_TABLE_NAME, TG_ARGV[0]
        USING ERRCODE = 'insufficient_privilege';
END $$;

CREATE FUNCTION registry_keep_version() RETURNS trigger LANGUAGE plpgsql AS $$
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

CREATE FUNCTION registry_keep_placed_version() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE plain record;
BEGIN
    NEW.id := OLD.id;
    NEW.code := OLD.code;
    NEW.jurisdiction := OLD.jurisdiction;
    NEW.created_at := OLD.created_at;
    NEW.version := OLD.version;
    NEW.updated_at := OLD.updated_at;
    plain := NEW;
    plain.zone := OLD.zone;
    plain.rings := OLD.rings;
    plain.on_boundary := OLD.on_boundary;
    plain.distance_m := OLD.distance_m;
    IF plain IS DISTINCT FROM OLD THEN
        NEW.version := OLD.version + 1;
        NEW.updated_at := now();
    END IF;
    RETURN NEW;
END $$;

CREATE FUNCTION registry_actor() RETURNS text LANGUAGE sql STABLE AS $$
    SELECT coalesce(nullif(current_setting('registry.actor', true), ''), session_user::text)
$$;

CREATE FUNCTION registry_context(name text) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT nullif(current_setting('registry.' || name, true), '')
$$;

CREATE FUNCTION registry_document(record jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT (jsonb_strip_nulls(record) #- '{geometry,crs}')
        - '{id,zone,rings,on_boundary,distance_m,removed_at}'::text[]
$$;

CREATE FUNCTION registry_touch(jurisdictions text[]) RETURNS void LANGUAGE sql AS $$
    INSERT INTO touched (transaction, jurisdiction)
    SELECT DISTINCT pg_current_xact_id()::text::bigint, j FROM unnest(jurisdictions) AS j ORDER BY j
    ON CONFLICT DO NOTHING
$$;

CREATE FUNCTION registry_count_revision() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO revision AS r (jurisdiction, revision) VALUES (NEW.jurisdiction, 1)
    ON CONFLICT (jurisdiction) DO UPDATE SET revision = r.revision + 1;
    DELETE FROM touched WHERE transaction = NEW.transaction AND jurisdiction = NEW.jurisdiction;
    RETURN NULL;
END $$;

CREATE FUNCTION registry_log_insert() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE written text[];
BEGIN
    WITH logged AS (
        INSERT INTO change (actor, request_id, reason, jurisdiction, kind, code, operation,
                            version, after)
        SELECT registry_actor(), registry_context('request_id'), registry_context('reason'),
               coalesce(doc ->> 'jurisdiction', doc ->> 'code'), TG_ARGV[0], doc ->> 'code',
               'create', (doc ->> 'version')::int, registry_document(doc)
        FROM (SELECT to_jsonb(n) AS doc FROM new_rows n ORDER BY n.id) AS documents
        RETURNING jurisdiction)
    SELECT array_agg(DISTINCT jurisdiction) INTO written FROM logged;
    IF written IS NOT NULL THEN PERFORM registry_touch(written); END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION registry_log_update() RETURNS trigger LANGUAGE plpgsql
SET enable_nestloop = off AS $$
DECLARE written text[];
BEGIN
    WITH logged AS (
        INSERT INTO change (actor, request_id, reason, jurisdiction, kind, code, operation,
                            version, before, after)
        SELECT registry_actor(), registry_context('request_id'), registry_context('reason'),
               coalesce(now_doc ->> 'jurisdiction', now_doc ->> 'code'), TG_ARGV[0],
               now_doc ->> 'code', operation, (now_doc ->> 'version')::int,
               CASE WHEN operation <> 'create' THEN registry_document(was_doc) END,
               CASE WHEN operation <> 'remove' THEN registry_document(now_doc) END
        FROM (SELECT to_jsonb(o) AS was_doc, to_jsonb(n) AS now_doc,
                     CASE WHEN o.removed_at IS NULL AND n.removed_at IS NOT NULL THEN 'remove'
                          WHEN o.removed_at IS NOT NULL AND n.removed_at IS NULL THEN 'create'
                          ELSE 'update' END AS operation
              FROM old_rows o JOIN new_rows n USING (id)
              WHERE o.version <> n.version ORDER BY id) AS documents
        RETURNING jurisdiction)
    SELECT array_agg(DISTINCT jurisdiction) INTO written FROM logged;
    IF written IS NOT NULL THEN PERFORM registry_touch(written); END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION registry_log_state_insert() RETURNS trigger LANGUAGE plpgsql AS $$
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
END $$;

CREATE FUNCTION registry_log_state_update() RETURNS trigger LANGUAGE plpgsql
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
END $$;
"""

DROPPED = (
    "registry_log_state_update()",
    "registry_log_state_insert()",
    "registry_log_update()",
    "registry_log_insert()",
    "registry_count_revision()",
    "registry_touch(text[])",
    "registry_document(jsonb)",
    "registry_context(text)",
    "registry_actor()",
    "registry_keep_placed_version()",
    "registry_keep_version()",
    "registry_refuse()",
)


def _split(script: str) -> list[str]:
    """Return single statements: the driver prepares one at a time."""
    return [f"CREATE FUNCTION{part}" for part in script.split("CREATE FUNCTION")[1:]]


def _log_triggers(table: str, kind: str, insert: str, update: str) -> None:
    op.execute(
        f"CREATE TRIGGER log_insert AFTER INSERT ON {table} REFERENCING NEW TABLE AS new_rows "
        f"FOR EACH STATEMENT EXECUTE FUNCTION {insert}('{kind}')"
    )
    op.execute(
        f"CREATE TRIGGER log_update AFTER UPDATE ON {table} "
        "REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows "
        f"FOR EACH STATEMENT EXECUTE FUNCTION {update}('{kind}')"
    )


def _refuse(table: str, operations: str, reason: str) -> None:
    op.execute(
        f"CREATE TRIGGER refuse BEFORE {operations} ON {table} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION registry_refuse('{reason}')"
    )


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '10s'")
    for statement in _split(FUNCTIONS):
        op.execute(statement)
    for table in RECORDS:
        keep = "registry_keep_placed_version" if table in PLACED else "registry_keep_version"
        op.execute(
            f"CREATE TRIGGER keep_version BEFORE UPDATE ON {table} "
            f"FOR EACH ROW EXECUTE FUNCTION {keep}()"
        )
        _log_triggers(table, table, "registry_log_insert", "registry_log_update")
        _refuse(table, "DELETE OR TRUNCATE", "records are removed by setting removed_at")
    _log_triggers("device_state", "state", "registry_log_state_insert", "registry_log_state_update")
    _refuse("change", "UPDATE OR DELETE OR TRUNCATE", "the history is append-only")
    op.execute(
        "CREATE CONSTRAINT TRIGGER count_revision AFTER INSERT ON touched "
        "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION registry_count_revision()"
    )


def downgrade() -> None:
    op.execute("DROP TRIGGER count_revision ON touched")
    op.execute("DROP TRIGGER refuse ON change")
    for table in (*RECORDS, "device_state"):
        op.execute(f"DROP TRIGGER log_insert ON {table}")
        op.execute(f"DROP TRIGGER log_update ON {table}")
    for table in RECORDS:
        op.execute(f"DROP TRIGGER keep_version ON {table}")
        op.execute(f"DROP TRIGGER refuse ON {table}")
    for function in DROPPED:
        op.execute(f"DROP FUNCTION {function}")

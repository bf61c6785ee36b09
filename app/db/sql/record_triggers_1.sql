-- Functions and triggers of one table of records: the template (Jinja) of `op.create_record_triggers`.
-- Migrations that databases have already run use this file, so it never changes: for other SQL, copy it to
-- record_triggers_2.sql (docs/adr/0018-one-baseline.md). A blank line ends a statement.

{% macro member(column, first) %}
{% set key = ("{" if first else ",") ~ '"' ~ column.name ~ '":' %}
{% if column.type in ("integer", "boolean", "jsonb") %}
coalesce('{{ key }}' || NEW."{{ column.name }}"::text, '{{ key }}null')
{%- elif column.type == "timestamp with time zone" %}
'{{ key }}' || left(to_json(NEW."{{ column.name }}" AT TIME ZONE 'UTC')::text, -1) || '+00:00"'
{%- else %}
coalesce('{{ key }}' || to_json(NEW."{{ column.name }}")::text, '{{ key }}null')
{%- endif %}
{% endmacro %}
{% macro member_without_escapes(column, first) %}
{% set key = ("{" if first else ",") ~ '"' ~ column.name ~ '":' %}
{% if column.type == "text" %}
coalesce('{{ key }}"' || NEW."{{ column.name }}" || '"', '{{ key }}null')
{%- else %}
{{ member(column, first) }}
{%- endif %}
{% endmacro %}
{% macro stored(row) %}
{{ row }}.document
{% for name in restricted %}
                   || coalesce(',"{{ name }}":' || to_json({{ row }}."{{ name }}")::text, '')
{% endfor %}
                   || ',"geometry":' || ST_AsGeoJSON({{ row }}.geometry, 9) || '}'
{%- endmacro %}

{% if document %}
-- PostgreSQL would decompress a compressed document at every read.
ALTER TABLE {{ table }} SET (toast_tuple_target = 8160);

-- Writes the column `document`: the JSON of the record without the closing brace, because a read appends the state,
-- the restricted columns and the geometry (ADR 8). One expression, which PL/pgSQL evaluates without a query (ADR 9).
-- JSON escapes few characters, and few texts contain one: one look at all texts decides between the expressions
-- (ADR 12). Dates, numbers and times do not depend on the settings of the session.
CREATE OR REPLACE FUNCTION registry_write_{{ table }}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF concat(
        {% for column in document if column.type == "text" %}
        NEW."{{ column.name }}"{{ "," if not loop.last }}
        {% endfor %}
    ) COLLATE "C" ~ '["\\[:cntrl:]]' THEN
        NEW.document := concat(
            {% for column in document %}
            {{ member(column, loop.first) }}{{ "," if not loop.last }}
            {% endfor %}
        );
    ELSE
        NEW.document := concat(
            {% for column in document %}
            {{ member_without_escapes(column, loop.first) }}{{ "," if not loop.last }}
            {% endfor %}
        );
    END IF;
    RETURN NEW;
END $$;

-- Writes the history of inserted records: the whole record as text; the view `change` parses it (ADR 9).
CREATE OR REPLACE FUNCTION registry_log_insert_{{ table }}() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    current_transaction bigint := pg_current_xact_id()::text::bigint;
    current_actor text := registry_actor();
    current_request text := registry_context('request_id');
    current_reason text := registry_context('reason');
    changed_jurisdictions text[];
BEGIN
    INSERT INTO change_log (transaction, actor, request_id, reason, jurisdiction, kind, code,
                            operation, version, after)
    SELECT current_transaction, current_actor, current_request, current_reason, n.jurisdiction, '{{ table }}', n.code,
           'create', n.version,
           {{ stored("n") }}
    FROM new_rows n;
    SELECT array_agg(jurisdiction) INTO changed_jurisdictions
    FROM (SELECT DISTINCT jurisdiction FROM new_rows) AS distinct_jurisdictions;
    IF changed_jurisdictions IS NOT NULL THEN PERFORM registry_touch(changed_jurisdictions); END IF;
    RETURN NULL;
END $$;

-- Writes the history of updated records: only of those with a new version.
-- No nested loop: a session keeps the plan, and one that was made for a single row took 50 seconds for 10,000.
CREATE OR REPLACE FUNCTION registry_log_update_{{ table }}() RETURNS trigger LANGUAGE plpgsql
SET enable_nestloop = off AS $$
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
        SELECT current_transaction, current_actor, current_request, current_reason, n.jurisdiction, '{{ table }}', n.code,
               CASE WHEN o.removed_at IS NULL AND n.removed_at IS NOT NULL THEN 'remove'
                    WHEN o.removed_at IS NOT NULL AND n.removed_at IS NULL THEN 'create'
                    ELSE 'update' END,
               n.version,
               CASE WHEN o.removed_at IS NULL THEN
                   {{ stored("o") }} END,
               CASE WHEN n.removed_at IS NULL THEN
                   {{ stored("n") }} END
        FROM old_rows o JOIN new_rows n USING (id)
        WHERE o.version <> n.version ORDER BY id
        RETURNING jurisdiction)
    SELECT array_agg(DISTINCT jurisdiction) INTO changed_jurisdictions FROM logged;
    IF changed_jurisdictions IS NOT NULL THEN PERFORM registry_touch(changed_jurisdictions); END IF;
    RETURN NULL;
END $$;

-- Triggers fire in the order of their names: after `keep_version`, whose version is part of the document.
DROP TRIGGER IF EXISTS write_document ON {{ table }};

CREATE TRIGGER write_document BEFORE INSERT OR UPDATE ON {{ table }}
    FOR EACH ROW EXECUTE FUNCTION registry_write_{{ table }}();
{% endif %}

DROP TRIGGER IF EXISTS keep_version ON {{ table }};

CREATE TRIGGER keep_version BEFORE UPDATE ON {{ table }}
    FOR EACH ROW EXECUTE FUNCTION {{ "registry_keep_placed_version" if located else "registry_keep_version" }}();

DROP TRIGGER IF EXISTS log_insert ON {{ table }};

CREATE TRIGGER log_insert AFTER INSERT ON {{ table }}
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION {{ "registry_log_insert_%s()" % table if document else "registry_log_insert('%s')" % table }};

DROP TRIGGER IF EXISTS log_update ON {{ table }};

CREATE TRIGGER log_update AFTER UPDATE ON {{ table }}
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION {{ "registry_log_update_%s()" % table if document else "registry_log_update('%s')" % table }};

DROP TRIGGER IF EXISTS refuse ON {{ table }};

CREATE TRIGGER refuse BEFORE DELETE OR TRUNCATE ON {{ table }}
    FOR EACH STATEMENT EXECUTE FUNCTION registry_refuse('records are removed by setting removed_at');

{% if rewrite_documents %}
ALTER TABLE {{ table }} DISABLE TRIGGER keep_version;

-- `write_document` writes the new document. No version changes, so nothing is added to the history.
UPDATE {{ table }} SET document = '';

ALTER TABLE {{ table }} ENABLE TRIGGER keep_version;
{% endif %}

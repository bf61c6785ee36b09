-- The tables of the baseline, with their indexes; then the view `change` and the triggers of single tables.
-- A blank line ends a statement.

-- The areas that the registry is responsible for.
CREATE TABLE jurisdiction (
    id bigint GENERATED ALWAYS AS IDENTITY,
    version integer NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    removed_at timestamptz,
    code text COLLATE "C" NOT NULL,
    name_zh text,
    name_en text,
    plan jsonb NOT NULL,
    requirements jsonb NOT NULL,
    coverage_parameters jsonb NOT NULL,
    metric_epsg integer,
    extent jsonb,
    stale_after_s integer NOT NULL,
    synthetic boolean NOT NULL,
    CONSTRAINT pk_jurisdiction PRIMARY KEY (id),
    CONSTRAINT uq_jurisdiction_code UNIQUE (code),
    CONSTRAINT ck_jurisdiction_code CHECK (code ~ '^[0-9]{6}$'),
    CONSTRAINT ck_jurisdiction_stale_after_s CHECK (stale_after_s > 0)
);

-- The current boundary of each level. Earlier boundaries are in the history.
CREATE TABLE ring (
    id bigint GENERATED ALWAYS AS IDENTITY,
    version integer NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    removed_at timestamptz,
    jurisdiction text COLLATE "C" NOT NULL,
    level text NOT NULL,
    name_zh text,
    name_en text,
    tolerance_m double precision NOT NULL,
    source text,
    datum_received text NOT NULL,
    valid_from date,
    code text COLLATE "C" NOT NULL,
    geometry geometry(MultiPolygon,4326) NOT NULL,
    CONSTRAINT pk_ring PRIMARY KEY (id),
    CONSTRAINT uq_ring_code UNIQUE (code),
    CONSTRAINT fk_ring_jurisdiction FOREIGN KEY (jurisdiction) REFERENCES jurisdiction (code),
    CONSTRAINT ck_ring_code CHECK (code = jurisdiction || '/' || level),
    CONSTRAINT ck_ring_geometry CHECK (NOT ST_IsEmpty(geometry) AND ST_IsValid(geometry)),
    CONSTRAINT ck_ring_level CHECK (level IN ('core', 'urban', 'city')),
    CONSTRAINT ck_ring_tolerance_m CHECK (tolerance_m >= 0)
);

-- Records with a document. The check of the code has no bounded repeat: `{1,64}` made every row ten times as slow.
-- `registry_touch` checks that the jurisdiction exists, once per statement, so these tables have no foreign key to it.
CREATE TABLE control_point (
    id bigint GENERATED ALWAYS AS IDENTITY,
    version integer NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    removed_at timestamptz,
    zone text,
    rings text[],
    on_boundary text[],
    distance_m jsonb,
    code text COLLATE "C" NOT NULL,
    jurisdiction text COLLATE "C" NOT NULL,
    name_zh text,
    name_en text,
    address text,
    division_code text COLLATE "C",
    notes text,
    category text NOT NULL,
    road_name text,
    inbound_bearing_deg double precision,
    requirements jsonb,
    geometry geometry(Geometry,4326) NOT NULL,
    document text NOT NULL,
    owner_unit text,
    owner_reference text,
    CONSTRAINT pk_control_point PRIMARY KEY (id),
    CONSTRAINT uq_control_point_code UNIQUE (code),
    CONSTRAINT uq_control_point_jurisdiction_code UNIQUE (jurisdiction, code),
    CONSTRAINT ck_control_point_category CHECK (
        category IN ('city_road', 'urban_road', 'core_road', 'core_junction', 'core_site')
    ),
    CONSTRAINT ck_control_point_code CHECK (code !~ '[^A-Za-z0-9._:-]' AND length(code) BETWEEN 1 AND 64),
    CONSTRAINT ck_control_point_geometry CHECK (NOT ST_IsEmpty(geometry) AND ST_IsValid(geometry)),
    CONSTRAINT ck_control_point_owner_reference CHECK (owner_reference IS NULL OR owner_unit IS NOT NULL)
);

CREATE INDEX ix_control_point_geometry ON control_point USING gist (geometry);

CREATE INDEX ix_control_point_updated ON control_point (jurisdiction, updated_at);

CREATE INDEX ix_control_point_zone ON control_point (jurisdiction, zone, code);

CREATE UNIQUE INDEX uq_control_point_owner_reference
    ON control_point (jurisdiction, owner_unit, owner_reference)
    WHERE owner_reference IS NOT NULL AND removed_at IS NULL;

CREATE TABLE road (
    id bigint GENERATED ALWAYS AS IDENTITY,
    version integer NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    removed_at timestamptz,
    code text COLLATE "C" NOT NULL,
    jurisdiction text COLLATE "C" NOT NULL,
    name_zh text,
    name_en text,
    address text,
    division_code text COLLATE "C",
    notes text,
    road_class text NOT NULL,
    road_number text,
    "group" text COLLATE "C",
    oneway text NOT NULL,
    layer integer NOT NULL,
    bridge boolean NOT NULL,
    tunnel boolean NOT NULL,
    geometry geometry(LineString,4326) NOT NULL,
    document text NOT NULL,
    CONSTRAINT pk_road PRIMARY KEY (id),
    CONSTRAINT uq_road_code UNIQUE (code),
    CONSTRAINT uq_road_jurisdiction_code UNIQUE (jurisdiction, code),
    CONSTRAINT ck_road_code CHECK (code !~ '[^A-Za-z0-9._:-]' AND length(code) BETWEEN 1 AND 64),
    CONSTRAINT ck_road_geometry CHECK (NOT ST_IsEmpty(geometry) AND ST_IsValid(geometry))
);

CREATE INDEX ix_road_geometry ON road USING gist (geometry);

CREATE INDEX ix_road_updated ON road (jurisdiction, updated_at);

CREATE TABLE building (
    id bigint GENERATED ALWAYS AS IDENTITY,
    version integer NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    removed_at timestamptz,
    document text NOT NULL,
    code text COLLATE "C" NOT NULL,
    jurisdiction text COLLATE "C" NOT NULL,
    name_zh text,
    name_en text,
    address text,
    division_code text COLLATE "C",
    notes text,
    height_m double precision,
    levels integer,
    geometry geometry(Geometry,4326) NOT NULL,
    CONSTRAINT pk_building PRIMARY KEY (id),
    CONSTRAINT uq_building_code UNIQUE (code),
    CONSTRAINT uq_building_jurisdiction_code UNIQUE (jurisdiction, code),
    CONSTRAINT ck_building_area CHECK (ST_Dimension(geometry) = 2),
    CONSTRAINT ck_building_code CHECK (code !~ '[^A-Za-z0-9._:-]' AND length(code) BETWEEN 1 AND 64),
    CONSTRAINT ck_building_geometry CHECK (NOT ST_IsEmpty(geometry) AND ST_IsValid(geometry)),
    CONSTRAINT ck_building_height_m CHECK (height_m > 0 AND height_m < 'Infinity')
);

CREATE INDEX ix_building_geometry ON building USING gist (geometry);

CREATE INDEX ix_building_updated ON building (jurisdiction, updated_at);

CREATE TABLE checkpoint (
    id bigint GENERATED ALWAYS AS IDENTITY,
    version integer NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    removed_at timestamptz,
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
    control_point text COLLATE "C",
    failure_group text,
    manufacturer text,
    model text,
    installed_on date,
    in_use_on date,
    removed_on date,
    network_address text,
    code text COLLATE "C" NOT NULL,
    jurisdiction text COLLATE "C" NOT NULL,
    name_zh text,
    name_en text,
    address text,
    division_code text COLLATE "C",
    notes text,
    kind text NOT NULL,
    tollgate_category text,
    tollgate_usage text,
    capture_side text,
    road text COLLATE "C",
    lanes jsonb NOT NULL,
    geometry geometry(Point,4326) NOT NULL,
    document text NOT NULL,
    owner_reference text,
    CONSTRAINT pk_checkpoint PRIMARY KEY (id),
    CONSTRAINT uq_checkpoint_code UNIQUE (code),
    CONSTRAINT uq_checkpoint_jurisdiction_code UNIQUE (jurisdiction, code),
    CONSTRAINT fk_checkpoint_control_point FOREIGN KEY (jurisdiction, control_point) REFERENCES control_point (jurisdiction, code),
    CONSTRAINT fk_checkpoint_road FOREIGN KEY (jurisdiction, road) REFERENCES road (jurisdiction, code),
    CONSTRAINT ck_checkpoint_code CHECK (code !~ '[^A-Za-z0-9._:-]' AND length(code) BETWEEN 1 AND 64),
    CONSTRAINT ck_checkpoint_geometry CHECK (NOT ST_IsEmpty(geometry) AND ST_IsValid(geometry)),
    CONSTRAINT ck_checkpoint_kind CHECK (kind IN ('face', 'vehicle')),
    CONSTRAINT ck_checkpoint_lanes CHECK (jsonb_typeof(lanes) = 'array'),
    CONSTRAINT ck_checkpoint_lifecycle CHECK (lifecycle IN ('planned', 'in_use', 'repair', 'removed')),
    CONSTRAINT ck_checkpoint_owner_reference CHECK (owner_reference IS NULL OR owner_unit IS NOT NULL),
    CONSTRAINT ck_checkpoint_retention_days CHECK (retention_days >= 30)
);

CREATE INDEX ix_checkpoint_control_point ON checkpoint (control_point) WHERE control_point IS NOT NULL;

CREATE INDEX ix_checkpoint_geometry ON checkpoint USING gist (geometry);

CREATE INDEX ix_checkpoint_updated ON checkpoint (jurisdiction, updated_at);

CREATE INDEX ix_checkpoint_zone ON checkpoint (jurisdiction, zone, code);

CREATE UNIQUE INDEX uq_checkpoint_owner_reference
    ON checkpoint (jurisdiction, owner_unit, owner_reference)
    WHERE owner_reference IS NOT NULL AND removed_at IS NULL;

CREATE TABLE camera (
    id bigint GENERATED ALWAYS AS IDENTITY,
    version integer NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    removed_at timestamptz,
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
    control_point text COLLATE "C",
    failure_group text,
    manufacturer text,
    model text,
    installed_on date,
    in_use_on date,
    removed_on date,
    network_address text,
    code text COLLATE "C" NOT NULL,
    jurisdiction text COLLATE "C" NOT NULL,
    name_zh text,
    name_en text,
    address text,
    division_code text COLLATE "C",
    notes text,
    functions text[] NOT NULL,
    structure text,
    checkpoint text COLLATE "C",
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
    geometry geometry(Point,4326) NOT NULL,
    document text NOT NULL,
    reach_m double precision,
    view_polygon jsonb,
    required_level text,
    level_scale text,
    owner_reference text,
    CONSTRAINT pk_camera PRIMARY KEY (id),
    CONSTRAINT uq_camera_code UNIQUE (code),
    CONSTRAINT uq_camera_jurisdiction_code UNIQUE (jurisdiction, code),
    CONSTRAINT fk_camera_checkpoint FOREIGN KEY (jurisdiction, checkpoint) REFERENCES checkpoint (jurisdiction, code),
    CONSTRAINT fk_camera_control_point FOREIGN KEY (jurisdiction, control_point) REFERENCES control_point (jurisdiction, code),
    CONSTRAINT ck_camera_azimuth_deg CHECK (azimuth_deg >= 0 AND azimuth_deg < 360),
    CONSTRAINT ck_camera_code CHECK (code !~ '[^A-Za-z0-9._:-]' AND length(code) BETWEEN 1 AND 64),
    CONSTRAINT ck_camera_functions CHECK (
        cardinality(functions) > 0
        AND functions <@ ARRAY['face', 'vehicle', 'structured', 'overview', 'electronic']
    ),
    CONSTRAINT ck_camera_geometry CHECK (NOT ST_IsEmpty(geometry) AND ST_IsValid(geometry)),
    CONSTRAINT ck_camera_lifecycle CHECK (lifecycle IN ('planned', 'in_use', 'repair', 'removed')),
    CONSTRAINT ck_camera_opening_deg CHECK (opening_deg > 0 AND opening_deg <= 360),
    CONSTRAINT ck_camera_owner_reference CHECK (owner_reference IS NULL OR owner_unit IS NOT NULL),
    CONSTRAINT ck_camera_range_m CHECK (range_m > 0 AND range_m < 'Infinity'),
    CONSTRAINT ck_camera_reach_m CHECK (reach_m > 0 AND reach_m < 'Infinity'),
    CONSTRAINT ck_camera_retention_days CHECK (retention_days >= 30),
    CONSTRAINT ck_camera_view_polygon CHECK (jsonb_typeof(view_polygon) = 'object')
);

CREATE INDEX ix_camera_checkpoint ON camera (checkpoint) WHERE checkpoint IS NOT NULL;

CREATE INDEX ix_camera_control_point ON camera (control_point) WHERE control_point IS NOT NULL;

CREATE INDEX ix_camera_geometry ON camera USING gist (geometry);

CREATE INDEX ix_camera_updated ON camera (jurisdiction, updated_at);

CREATE INDEX ix_camera_zone ON camera (jurisdiction, zone, code);

CREATE UNIQUE INDEX uq_camera_owner_reference
    ON camera (jurisdiction, owner_unit, owner_reference)
    WHERE owner_reference IS NOT NULL AND removed_at IS NULL;

-- The last reported state of each device. Many small updates: half of each page stays free.
CREATE TABLE device_state (
    kind text NOT NULL,
    code text COLLATE "C" NOT NULL,
    jurisdiction text COLLATE "C" NOT NULL,
    state text NOT NULL,
    reported_at timestamptz NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_device_state PRIMARY KEY (kind, code),
    CONSTRAINT fk_device_state_jurisdiction FOREIGN KEY (jurisdiction) REFERENCES jurisdiction (code),
    CONSTRAINT ck_device_state_kind CHECK (kind IN ('camera', 'checkpoint')),
    CONSTRAINT ck_device_state_state CHECK (state IN ('online', 'offline', 'fault', 'unknown'))
) WITH (fillfactor = 50);

-- Decisions: crossings that need no guard, and stored overlays.
CREATE TABLE waiver (
    id bigint GENERATED ALWAYS AS IDENTITY,
    version integer NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    removed_at timestamptz,
    code text COLLATE "C" NOT NULL,
    jurisdiction text COLLATE "C" NOT NULL,
    crossing text COLLATE "C" NOT NULL,
    level text NOT NULL,
    road text NOT NULL,
    reason text NOT NULL,
    expires_at timestamptz NOT NULL,
    waived_by text NOT NULL,
    geometry geometry(Point,4326) NOT NULL,
    CONSTRAINT pk_waiver PRIMARY KEY (id),
    CONSTRAINT uq_waiver_code UNIQUE (code),
    CONSTRAINT fk_waiver_jurisdiction FOREIGN KEY (jurisdiction) REFERENCES jurisdiction (code),
    CONSTRAINT ck_waiver_code CHECK (code = jurisdiction || '/' || crossing),
    CONSTRAINT ck_waiver_level CHECK (level IN ('core', 'urban', 'city')),
    CONSTRAINT ck_waiver_reason CHECK (length(reason) > 0)
);

CREATE INDEX ix_waiver_jurisdiction ON waiver (jurisdiction);

CREATE TABLE scenario (
    id bigint GENERATED ALWAYS AS IDENTITY,
    version integer NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    removed_at timestamptz,
    code text COLLATE "C" NOT NULL,
    jurisdiction text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    title text,
    author text NOT NULL,
    changes jsonb NOT NULL,
    CONSTRAINT pk_scenario PRIMARY KEY (id),
    CONSTRAINT uq_scenario_code UNIQUE (code),
    CONSTRAINT fk_scenario_jurisdiction FOREIGN KEY (jurisdiction) REFERENCES jurisdiction (code),
    CONSTRAINT ck_scenario_changes CHECK (jsonb_typeof(changes) = 'array'),
    CONSTRAINT ck_scenario_code CHECK (code = jurisdiction || '/' || name)
);

CREATE INDEX ix_scenario_jurisdiction ON scenario (jurisdiction, name);

-- The history, append-only. `before` and `after` hold the JSON text as it was stored; the view `change` parses it.
-- Rows arrive almost in the order of their transactions, so a block range index is enough for `transaction`.
CREATE TABLE change_log (
    seq bigint GENERATED ALWAYS AS IDENTITY (SEQUENCE NAME change_seq_seq),
    transaction bigint NOT NULL DEFAULT pg_current_xact_id()::text::bigint,
    at timestamptz NOT NULL DEFAULT now(),
    actor text NOT NULL,
    request_id text,
    reason text,
    jurisdiction text COLLATE "C" NOT NULL,
    kind text NOT NULL,
    code text COLLATE "C" NOT NULL,
    operation text NOT NULL,
    version integer,
    before text,
    after text,
    CONSTRAINT pk_change_log PRIMARY KEY (seq)
);

CREATE INDEX ix_change_log_jurisdiction ON change_log (jurisdiction, seq);

CREATE INDEX ix_change_log_record ON change_log (kind, code, seq);

CREATE INDEX ix_change_log_transaction ON change_log USING brin (transaction);

-- The jurisdictions that the running transaction has changed. Empty after the commit.
CREATE TABLE touched (
    transaction bigint NOT NULL,
    jurisdiction text COLLATE "C" NOT NULL,
    CONSTRAINT pk_touched PRIMARY KEY (transaction, jurisdiction)
);

-- The number of committed changes of each jurisdiction.
CREATE TABLE revision (
    jurisdiction text COLLATE "C" NOT NULL,
    revision bigint NOT NULL DEFAULT '0',
    CONSTRAINT pk_revision PRIMARY KEY (jurisdiction),
    CONSTRAINT fk_revision_jurisdiction FOREIGN KEY (jurisdiction) REFERENCES jurisdiction (code)
) WITH (fillfactor = 10);

-- API keys: the secret is stored as a keyed hash.
CREATE TABLE api_key (
    id text COLLATE "C" NOT NULL,
    hash text NOT NULL,
    label text NOT NULL,
    role text NOT NULL,
    jurisdictions text[],
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz,
    CONSTRAINT pk_api_key PRIMARY KEY (id),
    CONSTRAINT ck_api_key_role CHECK (
        role IN ('public', 'reader', 'analyst', 'editor', 'admin')
    )
);

-- Results that a worker has computed, for all workers. They may be deleted at any time.
CREATE TABLE analysis_answer (
    jurisdiction text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    revision bigint NOT NULL,
    holds_until timestamptz,
    made_by text NOT NULL,
    made_at timestamptz NOT NULL DEFAULT now(),
    body bytea NOT NULL,
    CONSTRAINT pk_analysis_answer PRIMARY KEY (jurisdiction, name),
    CONSTRAINT fk_analysis_answer_jurisdiction FOREIGN KEY (jurisdiction) REFERENCES jurisdiction (code)
);

-- The bytes are compressed already.
ALTER TABLE analysis_answer ALTER body SET STORAGE EXTERNAL;

-- Import jobs, the result of each row, and the profiles of file sources.
CREATE TABLE import_job (
    id text COLLATE "C" NOT NULL,
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
    created_at timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz,
    finished_at timestamptz,
    CONSTRAINT pk_import_job PRIMARY KEY (id),
    CONSTRAINT ck_import_job_state CHECK (
        state IN ('received', 'parsing', 'validating', 'applying', 'done', 'failed', 'cancelled')
    )
);

CREATE INDEX ix_import_job_created ON import_job (created_at, id);

CREATE TABLE import_page (
    job text COLLATE "C" NOT NULL,
    page integer NOT NULL,
    rows bigint NOT NULL,
    has text[] NOT NULL,
    results bytea NOT NULL,
    cells bytea,
    CONSTRAINT pk_import_page PRIMARY KEY (job, page),
    CONSTRAINT fk_import_page_job FOREIGN KEY (job) REFERENCES import_job (id) ON DELETE CASCADE
);

-- The bytes are compressed already.
ALTER TABLE import_page ALTER results SET STORAGE EXTERNAL, ALTER cells SET STORAGE EXTERNAL;

CREATE TABLE import_profile (
    name text COLLATE "C" NOT NULL,
    body jsonb NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    updated_by text NOT NULL,
    CONSTRAINT pk_import_profile PRIMARY KEY (name)
);

CREATE VIEW change AS
SELECT seq, transaction, at, actor, request_id, reason, jurisdiction, kind, code, operation, version,
       registry_told(before) AS before, registry_told(after) AS after
FROM change_log;

CREATE TRIGGER log INSTEAD OF INSERT ON change
    FOR EACH ROW EXECUTE FUNCTION registry_log_by_view();

CREATE TRIGGER hold_number BEFORE INSERT ON change_log
    FOR EACH STATEMENT EXECUTE FUNCTION registry_hold_number();

CREATE TRIGGER refuse BEFORE UPDATE OR DELETE OR TRUNCATE ON change_log
    FOR EACH STATEMENT EXECUTE FUNCTION registry_refuse('the history is append-only');

CREATE CONSTRAINT TRIGGER count_revision AFTER INSERT ON touched
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION registry_count_revision();

CREATE TRIGGER hold_report BEFORE INSERT OR UPDATE ON device_state
    FOR EACH STATEMENT EXECUTE FUNCTION registry_hold_report();

CREATE TRIGGER log_insert AFTER INSERT ON device_state
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION registry_log_state_insert('state');

CREATE TRIGGER log_update AFTER UPDATE ON device_state
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION registry_log_state_update('state');

-- Triggers fire in the order of their names: this one after `keep_version`, which also sets `updated_at`.
CREATE TRIGGER keep_version_of_patience BEFORE UPDATE ON jurisdiction
    FOR EACH ROW WHEN (OLD.stale_after_s IS DISTINCT FROM NEW.stale_after_s)
    EXECUTE FUNCTION registry_begin_patience();

-- After `log_update`: the history has the new limit first, then the devices that it changes.
CREATE TRIGGER log_update_of_patience AFTER UPDATE ON jurisdiction
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION registry_log_patience();

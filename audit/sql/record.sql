-- The record: append-only, in monthly partitions.
-- Two guards stand behind each other: the application's role is granted INSERT and SELECT only (audit/grants.py), and
-- triggers refuse UPDATE, DELETE and TRUNCATE for every role, the owner included.

CREATE TABLE audit_event (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    event varchar(64) NOT NULL,
    call_id uuid,
    organization_id uuid,
    organization_name text NOT NULL DEFAULT '',
    department_id uuid,
    department_name text NOT NULL DEFAULT '',
    actor_id uuid,
    actor_name text NOT NULL DEFAULT '',
    client_address text NOT NULL DEFAULT '',
    subject_kind text NOT NULL DEFAULT '',
    subject_id text NOT NULL DEFAULT '',
    purpose text NOT NULL DEFAULT '',
    model_asked text NOT NULL DEFAULT '',
    model_answered text NOT NULL DEFAULT '',
    query_hash text NOT NULL DEFAULT '',
    passages jsonb NOT NULL DEFAULT '[]',
    tokens_input bigint,
    tokens_cached bigint,
    tokens_output bigint,
    tokens_reasoning bigint,
    tokens_estimated boolean NOT NULL DEFAULT false,
    cost numeric(18, 8),
    outcome varchar(32) NOT NULL DEFAULT '',
    first_token_ms integer,
    total_ms integer,
    provider_request_id text NOT NULL DEFAULT '',
    key_fingerprint text NOT NULL DEFAULT '',
    key_version text NOT NULL DEFAULT '',
    labels jsonb NOT NULL DEFAULT '[]',
    details jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (id, at)
) PARTITION BY RANGE (at);

CREATE INDEX audit_event_by_organization ON audit_event (organization_id, at DESC);
CREATE INDEX audit_event_by_department ON audit_event (department_id, at DESC);
CREATE INDEX audit_event_by_actor ON audit_event (actor_id, at DESC);
CREATE INDEX audit_event_by_call ON audit_event (call_id);
CREATE INDEX audit_event_by_event ON audit_event (event, at DESC);

CREATE TABLE audit_text (
    event_id uuid PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    salt bytea NOT NULL,
    text text NOT NULL
);

CREATE FUNCTION audit_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the record is append-only: % on % is refused', TG_OP, TG_TABLE_NAME USING ERRCODE = '42501';
END $$;

CREATE TRIGGER audit_event_rows BEFORE UPDATE OR DELETE ON audit_event
    FOR EACH ROW EXECUTE FUNCTION audit_refuse_change();
CREATE TRIGGER audit_event_truncate BEFORE TRUNCATE ON audit_event
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change();

-- Makes the partition of the month that holds `day`, if it is not there. Statement triggers are not inherited by
-- partitions, so each gets its own against TRUNCATE. Making one locks the whole record for a moment, and behind a long
-- export that moment would not come while every call waits in the queue: so it gives up soon and is tried again.
CREATE FUNCTION audit_make_partition(day date) RETURNS text LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = public, pg_temp SET lock_timeout = '2s' AS $$
DECLARE
    first_day date := date_trunc('month', day)::date;
    name text := 'audit_event_' || to_char(first_day, 'YYYY_MM');
BEGIN
    IF to_regclass('public.' || name) IS NOT NULL THEN
        RETURN name;
    END IF;
    EXECUTE format(
        'CREATE TABLE %I PARTITION OF audit_event FOR VALUES FROM (%L) TO (%L)',
        name,
        first_day::timestamp AT TIME ZONE 'UTC',
        (first_day + interval '1 month')::timestamp AT TIME ZONE 'UTC'
    );
    EXECUTE format(
        'CREATE TRIGGER audit_partition_truncate BEFORE TRUNCATE ON %I
         FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change()', name);
    RETURN name;
EXCEPTION WHEN duplicate_table OR unique_violation THEN
    RETURN name; -- another worker was faster
END $$;

-- A month that nobody made ahead must not stop the product: such rows land here until it is made (audit/sql/months.sql).
CREATE TABLE audit_event_default PARTITION OF audit_event DEFAULT;
CREATE TRIGGER audit_partition_truncate BEFORE TRUNCATE ON audit_event_default
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change();

DO $$
BEGIN
    FOR months IN 0..3 LOOP
        PERFORM audit_make_partition((now() AT TIME ZONE 'UTC' + make_interval(months => months))::date);
    END LOOP;
END $$;

-- The seals over the record. Only the sealer's role may write here (audit/grants.py), nobody may change a row (triggers),
-- and whoever gets past both is found by `manage.py verify_audit` and the anchors outside.

-- The database's clock as sealing and retention read it. A test moves time by replacing this function.
CREATE FUNCTION audit_now() RETURNS timestamptz LANGUAGE sql VOLATILE AS 'SELECT clock_timestamp()';

CREATE TABLE audit_seal (
    n bigint PRIMARY KEY,
    at timestamptz NOT NULL,
    first_seq bigint NOT NULL,
    last_seq bigint NOT NULL,
    late integer NOT NULL DEFAULT 0,
    root bytea NOT NULL,
    previous bytea NOT NULL,
    public_key bytea NOT NULL,
    signature bytea NOT NULL,
    CONSTRAINT audit_seal_lengths CHECK (
        octet_length(root) = 32 AND octet_length(previous) = 32
        AND octet_length(public_key) = 32 AND octet_length(signature) = 64
    ),
    CONSTRAINT audit_seal_range CHECK (n > 0 AND first_seq > 0 AND last_seq >= first_seq - 1 AND late >= 0)
);

-- Beside its event: `at` is the event's, so that leaf and event live in partitions of the same month.
CREATE TABLE audit_leaf (
    seq bigint NOT NULL,
    seal bigint NOT NULL,
    event_id uuid NOT NULL,
    at timestamptz NOT NULL,
    hash bytea NOT NULL,
    PRIMARY KEY (event_id, at),
    CONSTRAINT audit_leaf_length CHECK (octet_length(hash) = 32)
) PARTITION BY RANGE (at);
CREATE INDEX audit_leaf_by_seq ON audit_leaf (seq);

-- A key's word for the key after it; kept for ever, as the seals are. Trust comes from the signature, not from this table.
CREATE TABLE audit_seal_key (
    new bytea PRIMARY KEY,
    old bytea NOT NULL,
    signature bytea NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE audit_anchor_state (
    anchor text PRIMARY KEY,
    seal bigint NOT NULL DEFAULT 0,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    problem text NOT NULL DEFAULT ''
);

CREATE TRIGGER audit_seal_rows BEFORE UPDATE OR DELETE ON audit_seal
    FOR EACH ROW EXECUTE FUNCTION audit_refuse_change();
CREATE TRIGGER audit_seal_truncate BEFORE TRUNCATE ON audit_seal
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change();
CREATE TRIGGER audit_seal_key_rows BEFORE UPDATE OR DELETE ON audit_seal_key
    FOR EACH ROW EXECUTE FUNCTION audit_refuse_change();
CREATE TRIGGER audit_seal_key_truncate BEFORE TRUNCATE ON audit_seal_key
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change();
CREATE TRIGGER audit_leaf_rows BEFORE UPDATE OR DELETE ON audit_leaf
    FOR EACH ROW EXECUTE FUNCTION audit_refuse_change();
CREATE TRIGGER audit_leaf_truncate BEFORE TRUNCATE ON audit_leaf
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change();

CREATE FUNCTION audit_make_leaf_partition(day date) RETURNS text LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = public, pg_temp AS $$
DECLARE
    first_day date := date_trunc('month', day)::date;
    name text := 'audit_leaf_' || to_char(first_day, 'YYYY_MM');
BEGIN
    IF to_regclass('public.' || name) IS NOT NULL THEN
        RETURN name;
    END IF;
    EXECUTE format(
        'CREATE TABLE %I PARTITION OF audit_leaf FOR VALUES FROM (%L) TO (%L)',
        name,
        first_day::timestamp AT TIME ZONE 'UTC',
        (first_day + interval '1 month')::timestamp AT TIME ZONE 'UTC'
    );
    EXECUTE format(
        'CREATE TRIGGER audit_partition_truncate BEFORE TRUNCATE ON %I
         FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change()', name);
    RETURN name;
END $$;

CREATE TABLE audit_leaf_default PARTITION OF audit_leaf DEFAULT;
CREATE TRIGGER audit_partition_truncate BEFORE TRUNCATE ON audit_leaf_default
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change();

CREATE TABLE audit_retention_policy (
    organization_id uuid PRIMARY KEY,
    days integer NOT NULL DEFAULT 365,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT audit_retention_at_least_90_days CHECK (days >= 90)
);

CREATE TABLE audit_legal_hold (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    organization_id uuid NOT NULL,
    reason text NOT NULL,
    set_by text NOT NULL DEFAULT '',
    set_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    lifted_at timestamptz
);

-- How long the month's partition must stay, in days from the end of the month: the longest of the organizations that
-- have events in it; events of no organization (a refused sign-in of a stranger) go with the rest of their month.
CREATE FUNCTION audit_days_kept(month text) RETURNS integer LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = public, pg_temp AS $$
DECLARE
    longest integer;
BEGIN
    EXECUTE format(
        'SELECT max(COALESCE(p.days, 365)) FROM (SELECT DISTINCT organization_id FROM %I) e
         LEFT JOIN audit_retention_policy p USING (organization_id) WHERE e.organization_id IS NOT NULL',
        'audit_event_' || month) INTO longest;
    RETURN GREATEST(90, COALESCE(longest, 365));
END $$;

CREATE FUNCTION audit_is_held(month text) RETURNS boolean LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = public, pg_temp AS $$
DECLARE
    held boolean;
BEGIN
    EXECUTE format(
        'SELECT EXISTS (SELECT 1 FROM audit_legal_hold h WHERE h.lifted_at IS NULL
         AND EXISTS (SELECT 1 FROM %I e WHERE e.organization_id = h.organization_id))',
        'audit_event_' || month) INTO held;
    RETURN held;
END $$;

-- Drops one month of events and leaves, and nothing else: the retention role may run this and has no other way.
-- It refuses by itself, whatever the caller believed: a month that is too young, one under a legal hold, and one whose
-- end, with the number of its events, is not sealed in the record yet.
CREATE FUNCTION audit_drop_month(month text) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = public, pg_temp AS $$
DECLARE
    ends timestamptz := (to_date(month, 'YYYY_MM') + interval '1 month')::timestamp AT TIME ZONE 'UTC';
    events bigint;
BEGIN
    IF ends > audit_now() - make_interval(days => audit_days_kept(month)) THEN
        RAISE EXCEPTION 'the record of % must be kept for % days', month, audit_days_kept(month)
            USING ERRCODE = '42501';
    END IF;
    IF audit_is_held(month) THEN
        RAISE EXCEPTION 'the record of % is under a legal hold', month USING ERRCODE = '42501';
    END IF;
    EXECUTE format('SELECT count(*) FROM %I', 'audit_event_' || month) INTO events;
    IF NOT EXISTS (
        SELECT 1 FROM audit_event e JOIN audit_leaf l ON l.event_id = e.id AND l.at = e.at
        WHERE e.event = 'record:month_dropped' AND e.subject_id = month AND (e.details->>'events')::bigint = events
    ) THEN
        RAISE EXCEPTION 'no sealed event announces the end of % with its % events', month, events
            USING ERRCODE = '42501';
    END IF;
    EXECUTE format('ALTER TABLE audit_event DETACH PARTITION %I', 'audit_event_' || month);
    EXECUTE format('ALTER TABLE audit_leaf DETACH PARTITION %I', 'audit_leaf_' || month);
    EXECUTE format('DROP TABLE %I', 'audit_event_' || month);
    EXECUTE format('DROP TABLE %I', 'audit_leaf_' || month);
    RETURN events;
END $$;

DO $$
BEGIN
    FOR months IN 0..3 LOOP
        PERFORM audit_make_leaf_partition((now() AT TIME ZONE 'UTC' + make_interval(months => months))::date);
    END LOOP;
END $$;

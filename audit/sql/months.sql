-- Makes the partition of the month that holds `day`, of events or of leaves, if it is not there. Statement triggers are
-- not inherited by partitions, so each gets its own against TRUNCATE. Making one locks the whole record for a moment, and
-- behind a long export that moment would not come while every call waits in the queue: so it gives up soon and is tried
-- again.
--
-- Where nobody made it ahead (the worker stood still for months, a laptop was off), rows of the month lie in the default
-- partition already, and PostgreSQL makes no partition beside them. They move into it in the same transaction: taken
-- off the record, the default partition has no trigger that refuses it. The rows stay as they are, and so do their leaves.
CREATE OR REPLACE FUNCTION audit_make_month(parent text, day date) RETURNS text LANGUAGE plpgsql
    SET search_path = public, pg_temp SET lock_timeout = '2s' AS $$
DECLARE
    first_day date := date_trunc('month', day)::date;
    begins timestamptz := first_day::timestamp AT TIME ZONE 'UTC';
    ends timestamptz := (first_day + interval '1 month')::timestamp AT TIME ZONE 'UTC';
    name text := parent || '_' || to_char(first_day, 'YYYY_MM');
    rest text := parent || '_default';
    is_late boolean;
BEGIN
    IF to_regclass('public.' || name) IS NOT NULL THEN
        RETURN name;
    END IF;
    -- one after the other: two who look into the default partition and then want it for themselves wait for each other
    PERFORM pg_advisory_xact_lock(hashtext('chatgrid record month'));
    IF to_regclass('public.' || name) IS NOT NULL THEN
        RETURN name;
    END IF;
    EXECUTE format('SELECT EXISTS (SELECT FROM %I WHERE at >= %L AND at < %L)', rest, begins, ends) INTO is_late;
    IF is_late THEN
        EXECUTE format('ALTER TABLE %I DETACH PARTITION %I', parent, rest);
    END IF;
    EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)', name, parent, begins, ends);
    EXECUTE format(
        'CREATE TRIGGER audit_partition_truncate BEFORE TRUNCATE ON %I
         FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change()', name);
    IF is_late THEN
        EXECUTE format('INSERT INTO %I SELECT * FROM %I WHERE at >= %L AND at < %L', name, rest, begins, ends);
        EXECUTE format('DELETE FROM %I WHERE at >= %L AND at < %L', rest, begins, ends);
        EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I DEFAULT', parent, rest);
    END IF;
    RETURN name;
EXCEPTION WHEN duplicate_table OR unique_violation THEN
    RETURN name; -- another worker was faster
END $$;
REVOKE EXECUTE ON FUNCTION audit_make_month FROM PUBLIC;

CREATE OR REPLACE FUNCTION audit_make_partition(day date) RETURNS text LANGUAGE sql SECURITY DEFINER
    SET search_path = public, pg_temp AS $$ SELECT audit_make_month('audit_event', day) $$;

CREATE OR REPLACE FUNCTION audit_make_leaf_partition(day date) RETURNS text LANGUAGE sql SECURITY DEFINER
    SET search_path = public, pg_temp AS $$ SELECT audit_make_month('audit_leaf', day) $$;

-- The months that rows of the default partitions belong to, which the application may not read by themselves.
CREATE OR REPLACE FUNCTION audit_late_months() RETURNS SETOF date LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = public, pg_temp AS $$
    SELECT date_trunc('month', at AT TIME ZONE 'UTC')::date FROM audit_event_default
    UNION SELECT date_trunc('month', at AT TIME ZONE 'UTC')::date FROM audit_leaf_default ORDER BY 1
$$;

-- Sums over the sealed calls of the record, so that a chart of a year reads thousands of rows and not ten million.
-- They are made from the record alone, by one function that everybody may call and whose result nobody can choose: the
-- application reads these tables and writes none of them (audit/rollup_grants.py). Days are UTC.

CREATE TABLE audit_rollup (
    organization_id uuid,
    day date NOT NULL,
    department_id uuid,
    model text NOT NULL,
    calls bigint NOT NULL,
    refused bigint NOT NULL,
    estimated bigint NOT NULL,
    tokens_input bigint NOT NULL,
    tokens_cached bigint NOT NULL,
    tokens_output bigint NOT NULL,
    tokens_reasoning bigint NOT NULL,
    cost numeric(24, 8) NOT NULL,
    CONSTRAINT audit_rollup_once UNIQUE NULLS NOT DISTINCT (organization_id, day, department_id, model)
);

-- The same by person, by day and once more by month: five thousand people make too many days for a year.
CREATE TABLE audit_rollup_person (
    organization_id uuid,
    grain text NOT NULL CHECK (grain IN ('day', 'month')),
    day date NOT NULL,
    actor_id uuid,
    calls bigint NOT NULL,
    refused bigint NOT NULL,
    estimated bigint NOT NULL,
    tokens_input bigint NOT NULL,
    tokens_cached bigint NOT NULL,
    tokens_output bigint NOT NULL,
    tokens_reasoning bigint NOT NULL,
    cost numeric(24, 8) NOT NULL,
    CONSTRAINT audit_rollup_person_once UNIQUE NULLS NOT DISTINCT (organization_id, grain, day, actor_id)
);

-- And by all of them, for charts that are narrowed to a person, or to the people of a department or a model.
CREATE TABLE audit_rollup_detail (
    organization_id uuid,
    grain text NOT NULL CHECK (grain IN ('day', 'month')),
    day date NOT NULL,
    department_id uuid,
    actor_id uuid,
    model text NOT NULL,
    calls bigint NOT NULL,
    refused bigint NOT NULL,
    estimated bigint NOT NULL,
    tokens_input bigint NOT NULL,
    tokens_cached bigint NOT NULL,
    tokens_output bigint NOT NULL,
    tokens_reasoning bigint NOT NULL,
    cost numeric(24, 8) NOT NULL,
    CONSTRAINT audit_rollup_detail_once
        UNIQUE NULLS NOT DISTINCT (organization_id, grain, day, department_id, model, actor_id)
);
CREATE INDEX audit_rollup_detail_by_actor ON audit_rollup_detail (organization_id, actor_id, grain, day);
CREATE INDEX audit_rollup_by_day ON audit_rollup (day);
CREATE INDEX audit_rollup_person_by_day ON audit_rollup_person (day);
CREATE INDEX audit_rollup_detail_by_day ON audit_rollup_detail (day);

-- One row: the seals up to this one are in the sums.
CREATE TABLE audit_rollup_state (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    seal bigint NOT NULL DEFAULT 0,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
INSERT INTO audit_rollup_state DEFAULT VALUES;

-- What the events with these numbers add up to: the one definition, for making the sums and for checking them.
-- A call counts when it has ended; a refused one never reached the provider and is counted apart.
CREATE FUNCTION audit_rollup_sums(first_number bigint, last_number bigint, since timestamptz, until timestamptz)
RETURNS TABLE (
    organization_id uuid, day date, department_id uuid, actor_id uuid, model text, calls bigint, refused bigint,
    estimated bigint, tokens_input bigint, tokens_cached bigint, tokens_output bigint, tokens_reasoning bigint,
    cost numeric
) LANGUAGE sql STABLE AS $$
    SELECT e.organization_id, (e.at AT TIME ZONE 'UTC')::date, e.department_id, e.actor_id,
        CASE e.model_asked WHEN '' THEN e.model_answered ELSE e.model_asked END,
        count(*) FILTER (WHERE e.event = 'call:answered'),
        count(*) FILTER (WHERE e.event = 'call:refused'),
        count(*) FILTER (WHERE e.event = 'call:answered' AND e.tokens_estimated),
        COALESCE(sum(e.tokens_input), 0)::bigint, COALESCE(sum(e.tokens_cached), 0)::bigint,
        COALESCE(sum(e.tokens_output), 0)::bigint, COALESCE(sum(e.tokens_reasoning), 0)::bigint,
        COALESCE(sum(e.cost), 0)
    FROM audit_leaf l JOIN audit_event e ON e.id = l.event_id AND e.at = l.at
    -- the times are those of the numbers: they say which months have to be read at all
    WHERE l.seq BETWEEN first_number AND last_number AND l.at BETWEEN since AND until AND e.at BETWEEN since AND until
        AND e.event IN ('call:answered', 'call:refused')
    GROUP BY 1, 2, 3, 4, 5
$$;

-- Takes the next seals, as many as have about `most` events together, into the sums; how many seals that were.
-- Seal by seal in their order and in one transaction, behind one lock: a seal is counted once or not yet.
CREATE FUNCTION audit_roll_up(most bigint) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = public, pg_temp SET enable_partitionwise_join = on AS $$
DECLARE
    done bigint;
    reached bigint;
    taken bigint;
    first_number bigint;
    last_number bigint;
    since timestamptz;
    until timestamptz;
BEGIN
    SELECT seal INTO done FROM audit_rollup_state FOR UPDATE;
    PERFORM audit_rollup_forget();
    SELECT first_seq INTO first_number FROM audit_seal WHERE n > done ORDER BY n LIMIT 1;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    SELECT max(n), max(last_seq), count(*) INTO reached, last_number, taken FROM (
        SELECT n, last_seq, row_number() OVER (ORDER BY n) AS place FROM audit_seal WHERE n > done ORDER BY n LIMIT 1000
    ) s WHERE place = 1 OR last_seq < first_number + most;
    SELECT min(l.at), max(l.at) INTO since, until FROM audit_leaf l WHERE seq BETWEEN first_number AND last_number;
    PERFORM audit_rollup_add(first_number, last_number, since, until);
    UPDATE audit_rollup_state SET seal = reached, at = clock_timestamp();
    RETURN taken;
END $$;

CREATE FUNCTION audit_rollup_add(first_number bigint, last_number bigint, since timestamptz, until timestamptz)
RETURNS void LANGUAGE sql AS $$
    WITH summed AS MATERIALIZED (SELECT * FROM audit_rollup_sums(first_number, last_number, since, until)),
    grained AS MATERIALIZED (
        SELECT grain, date_trunc(grain, day)::date AS since, s.*
        FROM summed s CROSS JOIN (VALUES ('day'), ('month')) AS grains (grain)
    ),
    departments AS (
        INSERT INTO audit_rollup AS held
        SELECT organization_id, day, department_id, model, sum(calls), sum(refused), sum(estimated),
            sum(tokens_input), sum(tokens_cached), sum(tokens_output), sum(tokens_reasoning), sum(cost)
        FROM summed GROUP BY 1, 2, 3, 4
        ON CONFLICT ON CONSTRAINT audit_rollup_once DO UPDATE SET
            calls = held.calls + EXCLUDED.calls,
            refused = held.refused + EXCLUDED.refused,
            estimated = held.estimated + EXCLUDED.estimated,
            tokens_input = held.tokens_input + EXCLUDED.tokens_input,
            tokens_cached = held.tokens_cached + EXCLUDED.tokens_cached,
            tokens_output = held.tokens_output + EXCLUDED.tokens_output,
            tokens_reasoning = held.tokens_reasoning + EXCLUDED.tokens_reasoning,
            cost = held.cost + EXCLUDED.cost
    ),
    people AS (
        INSERT INTO audit_rollup_person AS held
        SELECT organization_id, grain, grained.since, actor_id, sum(calls), sum(refused), sum(estimated),
            sum(tokens_input), sum(tokens_cached), sum(tokens_output), sum(tokens_reasoning), sum(cost)
        FROM grained GROUP BY 1, 2, 3, 4
        ON CONFLICT ON CONSTRAINT audit_rollup_person_once DO UPDATE SET
            calls = held.calls + EXCLUDED.calls,
            refused = held.refused + EXCLUDED.refused,
            estimated = held.estimated + EXCLUDED.estimated,
            tokens_input = held.tokens_input + EXCLUDED.tokens_input,
            tokens_cached = held.tokens_cached + EXCLUDED.tokens_cached,
            tokens_output = held.tokens_output + EXCLUDED.tokens_output,
            tokens_reasoning = held.tokens_reasoning + EXCLUDED.tokens_reasoning,
            cost = held.cost + EXCLUDED.cost
    )
    INSERT INTO audit_rollup_detail AS held
    SELECT organization_id, grain, grained.since, department_id, actor_id, model, sum(calls), sum(refused), sum(estimated),
        sum(tokens_input), sum(tokens_cached), sum(tokens_output), sum(tokens_reasoning), sum(cost)
    FROM grained GROUP BY 1, 2, 3, 4, 5, 6
    ON CONFLICT ON CONSTRAINT audit_rollup_detail_once DO UPDATE SET
        calls = held.calls + EXCLUDED.calls,
        refused = held.refused + EXCLUDED.refused,
        estimated = held.estimated + EXCLUDED.estimated,
        tokens_input = held.tokens_input + EXCLUDED.tokens_input,
        tokens_cached = held.tokens_cached + EXCLUDED.tokens_cached,
        tokens_output = held.tokens_output + EXCLUDED.tokens_output,
        tokens_reasoning = held.tokens_reasoning + EXCLUDED.tokens_reasoning,
        cost = held.cost + EXCLUDED.cost;
$$;

-- The sums of a month end with the month: it was announced, and its partition is gone.
CREATE FUNCTION audit_rollup_forget() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    month date;
BEGIN
    FOR month IN
        SELECT DISTINCT to_date(subject_id, 'YYYY_MM') FROM audit_event
        WHERE event = 'record:month_dropped' AND subject_id ~ '^[0-9]{4}_(0[1-9]|1[0-2])$'
            AND to_regclass('public.audit_event_' || subject_id) IS NULL
    LOOP
        DELETE FROM audit_rollup WHERE day >= month AND day < month + interval '1 month';
        DELETE FROM audit_rollup_person WHERE day >= month AND day < month + interval '1 month';
        DELETE FROM audit_rollup_detail WHERE day >= month AND day < month + interval '1 month';
    END LOOP;
END $$;

-- From nothing, in the caller's transaction: whoever reads meanwhile sees the old sums.
CREATE FUNCTION audit_rollup_again(most bigint) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = public, pg_temp AS $$
DECLARE
    seals bigint := 0;
    taken bigint;
BEGIN
    PERFORM FROM audit_rollup_state FOR UPDATE;
    DELETE FROM audit_rollup;
    DELETE FROM audit_rollup_person;
    DELETE FROM audit_rollup_detail;
    UPDATE audit_rollup_state SET seal = 0;
    LOOP
        taken := audit_roll_up(most);
        EXIT WHEN taken = 0;
        seals := seals + taken;
    END LOOP;
    RETURN seals;
END $$;

-- Admission and settlement of a call. A migration that changes a function here runs the whole file again.
--
-- Rules:
-- * Admissions of one organization pass one at a time, behind an advisory lock that ends with the transaction: between
--   the look at what is left and the reservation nobody else comes. Settlements need not wait there: each moves its call
--   from "reserved" to "spent" in one commit, and an admission looks at both in one statement, so it sees the call once.
-- * left = ceiling - spent - reserved. A call whose lease is alive holds its whole reservation; one whose lease lapsed
--   holds what it will be booked with: its prompt and what it had written at its last renewal.
-- * The answer's cap is fitted to the least that is left; where that leaves less than the smallest useful answer, the
--   call is refused. A call without an answer (embedding) has smallest = wanted = 0.
-- * Where several ceilings are in the way, the one that lasts longest is told: whoever comes back when they were told to
--   is not sent away by another one. A ceiling of nothing and a price that nobody knows last until somebody changes them.
-- * Questions are counted over the last 60 s exactly, not over a calendar minute. Embeddings, moderation and trials of the rules are not questions.
-- * Of a person's limits the nearest counts: own in the department, own anywhere, the department's allowance, the
--   organization's; two of their own hold both. Every ceiling above holds too. Grants are added to the person's.
-- * A call belongs to the day in which it asked, in the organization's time zone, whenever it is admitted or ends. So a
--   call of yesterday may be looked at when one of today is booked already: a month counts all of its days, also later ones.
-- * A call without a known price cannot be held to a budget in money: where there is one it is refused.
-- * Statements here that look and then act are VOLATILE functions' own, each with a snapshot of its own (READ COMMITTED).

-- A migration older than a column that is read here runs this file too, before that column is there.
SET LOCAL check_function_bodies = off;

-- The counter of a person in a department.
CREATE OR REPLACE FUNCTION limits_member(p_department uuid, p_person uuid) RETURNS uuid LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT md5(p_department::text || p_person::text)::uuid
$$;

CREATE OR REPLACE FUNCTION limits_is_question(p_purpose text) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT p_purpose NOT IN ('search', 'ingest', 'moderation', 'attack')
$$;

-- The moments of a scope's questions in the last 60 s. One branch a scope, so that each can use its own index; the
-- others cost nothing.
CREATE OR REPLACE FUNCTION limits_moments(
    p_scope text, p_organization uuid, p_department uuid, p_person uuid, p_model text, p_moment timestamptz
) RETURNS TABLE (admitted_at timestamptz) LANGUAGE sql STABLE AS $$
    SELECT r.admitted_at FROM limits_reservation r
    WHERE p_scope = 'organization' AND r.organization_id = p_organization
        AND r.admitted_at > p_moment - interval '60 seconds' AND limits_is_question(r.purpose)
    UNION ALL
    SELECT r.admitted_at FROM limits_reservation r
    WHERE p_scope = 'department' AND r.department_id = p_department
        AND r.admitted_at > p_moment - interval '60 seconds' AND limits_is_question(r.purpose)
    UNION ALL
    SELECT r.admitted_at FROM limits_reservation r
    WHERE p_scope IN ('person', 'member') AND r.person_id = p_person
        AND (p_scope = 'person' OR r.department_id = p_department)
        AND r.admitted_at > p_moment - interval '60 seconds' AND limits_is_question(r.purpose)
    UNION ALL
    SELECT r.admitted_at FROM limits_reservation r
    WHERE p_scope IN ('model', 'department_model') AND r.organization_id = p_organization AND r.model = p_model
        AND (p_scope = 'model' OR r.department_id = p_department)
        AND r.admitted_at > p_moment - interval '60 seconds' AND limits_is_question(r.purpose)
$$;

CREATE OR REPLACE FUNCTION limits_asked(
    p_scope text, p_organization uuid, p_department uuid, p_person uuid, p_model text, p_moment timestamptz
) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT count(*) FROM limits_moments(p_scope, p_organization, p_department, p_person, p_model, p_moment)
$$;

-- Every ceiling over a person in a department, with what counts against it now: one row for each ceiling that is set.
-- `rank` is the order in which they are asked; without a department its own ceilings are left out.
CREATE OR REPLACE FUNCTION limits_standings(
    p_organization uuid, p_department uuid, p_person uuid, p_model text, p_today date, p_moment timestamptz
) RETURNS TABLE (rank integer, scope text, scope_id uuid, measure text, period text, ceiling numeric, used numeric)
LANGUAGE sql STABLE AS $$
    WITH granted AS (
        SELECT coalesce(sum(g.amount) FILTER (WHERE g.measure = 'tokens' AND g.period = 'day'), 0) AS tokens_day,
            coalesce(sum(g.amount) FILTER (WHERE g.measure = 'tokens' AND g.period = 'month'), 0) AS tokens_month,
            coalesce(sum(g.amount) FILTER (WHERE g.measure = 'money' AND g.period = 'day'), 0) AS money_day,
            coalesce(sum(g.amount) FILTER (WHERE g.measure = 'money' AND g.period = 'month'), 0) AS money_month
        FROM limits_grant g
        WHERE g.person_id = p_person AND g.department_id = p_department
            AND g.ends_at > p_moment AND g.starts_at <= p_moment
    ),
    ceilings AS MATERIALIZED (
        SELECT c.* FROM granted
        LEFT JOIN limits_limit o ON o.organization_id = p_organization
            AND o.department_id IS NULL AND o.person_id IS NULL AND o.model = ''
        LEFT JOIN limits_limit d ON d.organization_id = p_organization
            AND d.department_id = p_department AND d.person_id IS NULL AND d.model = ''
        LEFT JOIN limits_limit p ON p.organization_id = p_organization
            AND p.department_id IS NULL AND p.person_id = p_person AND p.model = ''
        LEFT JOIN limits_limit m ON m.organization_id = p_organization
            AND m.department_id = p_department AND m.person_id = p_person AND m.model = ''
        CROSS JOIN LATERAL (VALUES
            (1, 'organization', p_organization, 'requests', 'minute', o.requests_per_minute::numeric),
            (1, 'organization', p_organization, 'answers', 'now', o.answers_at_once),
            (1, 'organization', p_organization, 'tokens', 'day', o.tokens_per_day),
            (1, 'organization', p_organization, 'tokens', 'month', o.tokens_per_month),
            (1, 'organization', p_organization, 'money', 'day', o.money_per_day),
            (1, 'organization', p_organization, 'money', 'month', o.money_per_month),
            (2, 'department', p_department, 'requests', 'minute', d.requests_per_minute),
            (2, 'department', p_department, 'answers', 'now', d.answers_at_once),
            (2, 'department', p_department, 'tokens', 'day', d.tokens_per_day),
            (2, 'department', p_department, 'tokens', 'month', d.tokens_per_month),
            (2, 'department', p_department, 'money', 'day', d.money_per_day),
            (2, 'department', p_department, 'money', 'month', d.money_per_month),
            (3, 'person', p_person, 'requests', 'minute', coalesce(p.requests_per_minute,
                CASE WHEN coalesce(m.requests_per_minute, d.person_requests_per_minute) IS NULL
                    THEN o.person_requests_per_minute END)),
            (3, 'person', p_person, 'answers', 'now', coalesce(p.answers_at_once,
                CASE WHEN coalesce(m.answers_at_once, d.person_answers_at_once) IS NULL
                    THEN o.person_answers_at_once END)),
            (3, 'person', p_person, 'tokens', 'day', granted.tokens_day + coalesce(p.tokens_per_day,
                CASE WHEN coalesce(m.tokens_per_day, d.person_tokens_per_day) IS NULL
                    THEN o.person_tokens_per_day END)),
            (3, 'person', p_person, 'tokens', 'month', granted.tokens_month + coalesce(p.tokens_per_month,
                CASE WHEN coalesce(m.tokens_per_month, d.person_tokens_per_month) IS NULL
                    THEN o.person_tokens_per_month END)),
            (3, 'person', p_person, 'money', 'day', granted.money_day + coalesce(p.money_per_day,
                CASE WHEN coalesce(m.money_per_day, d.person_money_per_day) IS NULL
                    THEN o.person_money_per_day END)),
            (3, 'person', p_person, 'money', 'month', granted.money_month + coalesce(p.money_per_month,
                CASE WHEN coalesce(m.money_per_month, d.person_money_per_month) IS NULL
                    THEN o.person_money_per_month END)),
            (4, 'member', limits_member(p_department, p_person), 'requests', 'minute', coalesce(m.requests_per_minute,
                CASE WHEN p.requests_per_minute IS NULL THEN d.person_requests_per_minute END)),
            (4, 'member', limits_member(p_department, p_person), 'answers', 'now', coalesce(m.answers_at_once,
                CASE WHEN p.answers_at_once IS NULL THEN d.person_answers_at_once END)),
            (4, 'member', limits_member(p_department, p_person), 'tokens', 'day', granted.tokens_day
                + coalesce(m.tokens_per_day, CASE WHEN p.tokens_per_day IS NULL THEN d.person_tokens_per_day END)),
            (4, 'member', limits_member(p_department, p_person), 'tokens', 'month', granted.tokens_month
                + coalesce(m.tokens_per_month, CASE WHEN p.tokens_per_month IS NULL THEN d.person_tokens_per_month END)),
            (4, 'member', limits_member(p_department, p_person), 'money', 'day', granted.money_day
                + coalesce(m.money_per_day, CASE WHEN p.money_per_day IS NULL THEN d.person_money_per_day END)),
            (4, 'member', limits_member(p_department, p_person), 'money', 'month', granted.money_month
                + coalesce(m.money_per_month, CASE WHEN p.money_per_month IS NULL THEN d.person_money_per_month END))
        ) AS c (rank, scope, scope_id, measure, period, ceiling)
        WHERE c.ceiling IS NOT NULL
        UNION ALL
        SELECT 5, CASE WHEN l.department_id IS NULL THEN 'model' ELSE 'department_model' END, NULL, 'requests', 'minute',
            l.requests_per_minute
        FROM limits_limit l
        WHERE p_model <> '' AND l.organization_id = p_organization AND l.model = p_model AND l.person_id IS NULL
            AND (l.department_id IS NULL OR l.department_id = p_department) AND l.requests_per_minute IS NOT NULL
    ),
    -- whoever is alive, folded into at most eight groups in one pass
    live AS MATERIALIZED (
        SELECT r.department_id IS NOT DISTINCT FROM p_department AS here, r.person_id = p_person AS theirs, r.day,
            sum(CASE WHEN r.lease_until > p_moment THEN r.tokens_reserved ELSE r.tokens_prompt + r.tokens_written END)
                AS tokens,
            sum(CASE WHEN r.lease_until > p_moment THEN r.cost_reserved ELSE
                (r.tokens_prompt * r.price_input + r.tokens_written * coalesce(r.price_output, 0)) / 1000000 END) AS cost,
            count(*) FILTER (WHERE r.lease_until > p_moment AND limits_is_question(r.purpose)) AS answers
        FROM limits_reservation r
        WHERE r.organization_id = p_organization AND r.settled_at IS NULL
        GROUP BY 1, 2, 3
    ),
    figures AS (
        SELECT s.scope, s.scope_id, l.tokens_day + b.tokens_day AS tokens_day, l.tokens_month + b.tokens_month AS tokens_month,
            l.cost_day + b.cost_day AS cost_day, l.cost_month + b.cost_month AS cost_month, l.answers
        FROM (VALUES ('organization', p_organization, false, false), ('department', p_department, true, false),
            ('person', p_person, false, true), ('member', limits_member(p_department, p_person), true, true)
        ) AS s (scope, scope_id, of_department, of_person)
        CROSS JOIN LATERAL (
            SELECT coalesce(sum(tokens) FILTER (WHERE day = p_today), 0) AS tokens_day,
                coalesce(sum(tokens) FILTER (WHERE date_trunc('month', day) = date_trunc('month', p_today)), 0) AS tokens_month,
                coalesce(sum(cost) FILTER (WHERE day = p_today), 0) AS cost_day,
                coalesce(sum(cost) FILTER (WHERE date_trunc('month', day) = date_trunc('month', p_today)), 0) AS cost_month,
                coalesce(sum(answers), 0) AS answers
            FROM live WHERE (here OR NOT s.of_department) AND (theirs OR NOT s.of_person)
        ) AS l
        CROSS JOIN LATERAL (
            SELECT coalesce(sum(b.tokens) FILTER (WHERE b.day = p_today), 0) AS tokens_day, coalesce(sum(b.tokens), 0) AS tokens_month,
                coalesce(sum(b.cost) FILTER (WHERE b.day = p_today), 0) AS cost_day, coalesce(sum(b.cost), 0) AS cost_month
            FROM limits_spent b
            WHERE b.scope = s.scope AND b.scope_id = s.scope_id
                AND b.day >= date_trunc('month', p_today)::date
                AND b.day < (date_trunc('month', p_today) + interval '1 month')::date
        ) AS b
        WHERE s.scope IN (SELECT c.scope FROM ceilings c)
    )
    SELECT c.rank, c.scope, c.scope_id, c.measure, c.period, c.ceiling,
        CASE c.measure
            WHEN 'requests' THEN limits_asked(c.scope, p_organization, p_department, p_person, p_model, p_moment)
            WHEN 'answers' THEN f.answers
            WHEN 'tokens' THEN CASE c.period WHEN 'day' THEN f.tokens_day ELSE f.tokens_month END
            ELSE CASE c.period WHEN 'day' THEN f.cost_day ELSE f.cost_month END
        END
    FROM ceilings c LEFT JOIN figures f ON f.scope = c.scope
$$;

-- The first moment of a day. Where the clock goes back over midnight that hour comes twice, and PostgreSQL means the
-- second one: twelve hours after the noon before is the first.
CREATE OR REPLACE FUNCTION limits_begins(p_day date, p_time_zone text) RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT least(m.as_written, CASE WHEN (m.after_noon AT TIME ZONE p_time_zone)::date >= p_day THEN m.after_noon END)
    FROM (
        SELECT p_day::timestamp AT TIME ZONE p_time_zone AS as_written,
            (p_day - interval '12 hours') AT TIME ZONE p_time_zone + interval '12 hours' AS after_noon
    ) AS m
$$;

-- When a scope starts anew: the next midnight or first of a month there; for a rate the moment at which so many have left
-- the window that the newest are fewer than the ceiling; for answers at once nobody knows, and a few seconds are said.
CREATE OR REPLACE FUNCTION limits_resets_at(
    p_scope text, p_period text, p_ceiling numeric, p_organization uuid, p_department uuid, p_person uuid, p_model text,
    p_today date, p_time_zone text, p_moment timestamptz
) RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT CASE p_period
        WHEN 'day' THEN limits_begins(p_today + 1, p_time_zone)
        WHEN 'month' THEN limits_begins((date_trunc('month', p_today) + interval '1 month')::date, p_time_zone)
        WHEN 'minute' THEN coalesce((
            SELECT a.admitted_at FROM limits_moments(p_scope, p_organization, p_department, p_person, p_model, p_moment) a
            WHERE p_ceiling > 0 ORDER BY a.admitted_at DESC OFFSET greatest(p_ceiling::bigint - 1, 0) LIMIT 1
        ), p_moment) + interval '60 seconds'
        ELSE p_moment + interval '5 seconds'
    END
$$;

CREATE OR REPLACE FUNCTION limits_admit(
    p_call uuid, p_organization uuid, p_department uuid, p_person uuid, p_purpose text, p_model text, p_time_zone text,
    p_counted bigint, p_prompt bigint, p_wanted bigint, p_smallest bigint, p_price_input numeric, p_price_output numeric,
    p_lease_seconds integer
) RETURNS TABLE (
    admitted boolean, answer_cap bigint, refused_scope text, refused_measure text, refused_period text, ceiling numeric,
    used numeric, resets_at timestamptz
) LANGUAGE plpgsql AS $$
DECLARE
    this_moment timestamptz;
    -- before the wait for the lock: a call belongs to the day in which it asked
    today date := (clock_timestamp() AT TIME ZONE p_time_zone)::date;
    is_question boolean := limits_is_question(p_purpose);
    prompt_cost numeric := p_prompt * p_price_input / 1000000;
    token_cost numeric := coalesce(p_price_output, 0) / 1000000;
    standing record;
    left_over numeric;
    cap bigint := p_wanted;
    in_the_way text;
    again_at timestamptz;
    lasts_until timestamptz;
    longest timestamptz := '-infinity';
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('limits ' || p_organization, 0));
    this_moment := clock_timestamp(); -- after the wait, or two calls could share one moment

    -- the provider has said that this department's money there is used up: it would only say it again
    RETURN QUERY SELECT false, 0::bigint, 'department'::text, 'provider'::text, 'now'::text, 0::numeric, 0::numeric, q.until
        FROM limits_providerpause q WHERE q.department_id = p_department AND q.until > this_moment;
    IF FOUND THEN
        RETURN;
    END IF;

    FOR standing IN
        SELECT * FROM limits_standings(p_organization, p_department, p_person, p_model, today, this_moment) s
        ORDER BY CASE s.measure WHEN 'requests' THEN 1 WHEN 'answers' THEN 2 ELSE 3 END, s.rank
    LOOP
        in_the_way := NULL;
        IF standing.measure IN ('requests', 'answers') THEN
            IF is_question AND standing.used >= standing.ceiling THEN
                in_the_way := standing.measure;
            END IF;
        ELSIF standing.measure = 'money' AND prompt_cost IS NULL THEN
            in_the_way := 'price';
        ELSE
            left_over := standing.ceiling - standing.used;
            IF standing.measure = 'tokens' THEN
                left_over := left_over - p_prompt;
            ELSIF left_over >= prompt_cost AND token_cost > 0 THEN
                left_over := floor((left_over - prompt_cost) / token_cost);
            ELSE -- an answer costs nothing, or the prompt alone is too dear
                left_over := CASE WHEN left_over >= prompt_cost THEN cap ELSE -1 END;
            END IF;
            IF left_over < p_smallest THEN
                in_the_way := standing.measure;
            ELSE
                cap := least(cap, left_over);
            END IF;
        END IF;
        IF in_the_way IS NOT NULL THEN
            IF standing.measure IN ('tokens', 'money') THEN
                INSERT INTO limits_refused AS r (scope, scope_id, measure, period, day, organization_id, department_id,
                                                 person_id, count, last_at, ceiling)
                VALUES (standing.scope, standing.scope_id, standing.measure, standing.period, today, p_organization,
                    CASE WHEN standing.scope IN ('department', 'member') THEN p_department END,
                    CASE WHEN standing.scope IN ('person', 'member') THEN p_person END, 1, this_moment,
                    standing.ceiling)
                ON CONFLICT ON CONSTRAINT limits_refused_pkey DO UPDATE
                    SET count = r.count + 1, last_at = this_moment, ceiling = standing.ceiling;
            END IF;
            again_at := limits_resets_at(standing.scope, standing.period, standing.ceiling, p_organization, p_department,
                                         p_person, p_model, today, p_time_zone, this_moment);
            lasts_until := CASE WHEN in_the_way = 'price' OR standing.ceiling = 0 THEN 'infinity' ELSE again_at END;
            IF lasts_until > longest THEN
                longest := lasts_until;
                admitted := false;
                answer_cap := 0;
                refused_scope := standing.scope;
                refused_measure := in_the_way;
                refused_period := standing.period;
                ceiling := standing.ceiling;
                used := standing.used;
                resets_at := again_at;
            END IF;
        END IF;
    END LOOP;
    IF longest > '-infinity' THEN
        RETURN NEXT;
        RETURN;
    END IF;

    INSERT INTO limits_reservation (call_id, organization_id, department_id, person_id, purpose, model, day, admitted_at,
                                    lease_until, tokens_counted, tokens_prompt, tokens_reserved, tokens_written,
                                    price_input, price_output, cost_reserved, estimated, stop_requested)
        VALUES (p_call, p_organization, p_department, p_person, p_purpose, p_model, today, this_moment,
                this_moment + make_interval(secs => p_lease_seconds), p_counted, p_prompt, p_prompt + cap, 0,
                p_price_input, p_price_output, prompt_cost + cap * token_cost, false, false);
    RETURN QUERY SELECT true, cap, NULL::text, NULL::text, NULL::text, NULL::numeric, NULL::numeric, NULL::timestamptz;
END $$;

-- Books what a call has used in place of what it had reserved, once: the first settlement stands, so that a call that was
-- given up for lost and then comes back is neither booked nor recorded twice. Returns whether this one was the first.
-- `p_input` is the part of the tokens that was sent; `p_estimated` says that the provider reported nothing.
CREATE OR REPLACE FUNCTION limits_settle(p_call uuid, p_used bigint, p_input bigint, p_cost numeric, p_estimated boolean)
RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    held limits_reservation;
    dollars numeric := round(p_cost, 8); -- as the record has it, so that the two sums agree
BEGIN
    UPDATE limits_reservation SET tokens_used = p_used, tokens_input = p_input, cost_used = dollars,
            estimated = p_estimated, settled_at = clock_timestamp()
        WHERE call_id = p_call AND settled_at IS NULL RETURNING * INTO held;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    -- always in this order, so that no two settlements can wait for each other
    INSERT INTO limits_spent AS s (scope, scope_id, day, organization_id, department_id, person_id, tokens, requests, cost)
    VALUES ('organization', held.organization_id, held.day, held.organization_id, NULL, NULL, p_used, 1, coalesce(dollars, 0)),
        ('department', held.department_id, held.day, held.organization_id, held.department_id, NULL, p_used, 1,
            coalesce(dollars, 0)),
        ('member', limits_member(held.department_id, held.person_id), held.day, held.organization_id, held.department_id,
            held.person_id, p_used, 1, coalesce(dollars, 0)),
        ('person', held.person_id, held.day, held.organization_id, NULL, held.person_id, p_used, 1, coalesce(dollars, 0))
    ON CONFLICT ON CONSTRAINT limits_spent_pkey DO UPDATE
        SET tokens = s.tokens + p_used, requests = s.requests + 1, cost = s.cost + coalesce(dollars, 0);
    RETURN true;
END $$;

-- Every budget over a person in a department, with when it starts anew; the person's own first.
CREATE OR REPLACE FUNCTION limits_budgets(p_organization uuid, p_department uuid, p_person uuid, p_time_zone text)
RETURNS TABLE (scope text, measure text, period text, used numeric, ceiling numeric, resets_at timestamptz, moment timestamptz)
LANGUAGE plpgsql AS $$
DECLARE
    this_moment timestamptz := clock_timestamp();
    today date := (this_moment AT TIME ZONE p_time_zone)::date;
BEGIN
    RETURN QUERY
    SELECT s.scope, s.measure, s.period, s.used, s.ceiling,
        limits_resets_at(s.scope, s.period, s.ceiling, NULL, NULL, NULL, '', today, p_time_zone, this_moment), this_moment
    FROM limits_standings(p_organization, p_department, p_person, '', today, this_moment) s
    WHERE s.measure IN ('tokens', 'money')
    ORDER BY s.rank DESC, s.measure DESC, s.period;
END $$;

-- Where a person stands: their own budget, unless a ceiling around them is closer to being reached. One row, always;
-- without any ceiling the person's tokens of today. `p_department` may be null: all departments together.
CREATE OR REPLACE FUNCTION limits_meter(p_organization uuid, p_department uuid, p_person uuid, p_time_zone text)
RETURNS TABLE (scope text, measure text, period text, used numeric, ceiling numeric, resets_at timestamptz, moment timestamptz)
LANGUAGE plpgsql AS $$
DECLARE
    this_moment timestamptz := clock_timestamp();
    today date := (this_moment AT TIME ZONE p_time_zone)::date;
BEGIN
    RETURN QUERY
    SELECT b.* FROM limits_budgets(p_organization, p_department, p_person, p_time_zone) b
    -- a ceiling that is nearly reached comes first, the one with the least left; else the nearest to the person
    ORDER BY b.used >= 0.8 * b.ceiling DESC,
        CASE WHEN b.used >= 0.8 * b.ceiling THEN -b.used / greatest(b.ceiling, 0.000001) END,
        CASE b.scope WHEN 'organization' THEN 2 WHEN 'department' THEN 1 ELSE 0 END, b.measure DESC, b.period, b.scope
    LIMIT 1;
    IF NOT FOUND THEN
        RETURN QUERY
        SELECT 'person'::text, 'tokens'::text, 'day'::text, (
                SELECT coalesce(sum(b.tokens), 0) FROM limits_spent b
                WHERE b.scope = 'person' AND b.scope_id = p_person AND b.day = today
            ) + (
                SELECT coalesce(sum(r.tokens_reserved), 0) FROM limits_reservation r
                WHERE r.organization_id = p_organization AND r.settled_at IS NULL AND r.person_id = p_person
                    AND r.day = today AND r.lease_until > this_moment
            ), NULL::numeric, limits_begins(today + 1, p_time_zone), this_moment;
    END IF;
END $$;

-- Settles, and says where the person stands after it.
CREATE OR REPLACE FUNCTION limits_settle_and_meter(
    p_call uuid, p_used bigint, p_input bigint, p_cost numeric, p_estimated boolean,
    p_organization uuid, p_department uuid, p_person uuid, p_time_zone text
) RETURNS TABLE (
    was_first boolean, scope text, measure text, period text, used numeric, ceiling numeric, resets_at timestamptz,
    moment timestamptz
) LANGUAGE plpgsql AS $$
DECLARE
    first_of_all boolean := limits_settle(p_call, p_used, p_input, p_cost, p_estimated);
BEGIN
    RETURN QUERY SELECT first_of_all, m.* FROM limits_meter(p_organization, p_department, p_person, p_time_zone) m;
END $$;

-- Every budget of an organization of which at least `p_percent` is used on that day or in its month: what alerts look at.
-- Only people who have spent something are looked at; what is reserved right now is not spent.
CREATE OR REPLACE FUNCTION limits_reached(p_organization uuid, p_today date, p_percent integer)
RETURNS TABLE (scope text, scope_id uuid, department_id uuid, person_id uuid, measure text, period text, ceiling numeric,
    used numeric, refused boolean) LANGUAGE sql STABLE AS $$
    WITH spent AS (
        SELECT b.scope, b.scope_id, b.department_id, b.person_id,
            coalesce(sum(b.tokens) FILTER (WHERE b.day = p_today), 0) AS tokens_day, sum(b.tokens) AS tokens_month,
            coalesce(sum(b.cost) FILTER (WHERE b.day = p_today), 0) AS money_day, sum(b.cost) AS money_month
        FROM limits_spent b
        WHERE b.organization_id = p_organization AND b.day >= date_trunc('month', p_today)::date
            AND b.day < (date_trunc('month', p_today) + interval '1 month')::date
        GROUP BY 1, 2, 3, 4
    ),
    -- who has something nearer than the organization's allowance, in a department in which they have spent
    nearer AS (
        SELECT b.person_id,
            bool_or(CASE WHEN l.person_id IS NULL THEN l.person_tokens_per_day ELSE l.tokens_per_day END IS NOT NULL)
                AS tokens_per_day,
            bool_or(CASE WHEN l.person_id IS NULL THEN l.person_tokens_per_month ELSE l.tokens_per_month END IS NOT NULL)
                AS tokens_per_month,
            bool_or(CASE WHEN l.person_id IS NULL THEN l.person_money_per_day ELSE l.money_per_day END IS NOT NULL)
                AS money_per_day,
            bool_or(CASE WHEN l.person_id IS NULL THEN l.person_money_per_month ELSE l.money_per_month END IS NOT NULL)
                AS money_per_month
        FROM spent b
        JOIN limits_limit l ON l.organization_id = p_organization AND l.department_id = b.department_id AND l.model = ''
            AND (l.person_id IS NULL OR l.person_id = b.person_id)
        WHERE b.scope = 'member'
        GROUP BY 1
    ),
    ceilings AS (
        SELECT s.*, v.measure, v.period, v.used, v.ceiling
        FROM spent s
        LEFT JOIN limits_limit o ON o.organization_id = p_organization
            AND o.department_id IS NULL AND o.person_id IS NULL AND o.model = ''
        LEFT JOIN limits_limit d ON d.organization_id = p_organization
            AND d.department_id = s.department_id AND d.person_id IS NULL AND d.model = ''
        LEFT JOIN limits_limit p ON p.organization_id = p_organization
            AND p.department_id IS NULL AND p.person_id = s.person_id AND p.model = ''
        LEFT JOIN limits_limit m ON m.organization_id = p_organization
            AND m.department_id = s.department_id AND m.person_id = s.person_id AND m.model = ''
        LEFT JOIN nearer n ON s.scope = 'person' AND n.person_id = s.person_id
        CROSS JOIN LATERAL (VALUES
            ('tokens', 'day', s.tokens_day::numeric, CASE s.scope WHEN 'organization' THEN o.tokens_per_day
                WHEN 'department' THEN d.tokens_per_day
                WHEN 'person' THEN coalesce(p.tokens_per_day, CASE WHEN n.tokens_per_day IS NOT TRUE THEN o.person_tokens_per_day END)
                ELSE coalesce(m.tokens_per_day, CASE WHEN p.tokens_per_day IS NULL THEN d.person_tokens_per_day END)
                END::numeric),
            ('tokens', 'month', s.tokens_month, CASE s.scope WHEN 'organization' THEN o.tokens_per_month
                WHEN 'department' THEN d.tokens_per_month
                WHEN 'person' THEN coalesce(p.tokens_per_month, CASE WHEN n.tokens_per_month IS NOT TRUE THEN o.person_tokens_per_month END)
                ELSE coalesce(m.tokens_per_month, CASE WHEN p.tokens_per_month IS NULL THEN d.person_tokens_per_month END)
                END),
            ('money', 'day', s.money_day, CASE s.scope WHEN 'organization' THEN o.money_per_day
                WHEN 'department' THEN d.money_per_day
                WHEN 'person' THEN coalesce(p.money_per_day, CASE WHEN n.money_per_day IS NOT TRUE THEN o.person_money_per_day END)
                ELSE coalesce(m.money_per_day, CASE WHEN p.money_per_day IS NULL THEN d.person_money_per_day END)
                END),
            ('money', 'month', s.money_month, CASE s.scope WHEN 'organization' THEN o.money_per_month
                WHEN 'department' THEN d.money_per_month
                WHEN 'person' THEN coalesce(p.money_per_month, CASE WHEN n.money_per_month IS NOT TRUE THEN o.person_money_per_month END)
                ELSE coalesce(m.money_per_month, CASE WHEN p.money_per_month IS NULL THEN d.person_money_per_month END)
                END)
        ) AS v (measure, period, used, ceiling)
        WHERE v.ceiling IS NOT NULL
    ),
    granted AS (
        SELECT c.*, c.ceiling + CASE WHEN c.scope IN ('person', 'member') THEN coalesce((
            SELECT sum(g.amount) FROM limits_grant g
            WHERE g.person_id = c.person_id AND (c.department_id IS NULL OR g.department_id = c.department_id)
                AND g.measure = c.measure AND g.period = c.period
                AND g.starts_at <= clock_timestamp() AND g.ends_at > clock_timestamp()
        ), 0) ELSE 0 END AS all_in_all
        FROM ceilings c
    ),
    known AS (
        SELECT g.scope, g.scope_id, g.department_id, g.person_id, g.measure, g.period, g.all_in_all AS ceiling, g.used,
            EXISTS ( -- what a lower ceiling refused says nothing of this one
                SELECT FROM limits_refused r
                WHERE r.ceiling >= g.all_in_all AND r.scope = g.scope AND r.scope_id = g.scope_id AND r.measure = g.measure AND r.period = g.period
                    AND r.day <= p_today
                    AND r.day >= CASE g.period WHEN 'day' THEN p_today ELSE date_trunc('month', p_today)::date END
            ) AS refused
        FROM granted g
    )
    SELECT k.scope, k.scope_id, k.department_id, k.person_id, k.measure, k.period, k.ceiling, k.used, k.refused
    FROM known k WHERE k.used * 100 >= k.ceiling * p_percent OR k.refused
$$;

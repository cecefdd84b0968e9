-- Admission of a call: rate, fit and reserve, in one atomic step.
--
-- Rules:
-- * The three counters of the day (organization, department, person) are locked in that order, always, here and when a
--   call is settled. Settling locks the call's own reservation first, which nobody waits for who holds a counter: so no
--   two calls can wait for each other. Everything below is decided under those locks, no other call is half-way.
-- * left = ceiling - booked - reserved by calls whose lease is alive. A lapsed lease holds nothing.
-- * The answer's cap is fitted to the least that is left; where that leaves less than the smallest useful answer, the
--   call is refused with the scope that is in its way. A call without an answer (embedding) has smallest = wanted = 0.
-- * Questions are counted over the last 60 s exactly, not over a calendar minute. Embeddings are not questions.
-- * A person's own row wins over the department's default, that over the organization's; every ceiling above holds too.
-- * A call belongs to the day in which it asked to be admitted, in the organization's time zone, whenever it ends.

-- The two figures a scope is judged by. One branch a scope, so that each can use its own index; the others cost nothing.
CREATE FUNCTION limits_reserved(p_scope text, p_id uuid, p_day date, p_moment timestamptz) RETURNS bigint
LANGUAGE sql STABLE AS $$
    SELECT coalesce(sum(tokens), 0)::bigint FROM (
        SELECT tokens_reserved FROM limits_reservation
        WHERE p_scope = 'organization' AND organization_id = p_id AND day = p_day
            AND settled_at IS NULL AND lease_until > p_moment
        UNION ALL
        SELECT tokens_reserved FROM limits_reservation
        WHERE p_scope = 'department' AND department_id = p_id AND day = p_day
            AND settled_at IS NULL AND lease_until > p_moment
        UNION ALL
        SELECT tokens_reserved FROM limits_reservation
        WHERE p_scope = 'person' AND person_id = p_id AND day = p_day
            AND settled_at IS NULL AND lease_until > p_moment
    ) AS alive (tokens)
$$;

CREATE FUNCTION limits_asked(p_scope text, p_id uuid, p_since timestamptz) RETURNS TABLE (admitted_at timestamptz)
LANGUAGE sql STABLE AS $$
    SELECT r.admitted_at FROM limits_reservation r
    WHERE p_scope = 'organization' AND r.organization_id = p_id AND r.admitted_at > p_since AND r.purpose = 'chat'
    UNION ALL
    SELECT r.admitted_at FROM limits_reservation r
    WHERE p_scope = 'department' AND r.department_id = p_id AND r.admitted_at > p_since AND r.purpose = 'chat'
    UNION ALL
    SELECT r.admitted_at FROM limits_reservation r
    WHERE p_scope = 'person' AND r.person_id = p_id AND r.admitted_at > p_since AND r.purpose = 'chat'
$$;

-- Locks the counter of a scope and day, which is made where it is missing; returns what is booked on it.
CREATE FUNCTION limits_lock(p_scope text, p_id uuid, p_day date) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    booked bigint;
BEGIN
    LOOP
        SELECT tokens INTO booked FROM limits_spent WHERE scope = p_scope AND scope_id = p_id AND day = p_day FOR UPDATE;
        EXIT WHEN FOUND;
        INSERT INTO limits_spent (scope, scope_id, day, tokens, requests) VALUES (p_scope, p_id, p_day, 0, 0)
            ON CONFLICT DO NOTHING;
    END LOOP;
    RETURN booked;
END $$;

CREATE FUNCTION limits_admit(
    p_call uuid, p_organization uuid, p_department uuid, p_person uuid, p_purpose text, p_time_zone text,
    p_prompt bigint, p_wanted bigint, p_smallest bigint, p_lease_seconds integer
) RETURNS TABLE (
    admitted boolean, answer_cap bigint, refused_scope text, refused_measure text, ceiling bigint, used bigint,
    resets_at timestamptz
) LANGUAGE plpgsql AS $$
DECLARE
    this_moment timestamptz;
    today date := (clock_timestamp() AT TIME ZONE p_time_zone)::date;
    scopes text[] := ARRAY['organization', 'department', 'person'];
    ids uuid[] := ARRAY[p_organization, p_department, p_person];
    booked bigint[];
    token_ceilings bigint[];
    rate_ceilings bigint[];
    counted bigint;
    left_over bigint;
    cap bigint := p_wanted;
BEGIN
    FOR place IN 1..3 LOOP
        booked[place] := limits_lock(scopes[place], ids[place], today);
    END LOOP;
    this_moment := clock_timestamp(); -- after the wait for the locks, or two calls could share one moment

    SELECT
        ARRAY[o.tokens_per_day, d.tokens_per_day, coalesce(p.tokens_per_day, d.person_tokens_per_day, o.person_tokens_per_day)],
        ARRAY[o.requests_per_minute, d.requests_per_minute,
              coalesce(p.requests_per_minute, d.person_requests_per_minute, o.person_requests_per_minute)]
        INTO token_ceilings, rate_ceilings
        FROM (SELECT 1) AS one
        LEFT JOIN limits_limit o ON o.organization_id = p_organization AND o.department_id IS NULL AND o.person_id IS NULL
        LEFT JOIN limits_limit d ON d.organization_id = p_organization AND d.department_id = p_department
        LEFT JOIN limits_limit p ON p.organization_id = p_organization AND p.person_id = p_person;

    FOR place IN 1..3 LOOP
        CONTINUE WHEN p_purpose <> 'chat' OR rate_ceilings[place] IS NULL;
        SELECT count(*) INTO counted FROM limits_asked(scopes[place], ids[place], this_moment - interval '60 seconds');
        IF counted >= rate_ceilings[place] THEN
            -- free again when so many have left the window that the newest ones are fewer than the ceiling
            RETURN QUERY SELECT false, 0::bigint, scopes[place], 'requests'::text, rate_ceilings[place], counted,
                coalesce((SELECT a.admitted_at FROM limits_asked(scopes[place], ids[place],
                                                                this_moment - interval '60 seconds') a
                          WHERE rate_ceilings[place] > 0
                          ORDER BY a.admitted_at DESC OFFSET greatest(rate_ceilings[place] - 1, 0) LIMIT 1),
                         this_moment) + interval '60 seconds';
            RETURN;
        END IF;
    END LOOP;

    FOR place IN 1..3 LOOP
        CONTINUE WHEN token_ceilings[place] IS NULL;
        counted := booked[place] + limits_reserved(scopes[place], ids[place], today, this_moment);
        left_over := token_ceilings[place] - counted - p_prompt;
        IF left_over < p_smallest THEN
            RETURN QUERY SELECT false, 0::bigint, scopes[place], 'tokens'::text, token_ceilings[place], counted,
                (today + 1)::timestamp AT TIME ZONE p_time_zone;
            RETURN;
        END IF;
        cap := least(cap, left_over);
    END LOOP;

    INSERT INTO limits_reservation (call_id, organization_id, department_id, person_id, purpose, day, admitted_at,
                                    lease_until, tokens_prompt, tokens_reserved, tokens_written, stop_requested)
        VALUES (p_call, p_organization, p_department, p_person, p_purpose, today, this_moment,
                this_moment + make_interval(secs => p_lease_seconds), p_prompt, p_prompt + cap, 0, false);
    UPDATE limits_spent SET requests = requests + 1
        WHERE day = today AND (scope, scope_id) IN (SELECT unnest(scopes), unnest(ids));
    RETURN QUERY SELECT true, cap, NULL::text, NULL::text, NULL::bigint, NULL::bigint, NULL::timestamptz;
END $$;

-- Books what a call has used in place of what it had reserved, once: the first settlement stands, so that a call that was
-- given up for lost and then comes back is neither booked nor recorded twice. Returns whether this one was the first.
CREATE FUNCTION limits_settle(p_call uuid, p_used bigint) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    held limits_reservation;
BEGIN
    UPDATE limits_reservation SET tokens_used = p_used, settled_at = clock_timestamp()
        WHERE call_id = p_call AND settled_at IS NULL RETURNING * INTO held;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    -- the same order as in limits_admit
    UPDATE limits_spent SET tokens = tokens + p_used
        WHERE scope = 'organization' AND scope_id = held.organization_id AND day = held.day;
    UPDATE limits_spent SET tokens = tokens + p_used
        WHERE scope = 'department' AND scope_id = held.department_id AND day = held.day;
    UPDATE limits_spent SET tokens = tokens + p_used
        WHERE scope = 'person' AND scope_id = held.person_id AND day = held.day;
    RETURN true;
END $$;

-- Where a person stands today: their own tokens, unless a ceiling around them is closer to being reached.
CREATE FUNCTION limits_standing(p_organization uuid, p_department uuid, p_person uuid, p_time_zone text)
RETURNS TABLE (used bigint, ceiling bigint, scope text, resets_at timestamptz, moment timestamptz)
LANGUAGE sql STABLE AS $$
    WITH today AS (SELECT (now() AT TIME ZONE p_time_zone)::date AS day),
    ceilings AS (
        SELECT * FROM limits_limit o WHERE o.organization_id = p_organization
    ),
    scopes (scope, id, ceiling, rank) AS (
        VALUES
        ('person', p_person, coalesce(
            (SELECT tokens_per_day FROM ceilings WHERE person_id = p_person),
            (SELECT person_tokens_per_day FROM ceilings WHERE department_id = p_department),
            (SELECT person_tokens_per_day FROM ceilings WHERE department_id IS NULL AND person_id IS NULL)), 1),
        ('department', p_department, (SELECT tokens_per_day FROM ceilings WHERE department_id = p_department), 2),
        ('organization', p_organization,
            (SELECT tokens_per_day FROM ceilings WHERE department_id IS NULL AND person_id IS NULL), 3)
    ),
    standing AS (
        SELECT s.scope, s.ceiling, s.rank,
            coalesce((SELECT tokens FROM limits_spent b
                      WHERE b.scope = s.scope AND b.scope_id = s.id AND b.day = today.day), 0)
            + limits_reserved(s.scope, s.id, today.day, now())
            AS used
        FROM scopes s, today WHERE s.id IS NOT NULL
    )
    SELECT standing.used::bigint, standing.ceiling::bigint, standing.scope,
        (today.day + 1)::timestamp AT TIME ZONE p_time_zone, now()
    FROM standing, today
    -- a ceiling that is nearly reached comes first; else the one nearest to the person that there is
    ORDER BY
        standing.used >= 0.8 * standing.ceiling DESC NULLS LAST,
        standing.ceiling IS NULL,
        CASE WHEN standing.used >= 0.8 * standing.ceiling THEN -standing.used::float / greatest(standing.ceiling, 1) END,
        standing.rank
    LIMIT 1
$$;

-- BM25 (k1 1.2, b 0.75) as an inner product: the passage's side here, the question's side in queries/search.sql.

-- The dimension of a lexeme in a sparse vector: 28 bits of a hash that is the same on every server.
CREATE FUNCTION place_of(word text) RETURNS integer IMMUTABLE STRICT PARALLEL SAFE LANGUAGE sql
RETURN ('x' || substr(encode(sha256(convert_to(word, 'UTF8')), 'hex'), 1, 7))::bit(28)::integer + 1;

CREATE FUNCTION length_of(lexemes tsvector) RETURNS bigint IMMUTABLE STRICT PARALLEL SAFE LANGUAGE sql
RETURN (SELECT coalesce(sum(cardinality(found.positions)), 0) FROM unnest(lexemes) AS found);

CREATE FUNCTION bm25_weights(lexemes tsvector, average double precision) RETURNS sparsevec
IMMUTABLE STRICT PARALLEL SAFE LANGUAGE sql
RETURN (
    SELECT ('{{' || string_agg(place || ':' || weight, ',') || '}}/268435456')::sparsevec
    FROM (
        SELECT place, round(sum(times * 2.2 / (times + 1.2 * (0.25 + 0.75 * length / average)))::numeric, 4) AS weight
        FROM (
            SELECT
                place_of(found.lexeme) AS place,
                cardinality(found.positions) AS times,
                sum(cardinality(found.positions)) OVER () AS length
            FROM unnest(lexemes) AS found
        ) AS counted
        GROUP BY place
    ) AS weighed
);

-- Adds a version's passages to the counts (sign 1) or takes them out (sign -1).
CREATE FUNCTION count_passages(counted uuid, sign integer) RETURNS void LANGUAGE sql AS $$
    INSERT INTO lexeme (word, passages)
    SELECT found.lexeme, sign * count(*)
    FROM passage, unnest(passage.lexemes) AS found
    WHERE passage.version_id = counted GROUP BY found.lexeme
    ON CONFLICT (word) DO UPDATE SET passages = lexeme.passages + excluded.passages;

    UPDATE corpus SET
        passages = corpus.passages + sign * arriving.passages,
        length = corpus.length + sign * arriving.length
    FROM (
        SELECT count(*) AS passages, coalesce(sum(length_of(lexemes)), 0) AS length
        FROM passage WHERE version_id = counted
    ) AS arriving;
$$;

-- Takes a version out of the search; its text stays. Whoever calls this holds the lock of publish().
CREATE FUNCTION retire(retiring uuid) RETURNS void LANGUAGE sql AS $$
    SELECT count_passages(retiring, -1) WHERE EXISTS (
        SELECT FROM passage WHERE version_id = retiring AND searchable
    );
    DELETE FROM lexeme WHERE passages <= 0;
    UPDATE passage SET searchable = false, embedding = NULL, weights = NULL WHERE version_id = retiring;
$$;

-- The weights depend on the average length. Small stores drift often and cheaply, large ones seldom.
CREATE FUNCTION refresh_weights() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    actual double precision;
BEGIN
    SELECT greatest(1, length::double precision / greatest(1, passages)) INTO actual FROM corpus
    WHERE abs(length::double precision / greatest(1, passages) - average) > 0.1 * average;
    IF FOUND THEN
        UPDATE corpus SET average = actual;
        UPDATE passage SET weights = bm25_weights(lexemes, actual) WHERE searchable;
    END IF;
END $$;

-- Makes the drafts of a version its passages and, if no newer version is live, the ones that are searched.
-- One transaction, one publication at a time in a store. False: the claim or a draft was lost, or the document deleted.
CREATE FUNCTION publish(publishing uuid, claim uuid, expected integer) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    arriving version;
    present version;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('publish'));
    SELECT version.* INTO arriving
    FROM version JOIN document ON document.id = version.document_id
    WHERE version.id = publishing AND version.claimed_by = claim AND version.state = 'embedding'
        AND document.deleted_at IS NULL
    FOR UPDATE;
    IF NOT FOUND OR expected <> (SELECT count(*) FROM draft WHERE version_id = publishing) THEN
        RETURN false;
    END IF;
    SELECT version.* INTO present
    FROM version JOIN document ON document.current_version = version.id WHERE document.id = arriving.document_id;

    INSERT INTO passage (version_id, ordinal, context, text, heading_path, locator, tokens, searchable)
    SELECT version_id, ordinal, context, text, heading_path, locator, tokens, false
    FROM draft WHERE version_id = publishing;

    IF present.id IS NULL OR present.number < arriving.number THEN
        PERFORM retire(present.id);
        PERFORM count_passages(publishing, 1);
        UPDATE passage SET
            searchable = true,
            embedding = draft.embedding,
            weights = bm25_weights(passage.lexemes, (SELECT average FROM corpus))
        FROM draft
        WHERE passage.version_id = publishing
            AND draft.version_id = publishing AND draft.ordinal = passage.ordinal;
        PERFORM refresh_weights();
        UPDATE document SET current_version = publishing, title = arriving.title, filename = arriving.filename
        WHERE id = arriving.document_id;
    END IF;

    UPDATE version SET
        state = 'live', sentence = '', claimed_by = NULL, lease_until = NULL, retry_at = NULL,
        finished_at = clock_timestamp(),
        passages = expected
    WHERE id = publishing;
    DELETE FROM draft WHERE version_id = publishing;
    RETURN true;
END $$;

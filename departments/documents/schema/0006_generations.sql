-- Generations: the same documents cut into passages and embedded in another way, beside those that are searched.
--
-- `passage`, `lexeme` and `corpus` are what is searched. A generation that is being prepared has the same three tables
-- with the suffix _shadow, the one before the last switch with _kept. A switch renames them in one transaction.
-- `corpus` says of each how it was made.

ALTER TABLE corpus
    ADD COLUMN generation integer NOT NULL DEFAULT 0,
    ADD COLUMN model text NOT NULL DEFAULT {model},
    ADD COLUMN dimensions integer NOT NULL DEFAULT {dimensions},
    ADD COLUMN passage_tokens integer NOT NULL DEFAULT {passage_tokens};

-- Old answers cite passages of older generations: their text stays, without vector and without `searchable`.
ALTER TABLE passage ADD COLUMN generation integer NOT NULL DEFAULT 0;
ALTER TABLE passage DROP CONSTRAINT passage_version_id_ordinal_key;
ALTER TABLE passage ADD UNIQUE (version_id, generation, ordinal);

-- Whatever is prepared next may have vectors of another length.
ALTER TABLE draft ALTER COLUMN embedding TYPE halfvec;

-- How a re-embedding stands. At most one at a time.
CREATE TABLE shadow (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    generation integer NOT NULL,
    state text NOT NULL DEFAULT 'building' CHECK (state IN ('building', 'ready')),
    sentence text NOT NULL DEFAULT '',
    person_id uuid NOT NULL,
    person_name text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz,
    retry_at timestamptz,
    claimed_by uuid,
    lease_until timestamptz
);

-- Questions of the department whose right passage somebody has named, and what came of asking them.
CREATE TABLE golden_question (
    id uuid PRIMARY KEY,
    question text NOT NULL,
    -- none: nothing in this department answers it
    document_id uuid REFERENCES document ON DELETE CASCADE,
    quote text NOT NULL DEFAULT '',
    person_id uuid NOT NULL,
    person_name text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- asked again after each change: its vector is paid for once a model
    vector halfvec,
    vector_model text NOT NULL DEFAULT ''
);

CREATE TABLE golden_run (
    id uuid PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    reason text NOT NULL,
    person_name text NOT NULL,
    generation integer NOT NULL,
    model text NOT NULL,
    passage_tokens integer NOT NULL,
    -- what was searched: a run stands for one state of the documents
    state text NOT NULL,
    questions integer NOT NULL,
    found integer NOT NULL,
    first integer NOT NULL
);

CREATE TABLE golden_result (
    run_id uuid NOT NULL REFERENCES golden_run ON DELETE CASCADE,
    question_id uuid NOT NULL REFERENCES golden_question ON DELETE CASCADE,
    -- of the right passage, from 1; none: it was not among the passages that an answer would get
    rank integer,
    confident boolean NOT NULL,
    is_right boolean NOT NULL,
    PRIMARY KEY (run_id, question_id)
);

-- Only what was made as the searched passages are made becomes one of them; else the version is read again.
CREATE OR REPLACE FUNCTION publish(publishing uuid, claim uuid, expected integer) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    arriving version;
    present version;
    used record;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('publish'));
    SELECT * INTO used FROM corpus;
    SELECT version.* INTO arriving
    FROM version JOIN document ON document.id = version.document_id
    WHERE version.id = publishing AND version.claimed_by = claim AND version.state = 'embedding'
        AND version.embedding_model = used.model AND version.dimensions = used.dimensions
        AND document.deleted_at IS NULL
    FOR UPDATE OF version;
    IF NOT FOUND OR expected <> (SELECT count(*) FROM draft WHERE version_id = publishing) THEN
        RETURN false;
    END IF;
    SELECT version.* INTO present
    FROM version JOIN document ON document.current_version = version.id WHERE document.id = arriving.document_id;

    INSERT INTO passage (version_id, generation, ordinal, context, text, heading_path, locator, tokens, searchable)
    SELECT version_id, used.generation, ordinal, context, text, heading_path, locator, tokens, false
    FROM draft WHERE version_id = publishing;

    IF present.id IS NULL OR present.number < arriving.number THEN
        PERFORM retire(present.id);
        PERFORM count_passages(publishing, 1);
        UPDATE passage SET
            searchable = true,
            embedding = draft.embedding,
            weights = bm25_weights(passage.lexemes, used.average)
        FROM draft
        WHERE passage.version_id = publishing AND passage.generation = used.generation
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

-- Of a version, only the passages of the searched generation are counted in and out.
CREATE OR REPLACE FUNCTION count_passages(counted uuid, sign integer) RETURNS void LANGUAGE sql AS $$
    INSERT INTO lexeme (word, passages)
    SELECT found.lexeme, sign * count(*)
    FROM passage, unnest(passage.lexemes) AS found
    WHERE passage.version_id = counted AND passage.generation = (SELECT generation FROM corpus)
    GROUP BY found.lexeme
    ON CONFLICT (word) DO UPDATE SET passages = lexeme.passages + excluded.passages;

    UPDATE corpus SET
        passages = corpus.passages + sign * arriving.passages,
        length = corpus.length + sign * arriving.length
    FROM (
        SELECT count(*) AS passages, coalesce(sum(length_of(lexemes)), 0) AS length
        FROM passage
        WHERE version_id = counted AND generation = (SELECT generation FROM corpus)
    ) AS arriving;
$$;

-- Empty tables for a generation that is to be prepared.
CREATE FUNCTION open_shadow(model text, dimensions integer, passage_tokens integer) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    opened integer;
BEGIN
    DROP TABLE IF EXISTS passage_shadow, lexeme_shadow, corpus_shadow;
    DROP TABLE IF EXISTS passage_kept, lexeme_kept, corpus_kept;
    -- above everything that was ever used, so that a citation of an older generation is never mistaken
    SELECT greatest(corpus.generation, coalesce((SELECT max(golden_run.generation) FROM golden_run), 0),
        coalesce((SELECT max(passage.generation) FROM passage), 0)) + 1 INTO opened FROM corpus;
    CREATE TABLE passage_shadow (LIKE passage INCLUDING DEFAULTS INCLUDING GENERATED INCLUDING IDENTITY);
    EXECUTE format('ALTER TABLE passage_shadow ALTER COLUMN embedding TYPE halfvec(%s)', dimensions);
    ALTER TABLE passage_shadow ADD PRIMARY KEY (id);
    ALTER TABLE passage_shadow ADD UNIQUE (version_id, generation, ordinal);
    ALTER TABLE passage_shadow ADD FOREIGN KEY (version_id) REFERENCES version ON DELETE CASCADE;
    CREATE TABLE lexeme_shadow (LIKE lexeme INCLUDING ALL);
    CREATE TABLE corpus_shadow (LIKE corpus INCLUDING ALL);
    INSERT INTO corpus_shadow (generation, model, dimensions, passage_tokens)
    VALUES (opened, open_shadow.model, open_shadow.dimensions, open_shadow.passage_tokens);
    RETURN opened;
END $$;

-- Versions that are searched and not yet in the shadow.
CREATE VIEW to_prepare AS
SELECT version.id, version.title, version.filename, version.original_key, version.document_id
FROM document JOIN version ON version.id = document.current_version
WHERE document.deleted_at IS NULL;

-- Counts a version's passages of the shadow's generation into the shadow's statistics (sign 1) or out of them (-1).
CREATE FUNCTION count_in_shadow(counted uuid, sign integer) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO lexeme_shadow (word, passages)
    SELECT found.lexeme, sign * count(*)
    FROM passage_shadow, unnest(passage_shadow.lexemes) AS found
    WHERE version_id = counted AND searchable
    GROUP BY found.lexeme
    ON CONFLICT (word) DO UPDATE SET passages = lexeme_shadow.passages + excluded.passages;

    UPDATE corpus_shadow SET
        passages = corpus_shadow.passages + sign * arriving.passages,
        length = corpus_shadow.length + sign * arriving.length
    FROM (
        SELECT count(*) AS passages, coalesce(sum(length_of(lexemes)), 0) AS length
        FROM passage_shadow WHERE version_id = counted AND searchable
    ) AS arriving;
END $$;

-- Takes what is searched no longer out of the shadow, brings the texts that old answers cite, renews the weights.
CREATE FUNCTION settle_shadow() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    gone uuid;
    actual double precision;
BEGIN
    FOR gone IN
        SELECT DISTINCT version_id FROM passage_shadow
        WHERE searchable AND version_id NOT IN (SELECT id FROM to_prepare)
    LOOP
        PERFORM count_in_shadow(gone, -1);
        UPDATE passage_shadow SET searchable = false, embedding = NULL, weights = NULL WHERE version_id = gone;
    END LOOP;
    DELETE FROM lexeme_shadow WHERE passages <= 0;
    -- a document that was deleted for good took its passages along before they could be counted out
    IF (SELECT passages FROM corpus_shadow) <> (SELECT count(*) FROM passage_shadow WHERE searchable) THEN
        DELETE FROM lexeme_shadow;
        INSERT INTO lexeme_shadow (word, passages)
        SELECT found.lexeme, count(*) FROM passage_shadow, unnest(passage_shadow.lexemes) AS found
        WHERE searchable GROUP BY found.lexeme;
        UPDATE corpus_shadow SET passages = there.passages, length = there.length
        FROM (
            SELECT count(*) AS passages, coalesce(sum(length_of(lexemes)), 0) AS length
            FROM passage_shadow WHERE searchable
        ) AS there;
    END IF;

    INSERT INTO passage_shadow (version_id, generation, ordinal, context, text, heading_path, locator, tokens, searchable)
    SELECT version_id, generation, ordinal, context, text, heading_path, locator, tokens, false FROM passage
    WHERE NOT EXISTS (
        SELECT FROM passage_shadow AS there
        WHERE there.version_id = passage.version_id AND there.generation = passage.generation
    );

    SELECT greatest(1, length::double precision / greatest(1, passages)) INTO actual FROM corpus_shadow
    WHERE abs(length::double precision / greatest(1, passages) - average) > 0.1 * average;
    IF FOUND THEN
        UPDATE corpus_shadow SET average = actual;
        UPDATE passage_shadow SET weights = bm25_weights(lexemes, actual) WHERE searchable;
    END IF;
END $$;

-- Makes the shadow what is searched, if it is complete. What was searched is kept, for the way back.
CREATE FUNCTION switch_to_shadow() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('publish'));
    IF EXISTS (
        SELECT FROM to_prepare
        WHERE NOT EXISTS (SELECT FROM passage_shadow AS there WHERE there.version_id = to_prepare.id AND there.searchable)
    ) THEN
        RETURN false;
    END IF;
    PERFORM settle_shadow();
    DROP TABLE IF EXISTS passage_kept, lexeme_kept, corpus_kept;
    ALTER TABLE passage RENAME TO passage_kept;
    ALTER TABLE lexeme RENAME TO lexeme_kept;
    ALTER TABLE corpus RENAME TO corpus_kept;
    ALTER TABLE passage_shadow RENAME TO passage;
    ALTER TABLE lexeme_shadow RENAME TO lexeme;
    ALTER TABLE corpus_shadow RENAME TO corpus;
    UPDATE version SET passages = counted.passages
    FROM (SELECT version_id, count(*) AS passages FROM passage WHERE searchable GROUP BY version_id) AS counted
    WHERE version.id = counted.version_id;
    DELETE FROM shadow;
    RETURN true;
END $$;

-- The way back: what was searched before the last switch becomes the shadow again. Its generation, or none.
CREATE FUNCTION open_kept() RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    opened integer;
BEGIN
    IF to_regclass('corpus_kept') IS NULL THEN
        RETURN NULL;
    END IF;
    DROP TABLE IF EXISTS passage_shadow, lexeme_shadow, corpus_shadow;
    ALTER TABLE passage_kept RENAME TO passage_shadow;
    ALTER TABLE lexeme_kept RENAME TO lexeme_shadow;
    ALTER TABLE corpus_kept RENAME TO corpus_shadow;
    SELECT generation INTO opened FROM corpus_shadow;
    RETURN opened;
END $$;
